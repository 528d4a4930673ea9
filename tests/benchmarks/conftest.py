"""tests/datasets is on the path, and transformers would take it for the library of that name."""

import sys

sys.modules.setdefault("datasets", None)
