"""Make the embedded images from the published files of MNIST and Fashion-MNIST.

    python tools/embed_images.py FOLDER

FOLDER has torchvision's layout, with the archives as they were published: their checksums are those that torchvision
knows. A sheet that holds the wanted images already is left as it is, so running this again changes nothing.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torchvision import datasets

from l2rw_core.datasets.embedded import MANIFEST, PARTS, Part, packed, unpacked

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "data" / "embedded"
READERS = {"mnist": datasets.MNIST, "fashion_mnist": datasets.FashionMNIST}
FILES = {"train": "train", "test": "t10k"}


class Refused(Exception):
    """A published file is missing or is another one; the message names it."""


def published(folder: Path, of: str, name: str) -> bytes:
    """The contents of a published archive, once its checksum was seen to be right."""
    reader = READERS[of]
    path = folder / reader.__name__ / "raw" / name
    if not path.is_file():
        raise Refused(f"{path} is missing: put the published archive there")
    archive = path.read_bytes()
    if hashlib.md5(archive, usedforsecurity=False).hexdigest() != dict(reader.resources)[name]:
        raise Refused(f"{path} is not the published archive: get it again")
    return gzip.decompress(archive)


def chosen(folder: Path, part: Part, which: str) -> tuple[np.ndarray, np.ndarray]:
    """The images (N, 28, 28) of a part, and their labels (N,)."""
    images, labels = (
        np.frombuffer(published(folder, part.of, f"{FILES[which]}-{kind}-ubyte.gz"), np.uint8)[header:]
        for kind, header in (("images-idx3", 16), ("labels-idx1", 8))
    )
    positions = part.choose(labels, which == "train")
    return images.reshape(len(labels), 28, 28)[positions], labels[positions]


def holds(path: Path, images: np.ndarray) -> bool:
    """Whether a sheet has just these images."""
    try:
        return np.array_equal(unpacked(path.read_bytes(), len(images))[..., 0], images)
    except (OSError, ValueError):
        return False


def write_sheet(path: Path, images: np.ndarray) -> None:
    """Write a lossless sheet, and see that it is lossless."""
    made = io.BytesIO()
    Image.fromarray(packed(images)).save(made, "WEBP", lossless=True, quality=100, method=4, exact=True)
    path.write_bytes(made.getvalue())
    if not holds(path, images):
        raise Refused(f"{path} does not give its images back: try another version of Pillow")


def embed(folder: Path, target: Path = TARGET) -> None:
    """Bring every sheet, and the manifest, in line with the published files in `folder`."""
    target.mkdir(parents=True, exist_ok=True)
    manifest: dict[str, Any] = {}
    for name, part in PARTS.items():
        manifest[name] = {"of": part.of}
        for which in FILES:
            images, labels = chosen(folder, part, which)
            path = target / f"{name}_{which}.webp"
            if not holds(path, images):
                write_sheet(path, images)
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
            manifest[name][which] = {"sheet": path.name, "sha256": sha256, "labels": "".join(map(str, labels))}
    (target / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="with MNIST/raw/*.gz and FashionMNIST/raw/*.gz")
    try:
        embed(parser.parse_args().folder)
    except Refused as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
