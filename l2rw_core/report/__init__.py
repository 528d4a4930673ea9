"""What the records say: the paper's claims one by one, the reproduction report, and how a chapter closes."""
