"""What is on record about the size of the clean set."""

from l2rw_core.report.clean_size import expected_gain


def test_recorded_gains_are_accuracies_with_their_intervals():
    gain = expected_gain()
    assert list(gain.columns) == ["data", "clean", "accuracy", "low", "high", "trials"]
    assert len(gain) > 0
    several = gain[gain["trials"] > 1]
    assert ((several["low"] <= several["accuracy"]) & (several["accuracy"] <= several["high"])).all()
    assert gain[gain["trials"] == 1][["low", "high"]].isna().all(axis=None)  # one trial has no interval
    assert (gain["accuracy"].between(0, 1)).all()
    assert all(rows["clean"].is_monotonic_increasing for _, rows in gain.groupby("data"))
