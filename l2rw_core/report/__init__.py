"""What the records say, beside the paper."""
