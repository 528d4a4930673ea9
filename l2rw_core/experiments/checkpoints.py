"""Files that hold an unfinished run: written whole or not at all, and checked when they are read."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path
from typing import Any

import torch

_MAGIC = b"l2rw checkpoint 1\n"


def write_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Replace `path` by `state` at once: whoever reads it, also after a crash, finds the old file or the new one."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(_MAGIC + hashlib.sha256(content).digest() + content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_checkpoint(path: Path, device: torch.device) -> dict[str, Any] | None:
    """The state in `path`, None if there is no such file; ValueError if it is damaged or something else."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    start = len(_MAGIC) + 32
    if not content.startswith(_MAGIC) or hashlib.sha256(content[start:]).digest() != content[len(_MAGIC) : start]:
        raise ValueError(f"{path} is damaged or is not a checkpoint: delete it to start this run again")
    return torch.load(io.BytesIO(content[start:]), map_location=device, weights_only=True)
