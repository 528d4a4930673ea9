"""What can be wrong with a data set."""


class DataUnavailable(RuntimeError):
    """A data set is not on this machine and cannot be downloaded."""


class DataCorrupt(ValueError):
    """A file of a data set is damaged, or does not hold what it should."""
