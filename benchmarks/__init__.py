"""What a reweighted step costs, measured beside other ways to compute it; see `benchmarks.step_cost`."""
