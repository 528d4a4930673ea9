"""Where what the project keeps is found; nothing is loaded to say so."""

from __future__ import annotations

from pathlib import Path


def results_root() -> Path:
    """The folder of the recorded runs: ``data/results`` of the checkout, or the copy that came with the package."""
    return _of_data("results")


def embedded_root() -> Path:
    """The folder of the embedded images: ``data/embedded`` of the checkout, or the copy that came with the package."""
    return _of_data("embedded")


def _of_data(name: str) -> Path:
    checkout = Path(__file__).parents[1] / "data"
    if (checkout / "results").is_dir():
        return checkout / name
    import l2rw_core.recorded

    return Path(next(iter(l2rw_core.recorded.__path__))) / name
