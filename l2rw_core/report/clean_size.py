"""What a larger clean set was worth in the recorded runs."""

from __future__ import annotations

import pandas as pd

from l2rw_core import experiments

COLUMNS = ("data", "clean", "accuracy", "low", "high", "trials")


def expected_gain() -> pd.DataFrame:
    """Recorded test accuracy of reweighting by the size of the clean set: grid fig4, 40% background flips.

    Returns:
        One row a data set and size, sizes ascending: `data`, `clean`, `accuracy` (mean over trials), `low`, `high` (its
        95% interval, NaN for a single trial), `trials`. Empty where nothing is on record. It is what `check_clean_set`
        and `audit` of `l2rw_core.audit` take as `gain`.
    """
    results = experiments.Results.load("fig4")
    rows = []
    for data in results.values("data"):
        for size, result in results.line("l2rw", "clean", data=data).items():
            if result:
                percent = (result.last.mean, result.last.low, result.last.high)
                rows.append((data, size, *(value / 100 for value in percent), result.last.trials))
    return pd.DataFrame(rows, columns=list(COLUMNS)).sort_values(["data", "clean"], ignore_index=True)
