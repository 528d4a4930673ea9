"""Embedded images are those that were published; what is damaged, or asked for and not held, is said in one error."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import embed_images
import numpy as np
import pytest

from l2rw_core.datasets import CleanSet, DataCorrupt, LongTail, PairImbalance, UniformFlip, load, make_split, title_of
from l2rw_core.datasets import embedded as module
from l2rw_core.places import embedded_root

REAL = os.environ.get("L2RW_DATA")
real = pytest.mark.skipif(not REAL, reason="real data: set L2RW_DATA to a folder that has it")
EVERY = sorted(module.PARTS)
CHECKSUMS = {
    "fashion_small": "53745f40f9285dbb0468b3fadadf255164cb8c3cce323f2029d2e865304fe623",
    "mnist_4982": "fb7ca3169f75601736359378acbc6b9d0e15e70be590f9b77b0f1fae0d0f9e2c",
}
"""Of the decoded images and their labels: what every decoder has to give."""


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A copy of the embedded files to do harm to, read in place of the real ones."""
    folder = tmp_path / "embedded"
    shutil.copytree(embedded_root(), folder)
    monkeypatch.setattr(module, "embedded_root", lambda: folder)
    return folder


def with_changed_manifest(folder, change):
    parts = json.loads((folder / module.MANIFEST).read_text())
    change(parts)
    (folder / module.MANIFEST).write_text(json.dumps(parts))


@pytest.mark.parametrize("name", EVERY)
def test_the_images_are_those_that_were_embedded(name):
    assert load(name).checksum == CHECKSUMS[name]


def test_every_class_has_its_images():
    digits, garments = load("mnist_4982"), load("fashion_small")
    assert np.bincount(digits.y_train).tolist() == [0, 0, 5958, 0, 5842, 0, 0, 0, 5851, 5949]
    assert np.bincount(digits.y_test).tolist() == [0, 0, 1032, 0, 982, 0, 0, 0, 974, 1009]
    assert np.bincount(garments.y_train).tolist() == [600] * 10
    assert np.bincount(garments.y_test).tolist() == [200] * 10
    assert (digits.image_shape, garments.image_shape) == ((1, 28, 28), (1, 28, 28))
    assert (digits.classes[4], garments.classes[4]) == ("4", "coat")


def test_a_part_never_goes_by_the_name_of_the_whole():
    for name, part in module.PARTS.items():
        assert load(name).name == name
        assert title_of(name) != title_of(part.of)


def test_neither_a_folder_nor_a_network_is_needed(tmp_path, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError("the network was asked")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    assert len(load("fashion_small", tmp_path / "nowhere", download=False).y_train) == 6_000
    assert list(tmp_path.iterdir()) == []


@real
@pytest.mark.real_data
@pytest.mark.parametrize("name", EVERY)
def test_pixels_labels_and_order_are_the_published_ones(name):
    part, ours, whole = module.PARTS[name], load(name), load(module.PARTS[name].of)
    for which in ("train", "test"):
        y = getattr(whole, f"y_{which}")
        chosen = part.choose(y, which == "train")
        assert np.array_equal(getattr(ours, f"y_{which}"), y[chosen])
        assert np.array_equal(getattr(ours, f"x_{which}"), getattr(whole, f"x_{which}")[chosen])
        assert set(y[chosen].tolist()) == set(part.classes)


@real
@pytest.mark.real_data
def test_four_against_nine_is_the_same_draw_from_the_part_and_from_the_whole():
    ours, theirs = (
        make_split(load(name), (PairImbalance(), UniformFlip(0.1)), CleanSet(10), seed=3)
        for name in ("mnist_4982", "mnist")
    )
    for which in ("train", "clean", "test"):
        mine, whole = getattr(ours, which), getattr(theirs, which)
        assert np.array_equal(mine.x, whole.x)
        assert np.array_equal(mine.y, whole.y)


@real
@pytest.mark.real_data
def test_making_the_sheets_again_gives_the_same_files(tmp_path):
    if not (Path(REAL) / "MNIST" / "raw" / "train-images-idx3-ubyte.gz").is_file():
        pytest.skip("no published archives under L2RW_DATA")
    shutil.copytree(embedded_root(), tmp_path / "again")
    (tmp_path / "again" / "mnist_4982_test.webp").unlink()
    (tmp_path / "again" / module.MANIFEST).unlink()
    embed_images.embed(Path(REAL), tmp_path / "again")
    for path in embedded_root().iterdir():
        again = (tmp_path / "again" / path.name).read_bytes()
        assert hashlib.sha256(again).digest() == hashlib.sha256(path.read_bytes()).digest(), path.name


def test_an_archive_that_is_missing_or_another_one_makes_no_sheet(tmp_path):
    with pytest.raises(embed_images.Refused, match=r"train-images-idx3-ubyte.gz is missing"):
        embed_images.embed(tmp_path, tmp_path / "made")
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "train-images-idx3-ubyte.gz").write_bytes(b"something else")
    with pytest.raises(embed_images.Refused, match=r"train-images-idx3-ubyte.gz is not the published archive"):
        embed_images.embed(tmp_path, tmp_path / "made")
    assert list((tmp_path / "made").iterdir()) == []


