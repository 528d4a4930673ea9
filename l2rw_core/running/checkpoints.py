"""Files that hold an unfinished run: written whole or not at all, and checked when they are read."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from typing import Any

import torch

_MAGIC = b"l2rw checkpoint 2\n"
_SHARE = len("0.0000\n")
_HEAD = len(_MAGIC) + hashlib.sha256().digest_size


class UnusableCheckpoint(ValueError):
    """A file that this run cannot go on from: damaged, of another run, or of a version that kept another state."""


def check_writable(folder: Path, remedy: str) -> None:
    """Make `folder` if need be and see that it can be written to, before work that it is to hold; ValueError if not."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(f"{folder} cannot be written to ({error.strerror}): {remedy}") from error


def write_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Replace `path` by `state` at once: whoever reads it, also after a crash, finds the old file or the new one.

    ``state["share"]``, the part of the run that is done, stands before the rest, for `read_share`; 0 by default.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = sealed(buffer.getvalue(), state.get("share", 0.0) if isinstance(state, dict) else 0.0)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def sealed(saved: bytes, share: float) -> bytes:
    """A checkpoint file's bytes: what it is, a checksum of the rest, how far the run is, and its state as saved."""
    content = f"{share:.4f}\n".encode() + saved
    return _MAGIC + hashlib.sha256(content).digest() + content


def read_share(path: Path) -> float:
    """How far the run of a checkpoint is, from 0 to 1, by its first bytes; 0 if there is none, or none to be read."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD + _SHARE)
        share = float(head[_HEAD:]) if head.startswith(_MAGIC) else 0.0
    except (OSError, ValueError):
        return 0.0
    return share if 0 <= share <= 1 else 0.0


def read_checkpoint(path: Path, device: torch.device) -> dict[str, Any] | None:
    """The state in `path`, None if there is no such file; UnusableCheckpoint if it is damaged or another thing.

    What a process that was killed left of a file that it was writing is removed: its owner reads before it writes.
    """
    for partial in path.parent.glob(f"{escape(path.name)}.*.partial"):
        partial.unlink(missing_ok=True)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    if not content.startswith(_MAGIC) or hashlib.sha256(content[_HEAD:]).digest() != content[len(_MAGIC) : _HEAD]:
        raise UnusableCheckpoint(f"{path} is damaged or is not a checkpoint: delete it to start this run again")
    try:
        state = torch.load(io.BytesIO(content[_HEAD + _SHARE :]), map_location=device, weights_only=True)
    except Exception as error:  # pickle, zipfile and torch each fail in their own way
        raise UnusableCheckpoint(f"{path} holds no state of a run: delete it to start this run again") from error
    if not isinstance(state, dict):
        raise UnusableCheckpoint(f"{path} holds no state of a run: delete it to start this run again")
    return state


@contextmanager
def restoring(path: Path) -> Iterator[None]:
    """Name the file where its state does not fit the run, which another version of the package may have written."""
    try:
        yield
    except (LookupError, RuntimeError, TypeError, ValueError, AttributeError) as error:
        raise UnusableCheckpoint(
            f"the state in {path} does not fit this run ({type(error).__name__}: {error}), perhaps because another "
            "version wrote it: delete it to start the run again"
        ) from error
