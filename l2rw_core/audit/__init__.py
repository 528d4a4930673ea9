"""Which labels to look at: what training said about each example, and reports made from it.

Imported on its own, never by `import l2rw_core`: it needs pandas and scikit-learn, which training does not.

- in one's own loop: `check_clean_set` before, `WeightLedger` during, `suspects` and `explain` after;
- without a loop: `read_pair`, `audit`, `write_report`, which is what the command ``l2rw audit`` does.
"""

from l2rw_core.extras import require

require("audit", "jinja2", "matplotlib", "pandas", "PIL", "sklearn")

from l2rw_core.audit.clean_set import CleanSetCheck, check_clean_set, expected_gain
from l2rw_core.audit.data import Images, Table, read_data, read_pair
from l2rw_core.audit.explain import Explanation, explain
from l2rw_core.audit.ledger import QUANTITIES, SIGNALS, WeightLedger, suspects
from l2rw_core.audit.report import REPORT, TABLE, to_csv, to_html, write_report
from l2rw_core.audit.run import CHECKPOINT, Audit, Options, audit

__all__ = [
    "CHECKPOINT",
    "QUANTITIES",
    "REPORT",
    "SIGNALS",
    "TABLE",
    "Audit",
    "CleanSetCheck",
    "Explanation",
    "Images",
    "Options",
    "Table",
    "WeightLedger",
    "audit",
    "check_clean_set",
    "expected_gain",
    "explain",
    "read_data",
    "read_pair",
    "suspects",
    "to_csv",
    "to_html",
    "write_report",
]