@pytest.mark.parametrize("count", [1, module.COLUMNS, module.COLUMNS + 1])
def test_a_sheet_gives_its_images_back(tmp_path, count):
    images = np.random.default_rng(0).integers(0, 256, (count, module.SIDE, module.SIDE), dtype=np.uint8)
    embed_images.write_sheet(tmp_path / "sheet.webp", images)
    assert embed_images.holds(tmp_path / "sheet.webp", images)
    images[-1, -1, -1] ^= 1
    assert not embed_images.holds(tmp_path / "sheet.webp", images)


def damaged(content: bytes) -> bytes:
    return content[:5000] + bytes([content[5000] ^ 1]) + content[5001:]


@pytest.mark.parametrize("harm", [lambda c: c[:-100], damaged, lambda c: b"", lambda c: b"version https://lfs"])
def test_a_damaged_sheet_is_named_with_the_remedy(copy, harm):
    sheet = copy / "fashion_small_test.webp"
    sheet.write_bytes(harm(sheet.read_bytes()))
    with pytest.raises(DataCorrupt, match=r"install the package again.*git checkout") as error:
        load("fashion_small")
    assert str(sheet) in str(error.value)
    assert len(load("mnist_4982").y_test) == 3_997


def test_a_sheet_of_another_size_is_refused_before_its_images_are_mixed_up(copy):
    sheet = copy / "fashion_small_test.webp"
    embed_images.write_sheet(sheet, load("fashion_small").x_test[:1000, ..., 0])
    sha256 = hashlib.sha256(sheet.read_bytes()).hexdigest()
    with_changed_manifest(copy, lambda parts: parts["fashion_small"]["test"].update(sha256=sha256))
    with pytest.raises(DataCorrupt, match=r"fashion_small_test.webp is damaged \(a sheet of 2000 images has"):
        load("fashion_small")


def test_a_sheet_that_is_missing_is_named(copy):
    (copy / "mnist_4982_train.webp").unlink()
    with pytest.raises(DataCorrupt, match=r"mnist_4982_train.webp is damaged \(it is missing\): install"):
        load("mnist_4982")


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: (folder / module.MANIFEST).unlink(),
        lambda folder: (folder / module.MANIFEST).write_text("{"),
        lambda folder: (folder / module.MANIFEST).write_text("[]"),
        lambda folder: with_changed_manifest(folder, dict.clear),
        lambda folder: with_changed_manifest(folder, lambda parts: parts["mnist_4982"].pop("test")),
        lambda folder: with_changed_manifest(folder, lambda parts: parts["mnist_4982"]["test"].update(labels="49x")),
        lambda folder: with_changed_manifest(folder, lambda parts: parts["mnist_4982"]["test"].pop("sheet")),
    ],
)
def test_a_damaged_manifest_is_named_with_the_remedy(copy, harm):
    harm(copy)
    with pytest.raises(DataCorrupt, match=r"parts.json is damaged.*install the package again"):
        load("mnist_4982")


@pytest.mark.parametrize("pair", [(4, 3), (1, 9)])
def test_a_digit_that_the_part_lacks_is_named_with_the_remedy(pair):
    with pytest.raises(ValueError, match=rf"none of class {pair[0] if pair[0] == 1 else 3}: .* or load mnist$"):
        make_split(load("mnist_4982"), (PairImbalance(*pair),))


@pytest.mark.parametrize("biases", [(), (UniformFlip(0.4),), (LongTail(10),)])
def test_ten_classes_cannot_be_made_of_four(biases):
    with pytest.raises(ValueError, match="holds the digits 4, 9, 8 and 2 of MNIST and none of class 0, 1, 3, 5, 6, 7"):
        make_split(load("mnist_4982"), biases, CleanSet(20))


def test_eight_against_two_is_there_as_well():
    split = make_split(load("mnist_4982"), (PairImbalance(8, 2),))
    assert sorted(split.train.class_counts(2).tolist()) == [20, 4970]
