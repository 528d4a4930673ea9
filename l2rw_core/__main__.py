"""``python -m l2rw_core`` is the `l2rw` command."""

from l2rw_core.cli import main

main()
