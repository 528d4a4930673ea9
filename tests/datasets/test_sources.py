"""Data sets come whole or with a message; nothing is half-read, and nothing is replaced in silence."""

import gzip
import multiprocessing
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from l2rw_core.datasets import DataCorrupt, DataUnavailable, Source, data_root, load, names
from l2rw_core.datasets import sources as module

REAL = os.environ.get("L2RW_DATA")
pytestmark = pytest.mark.real_data
real = pytest.mark.skipif(not REAL, reason="real data: set L2RW_DATA to a folder that has it")


def write_npz(folder, name="mnist", **changes):
    rng = np.random.default_rng(0)
    arrays = {
        "x_train": rng.integers(0, 256, (30, 28, 28, 1), dtype=np.uint8),
        "y_train": np.arange(30) % 10,
        "x_test": rng.integers(0, 256, (10, 28, 28, 1), dtype=np.uint8),
        "y_test": np.arange(10),
    } | changes
    path = Path(folder) / f"{name}.npz"
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return path


@pytest.fixture
def no_network(monkeypatch):
    """Whatever machine this runs on, downloads fail at once."""

    def refuse(*_args, **_kwargs):
        raise OSError("network is unreachable")

    monkeypatch.setattr("urllib.request.urlopen", refuse)


def test_digits_are_embedded():
    source = load("digits")
    assert source.x_train.shape[1:] == (8, 8, 1)
    assert len(source.y_train) + len(source.y_test) == 1797
    assert source.x_train.max() == 255
    assert np.bincount(source.y_test).min() >= 58
    assert load("digits").checksum == source.checksum


def test_npz_of_the_project(tmp_path):
    write_npz(tmp_path, exact_train=np.ones(30, bool))
    source = load("mnist", tmp_path)
    assert source.image_shape == (1, 28, 28)
    assert (source.num_classes, source.classes[3]) == (10, "3")
    assert source.y_train.dtype == np.int64


def test_grey_images_may_come_without_a_channel(tmp_path):
    write_npz(tmp_path, x_train=np.zeros((30, 28, 28), np.uint8), x_test=np.zeros((10, 28, 28), np.uint8))
    assert load("mnist", tmp_path).x_train.shape == (30, 28, 28, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_test": None}, "y_test are missing"),
        ({"x_train": np.zeros((30, 28, 28, 1))}, "x_train must be uint8"),
        ({"y_train": np.arange(29) % 10}, "y_train must be int64"),
        ({"y_train": np.arange(30)}, "y_train has labels outside 0 to 9"),
        ({"y_train": np.zeros(30)}, "labels must be integers"),
        ({"x_test": np.zeros((10, 14, 14, 1), np.uint8)}, "differ in shape"),
        ({"x_train": np.array([{"a": 1}] * 30, dtype=object)}, "cannot be used"),
    ],
)
def test_wrong_contents_are_named(tmp_path, changes, message):
    path = write_npz(tmp_path, **changes)
    with pytest.raises(DataCorrupt, match=message) as error:
        load("mnist", tmp_path)
    assert str(path) in str(error.value)
    assert "Delete it" in str(error.value)


@pytest.mark.parametrize("keep", [0, 10, 200, -1])
def test_a_truncated_npz_is_refused(tmp_path, keep):
    path = write_npz(tmp_path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataCorrupt, match=r"mnist.npz cannot be used"):
        load("mnist", tmp_path)


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("mnist", r"mnist_4982 \(the digits 4, 9, 8 and 2 of MNIST\), digits"),
        ("fashion_mnist", r"fashion_small \(600 \+ 200 images of each garment\), digits"),
        ("cifar10", "mnist_4982, fashion_small, digits"),
    ],
)
def test_what_is_not_there_and_cannot_be_downloaded(tmp_path, no_network, name, instead):
    with pytest.raises(DataUnavailable, match=rf"{name} is not in .*Put torchvision's files.*L2RW_DATA.*{instead}\.$"):
        load(name, tmp_path)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10", "cifar100"])
def test_a_load_that_fails_leaves_nothing_behind(tmp_path, no_network, name):
    with pytest.raises(DataUnavailable):
        load(name, tmp_path / "data" / "cache")
    assert list(tmp_path.iterdir()) == []


def test_a_download_that_breaks_off_leaves_what_was_there_before(tmp_path, monkeypatch):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "notes.txt").write_text("mine")
    (tmp_path / "mine.txt").write_text("mine")

    def begin(name, root, *_):
        (root / "MNIST" / "raw" / "train-images-idx3-ubyte.gz").write_bytes(b"half of it")
        (root / "MNIST" / "more").mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_read", begin)
    with pytest.raises(KeyboardInterrupt):
        load("mnist", tmp_path)
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert files == {"MNIST", "MNIST/raw", "MNIST/raw/notes.txt", "mine.txt"}


