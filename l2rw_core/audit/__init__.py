"""Which labels to look at, and why: is the clean set fit, what pulls at an example, and reports on one's own data.

Imported on its own, never by `import l2rw_core`: it needs pandas and scikit-learn, which training does not.

- in one's own loop: `check_clean_set` before, the `WeightLedger` of ``l2rw_core.ledger`` during, its `suspects` and
  `explain` after;
- without a loop: `read_pair`, `audit`, `write_report`, which is what the command ``l2rw audit`` does; then `mended`
  (``l2rw audit apply``) and `to_check` (``l2rw audit choose``). `read_own` and `encode` bring a network, predictions or
  features of your own into an audit.
"""

from l2rw_core.extras import require

require("audit", "jinja2", "matplotlib", "pandas", "PIL", "sklearn")

from l2rw_core.audit.clean_set import CleanSetCheck, check_clean_set
from l2rw_core.audit.data import Table, read_data, read_pair
from l2rw_core.audit.explanation import Explanation, explain
from l2rw_core.audit.mend import HOWS, mended, to_check
from l2rw_core.audit.own import Own, read_own
from l2rw_core.audit.pictures import Images, View
from l2rw_core.audit.ranking import Weighing
from l2rw_core.audit.report import REPORT, TABLE, to_csv, to_html, write_report
from l2rw_core.audit.run import CHECKPOINT, Audit, AuditProblem, Options, audit, encode

__all__ = [
    "CHECKPOINT",
    "HOWS",
    "REPORT",
    "TABLE",
    "Audit",
    "AuditProblem",
    "CleanSetCheck",
    "Explanation",
    "Images",
    "Options",
    "Own",
    "Table",
    "View",
    "Weighing",
    "audit",
    "check_clean_set",
    "encode",
    "explain",
    "mended",
    "read_data",
    "read_own",
    "read_pair",
    "to_check",
    "to_csv",
    "to_html",
    "write_report",
]
