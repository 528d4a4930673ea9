"""Which labels to look at: what training said about each example, and reports made from it.

Imported on its own, never by `import l2rw_core`: it needs pandas, which training does not.
"""

from l2rw_core.audit.ledger import QUANTITIES, SIGNALS, WeightLedger, suspects

__all__ = ["QUANTITIES", "SIGNALS", "WeightLedger", "suspects"]