def test_the_archive_beside_the_folder_is_removed_as_well(tmp_path, monkeypatch):
    def begin(name, root, *_):
        (root / "cifar-10-python.tar.gz").write_bytes(b"half of it")
        raise OSError("the line is dead")

    monkeypatch.setattr(module, "_read", begin)
    with pytest.raises(OSError, match="line"):
        load("cifar10", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_names_of_archives_are_torchvisions():
    from torchvision import datasets

    for published in module._PUBLISHED.values():
        reader = getattr(datasets, published.reader)
        assert published.archive == getattr(reader, "filename", "")


def test_download_can_be_forbidden(tmp_path):
    with pytest.raises(DataUnavailable, match="cifar10"):
        load("cifar10", tmp_path, download=False)


def test_unknown_names_list_the_valid_ones():
    with pytest.raises(ValueError, match=", ".join(names())):
        load("imagenet")


def test_data_root_is_the_variable_or_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("L2RW_DATA", str(tmp_path))
    assert data_root() == tmp_path
    monkeypatch.delenv("L2RW_DATA")
    assert data_root().parts[-2:] == ("data", "cache")


def test_without_a_checkout_data_go_to_the_users_cache_and_not_where_one_works(monkeypatch, tmp_path):
    monkeypatch.delenv("L2RW_DATA", raising=False)
    monkeypatch.setattr(module, "__file__", str(tmp_path / "site-packages" / "l2rw_core" / "datasets" / "sources.py"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert data_root() == tmp_path / "caches" / "l2rw"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert data_root() == tmp_path / "home" / ".cache" / "l2rw"
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    with pytest.raises(DataUnavailable):
        load("mnist", download=False)
    assert list(work.iterdir()) == []


def test_a_source_of_nothing_is_refused():
    empty = np.zeros((0, 2, 2, 1), np.uint8), np.zeros(0, np.int64)
    with pytest.raises(DataCorrupt, match="empty"):
        Source("x", *empty, *empty, ("a",))


def test_checksum_sees_every_array():
    source = load("digits")
    y = source.y_test.copy()
    y[0] = (y[0] + 1) % 10
    other = Source("digits", source.x_train, source.y_train, source.x_test, y, source.classes)
    assert other.checksum != source.checksum


@pytest.fixture(scope="module")
def raw_fashion(tmp_path_factory):
    folder = Path(REAL) / "FashionMNIST"
    if not (folder / "raw").is_dir():
        pytest.skip("no raw Fashion-MNIST files under L2RW_DATA")
    root = tmp_path_factory.mktemp("root")
    shutil.copytree(folder, root / "FashionMNIST", ignore=shutil.ignore_patterns("*ubyte"))
    return root


@real
def test_published_files_become_one_npz(raw_fashion, monkeypatch):
    first = load("fashion_mnist", raw_fashion, download=True)
    assert (first.x_train.shape, first.x_test.shape) == ((60_000, 28, 28, 1), (10_000, 28, 28, 1))
    assert np.bincount(first.y_train).tolist() == [6000] * 10
    assert [p.name for p in raw_fashion.glob("*.npz")] == ["fashion_mnist.npz"]
    monkeypatch.setattr(module, "_from_torchvision", None)  # a second load does not need it
    assert load("fashion_mnist", raw_fashion).checksum == first.checksum


@real
def test_processes_that_load_at_the_same_time(raw_fashion, tmp_path):
    whole = shutil.ignore_patterns("*ubyte")
    shutil.copytree(raw_fashion / "FashionMNIST", tmp_path / "FashionMNIST", ignore=whole)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["l2rw_core.datasets", "torchvision.datasets"])
    with context.Pool(4) as pool:
        pool.apply(abs, (0,))  # the imports are over
        loading = []
        for _ in range(4):
            loading.append(pool.apply_async(load, ("fashion_mnist", tmp_path)))
            time.sleep(0.15)  # unpacking takes about half a second: each starts while another is at it
        checksums = {source.get().checksum for source in loading}
    assert checksums == {load("fashion_mnist", raw_fashion).checksum}


@real
def test_a_root_that_cannot_be_written_still_serves(raw_fashion, tmp_path, monkeypatch):
    root = tmp_path / "read_only"
    shutil.copytree(raw_fashion / "FashionMNIST", root / "FashionMNIST", ignore=shutil.ignore_patterns("*ubyte"))

    def refuse(*_args, **_kwargs):
        raise PermissionError("read-only")

    monkeypatch.setattr(module.tempfile, "TemporaryFile", refuse)  # the superuser may write everywhere
    assert len(load("fashion_mnist", root).y_train) == 60_000
    assert not list(root.glob("*.npz"))
    assert not list(root.rglob("*ubyte"))


@real
def test_a_damaged_archive_is_named(raw_fashion, tmp_path):
    shutil.copytree(raw_fashion / "FashionMNIST", tmp_path / "FashionMNIST", ignore=shutil.ignore_patterns("*ubyte"))
    path = tmp_path / "FashionMNIST" / "raw" / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(DataCorrupt, match=r"t10k-images-idx3-ubyte.gz is damaged"):
        load("fashion_mnist", tmp_path)


@real
def test_an_archive_with_other_contents_is_not_accepted(raw_fashion, tmp_path, no_network):
    shutil.copytree(raw_fashion / "FashionMNIST", tmp_path / "FashionMNIST", ignore=shutil.ignore_patterns("*ubyte"))
    path = tmp_path / "FashionMNIST" / "raw" / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[::-1]))
    with pytest.raises((DataCorrupt, DataUnavailable), match=r"fashion_mnist|t10k"):
        load("fashion_mnist", tmp_path)
