"""Folders, tables and arrays are read as what they are, and everything else is refused in one clear line."""

import io
import os
import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from samples import folders, frames, sample

from l2rw_core.audit import Images, Table, read_data, read_pair
from l2rw_core.audit.pictures import LARGEST_SIDE, RESIZED
from l2rw_core.audit.run import encode


def write_image(path, size=(8, 6), mode="L", colour=120):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)
    return path


def test_a_folder_of_folders_is_read_pixel_by_pixel(tmp_path):
    s = sample("digits", most=20)
    data, _ = folders(s, tmp_path)
    found = read_data(data)
    assert isinstance(found, Images)
    assert len(found) == len(s.y)
    for pixels, label, name, file in zip(found.x, found.labels, found.names, found.files, strict=True):
        number = int(file.stem)
        np.testing.assert_array_equal(pixels[..., 0], s.x[number])
        assert label == ("nought", "one", "two")[s.y[number]]
        assert name == f"{label}{os.sep}{number:04}.png"


@pytest.mark.parametrize(
    ("sizes", "modes", "shape"),
    [
        ([(8, 6), (8, 6)], ["L", "L"], (6, 8, 1)),
        ([(8, 6), (8, 6)], ["L", "RGB"], (6, 8, 3)),
        ([(8, 6), (9, 6)], ["RGB", "RGB"], (RESIZED, RESIZED, 3)),
        ([(LARGEST_SIDE + 1, 6)] * 2, ["L", "1"], (RESIZED, RESIZED, 1)),
        ([(8, 6), (8, 6)], ["RGBA", "P"], (6, 8, 3)),
    ],
)
def test_images_come_to_one_shape(tmp_path, sizes, modes, shape):
    for label, size, mode in zip("ab", sizes, modes, strict=True):
        write_image(tmp_path / label / "x.png", size, mode, 1)
    found = read_data(tmp_path)
    assert found.x.shape == (2, *shape)
    assert found.x.dtype == np.uint8


def test_a_clean_set_of_other_images_is_fitted_to_the_data(tmp_path):
    for label, shade in (("a", 200), ("b", 90)):
        write_image(tmp_path / "data" / label / "x.png", (8, 6), "L", shade)
        write_image(tmp_path / "clean" / label / "x.png", (12, 12), "RGB", (shade, shade, shade))
    train, clean = read_pair(tmp_path / "data", tmp_path / "clean")
    assert train.x.shape == clean.x.shape == (2, 6, 8, 3)
    assert (train.x == clean.x).all()


def test_csv_parquet_and_arrays_say_the_same(tmp_path):
    pytest.importorskip("pyarrow", reason="parquet files need pyarrow, which the extra `tables` installs")
    frame, _ = frames(sample("wine"))
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_parquet(tmp_path / "a.parquet")
    first, second = read_data(tmp_path / "a.csv"), read_data(tmp_path / "a.parquet")
    pd.testing.assert_frame_equal(first.frame, second.frame, check_dtype=False)
    assert first.labels.tolist() == second.labels.tolist() == frame["label"].tolist()
    assert list(first.frame.columns) == [name for name in frame.columns if name != "label"]
    numbers = frame.select_dtypes("number")
    np.savez(tmp_path / "a.npz", x=numbers.to_numpy(), y=frame["label"].to_numpy(dtype=str))
    third = read_data(tmp_path / "a.npz")
    np.testing.assert_array_equal(third.frame.to_numpy(), numbers.to_numpy())
    assert third.labels.tolist() == first.labels.tolist()


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    def unable(*_, **__):
        raise ImportError("Unable to find a usable engine")

    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    monkeypatch.setattr(pd, "read_parquet", unable)
    with pytest.raises(ValueError, match=r"needs pyarrow to be read: pip install pyarrow, or give a .csv"):
        read_data(tmp_path / "a.parquet")


@pytest.mark.parametrize(("shape", "channels"), [((5, 4), 1), ((5, 4, 1), 1), ((5, 4, 3), 3)])
@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_arrays_of_images(tmp_path, shape, channels, kind):
    pixels = np.random.default_rng(0).integers(0, 256, (3, *shape)).astype(np.uint8)
    np.savez(tmp_path / "a.npz", x=pixels if kind is np.uint8 else pixels.astype(kind) / 255, y=[4, 9, 4])
    found = read_data(tmp_path / "a.npz")
    np.testing.assert_array_equal(found.x, pixels.reshape(3, 5, 4, channels))
    assert found.labels.tolist() == ["4", "9", "4"]


def test_labels_of_a_csv_are_kept_letter_by_letter(tmp_path):
    (tmp_path / "a.csv").write_text("a,label\n1,01\n2,2\n")
    assert read_data(tmp_path / "a.csv").labels.tolist() == ["01", "2"]


@pytest.mark.parametrize(("options", "label"), [({"label_column": "b"}, "b"), ({}, "Target")])
def test_the_label_is_the_column_that_is_named_or_sounds_like_one(tmp_path, options, label):
    pd.DataFrame({"a": [1, 2], "b": ["u", "v"], "Target": ["p", "q"]}).to_csv(tmp_path / "a.csv", index=False)
    found = read_data(tmp_path / "a.csv", ignore=("a",), **options)
    assert list(found.frame.columns) == [name for name in ("b", "Target") if name != label]
    assert found.labels.tolist() == {"b": ["u", "v"], "Target": ["p", "q"]}[label]


def pair(tmp_path, data, clean, **options):
    for name, text in (("data", data), ("clean", clean)):
        (tmp_path / f"{name}.csv").write_text(text)
    return read_pair(tmp_path / "data.csv", tmp_path / "clean.csv", **options)


@pytest.mark.parametrize(("index", "left"), [([7, 3], ["a"]), ([7, 7], ["Unnamed: 0", "a"]), (list("uv"), None)])
def test_row_numbers_that_pandas_wrote_are_no_feature(tmp_path, index, left):
    pd.DataFrame({"a": [1, 2], "label": ["p", "q"]}, index=index).to_csv(tmp_path / "a.csv")
    assert list(read_data(tmp_path / "a.csv").frame.columns) == (left or ["Unnamed: 0", "a"])
    assert list(read_data(tmp_path / "a.csv", ignore=("Unnamed: 0",)).frame.columns) == ["a"]


@pytest.mark.parametrize("turned", [False, True])
def test_a_column_that_says_nothing_need_not_be_in_both_tables(tmp_path, turned):
    texts = "id,a,label\n7,1,u\n8,2,v\n", "a,label\n1,u\n2,v\n"
    for found in pair(tmp_path, *(texts[::-1] if turned else texts), ignore=("id",)):
        assert list(found.frame.columns) == ["a"]
    with pytest.raises(ValueError, match=r"data\.csv has no column 'key'; it has 'a', "):
        pair(tmp_path, *(texts[::-1] if turned else texts), ignore=("id", "key"))


def test_columns_of_the_clean_set_may_come_in_any_order(tmp_path):
    train, clean = pair(tmp_path, "a,b,label\n1,2,u\n3,4,v\n", "label,b,a\nu,20,10\nv,40,30\n")
    assert list(clean.frame.columns) == list(train.frame.columns)
    assert clean.frame["a"].tolist() == [10, 30]


def test_few_clean_examples_may_lack_all_values_of_a_column_or_all_its_words(tmp_path):
    data = "a,size,empty,label\n1,3,,u\n2,,,v\n3,large,,u\n4,3,,v\n"
    train, clean = pair(tmp_path, data, "a,size,empty,label\n,3,1,u\n,,2,v\n")
    assert list(train.frame.columns) == list(clean.frame.columns) == ["a", "size"], "a column empty in the data"
    problem = encode(train, clean)
    assert problem.x.shape[1] == problem.clean_x.shape[1]
    assert problem.x.isfinite().all()
    assert problem.clean_x.isfinite().all()
    words = problem.x[:, -3:]  # 3, large, missing
    assert words.argmax(1).tolist() == [0, 2, 1, 0]
    assert problem.clean_x[:, -3:].argmax(1).tolist() == [0, 2]


def test_a_category_that_only_the_clean_set_has_is_none_of_the_known_ones(tmp_path):
    problem = encode(*pair(tmp_path, "c,label\np,u\nq,v\n", "c,label\nr,u\np,v\n"))
    assert problem.clean_x.tolist() == [[0, 0], [1, 0]]


TABLES = {
    "there is no file": None,
    "has no rows": "a,label\n",
    "cannot be read as a table": "",
    "which column of": "a,b\n1,2\n",
    r"which column.*'class', 'label'": "class,label,a\n1,2,3\n",
    r"1 row has no label in 'label', first row 2": "a,label\n1,u\n2,\n",
    "no feature column": "label\nu\nv\n",
    "'a' holds an infinite number": "a,label\ninf,u\n2,v\n",
}


@pytest.mark.parametrize("message", TABLES)
def test_a_table_that_cannot_be_used_is_refused(tmp_path, message):
    if TABLES[message] is not None:
        (tmp_path / "a.csv").write_text(TABLES[message])
    with pytest.raises(ValueError, match=message):
        read_data(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_column": "nope"}, "has no column 'nope'; it has 'a', 'label'"),
        ({"ignore": ("nope",)}, "has no column 'nope'"),
        ({"ignore": ("a",)}, "no feature column"),
    ],
)
def test_columns_that_are_not_there_are_named(tmp_path, options, message):
    (tmp_path / "a.csv").write_text("a,label\n1,u\n2,v\n")
    with pytest.raises(ValueError, match=message):
        read_data(tmp_path / "a.csv", **options)


PAIRS = {
    "has one label only, 'u': there is nothing to tell apart": ("a,label\n1,u\n", "a,label\n1,u\n"),
    "the clean set has the label 'w', which the data lack; they have 'u', 'v'": (
        "a,label\n1,u\n2,v\n",
        "a,label\n1,u\n2,w\n",
    ),
    "the clean set lacks the column 'a'": ("a,b,label\n1,1,u\n2,2,v\n", "b,label\n1,u\n2,v\n"),
    "the clean set has a column 'b' that the data lack": ("a,label\n1,u\n2,v\n", "a,b,label\n1,1,u\n2,2,v\n"),
    "'a' holds numbers in the data and something else": ("a,label\n1,u\n2,v\n", "a,label\nx,u\n2,v\n"),
    "every feature column of the data is empty": ("a,label\n,u\n,v\n", "a,label\n1,u\n2,v\n"),
}


@pytest.mark.parametrize("message", PAIRS)
def test_a_pair_that_does_not_go_together_is_refused(tmp_path, message):
    with pytest.raises(ValueError, match=message):
        pair(tmp_path, *PAIRS[message])


def test_a_clean_set_among_the_data_is_refused(tmp_path):
    write_image(tmp_path / "a" / "x.png")
    write_image(tmp_path / "clean" / "a" / "x.png")
    with pytest.raises(ValueError, match=r"is inside the data .*: it would be trained on, move it out"):
        read_pair(tmp_path, tmp_path / "clean")
    with pytest.raises(ValueError, match="is the data itself: give trusted examples that are not among them"):
        read_pair(tmp_path, tmp_path)


def test_images_and_a_table_are_no_pair(tmp_path):
    write_image(tmp_path / "data" / "a" / "x.png")
    (tmp_path / "clean.csv").write_text("a,label\n1,a\n")
    with pytest.raises(ValueError, match=r"holds images and .* holds a table: both must be of one kind"):
        read_pair(tmp_path / "data", tmp_path / "clean.csv")


def test_folders_that_hold_no_images_are_refused(tmp_path):
    with pytest.raises(ValueError, match="must hold one folder of images for each label"):
        read_data(tmp_path)
    (tmp_path / "a").mkdir()
    with pytest.raises(ValueError, match=r"no label folder of .* holds an image"):
        read_data(tmp_path)
    (tmp_path / "a" / "x.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"x.png cannot be read as an image.*repair it or move it away"):
        read_data(tmp_path)
    with pytest.raises(ValueError, match=r"columns are named for a table, and .* is none"):
        read_data(tmp_path, label_column="y")


def test_a_truncated_image_is_named(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (20, 20), dtype=np.uint8)
    (tmp_path / "a").mkdir()
    file = tmp_path / "a" / "x.png"
    Image.fromarray(noise).save(file)
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"x.png cannot be read as an image"):
        read_data(tmp_path)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros((2, 3))}, "must hold the arrays x and y"),
        ({"x": np.zeros(()), "y": [1]}, "y must be"),
        ({"x": np.zeros((2, 3)), "y": [1]}, r"y must be \(N,\) integers or strings"),
        ({"x": np.zeros((0, 3)), "y": np.zeros(0, int)}, r"y must be \(N,\) integers or strings"),
        ({"x": np.zeros((2, 3)), "y": [0.5, 1.0]}, r"y must be .* got float64 \(2,\)"),
        ({"x": np.zeros((2, 5, 6, 7)), "y": [0, 1]}, r"1 to 4\) or \(N, 1 to 4, .*got \(2, 5, 6, 7\)"),
        ({"x": np.full((2, 3, 4), np.nan), "y": [0, 1]}, r"x\[0\] holds values that are no finite numbers: fill"),
        ({"x": np.zeros((2, 3, 4), complex), "y": [0, 1]}, "images must be whole or real numbers, got complex"),
        ({"x": np.zeros((2, 3), complex), "y": [0, 1]}, "x must hold numbers or truth values, got complex128"),
        ({"x": np.array([["a"], ["b"]]), "y": [0, 1]}, "x must hold numbers or truth values, got <U1"),
    ],
)
def test_arrays_that_cannot_be_used_are_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        read_data(tmp_path / "a.npz")


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_nothing_is_unpickled(tmp_path):
    trap = tmp_path / "sprung"
    np.savez(tmp_path / "a.npz", x=np.array([Trap(trap)], dtype=object), y=[0])
    (tmp_path / "b.npz").write_bytes(pickle.dumps(Trap(trap)))
    for name in ("a.npz", "b.npz"):
        with pytest.raises(ValueError, match=r"cannot be read as an .npz of plain arrays"):
            read_data(tmp_path / name)
    assert not trap.exists()


def test_an_unknown_kind_of_file_is_refused(tmp_path):
    (tmp_path / "a.pkl").write_bytes(b"")
    with pytest.raises(ValueError, match=r"neither a folder of images nor one of .csv, .tsv, .*.parquet, .pq, .npz"):
        read_data(tmp_path / "a.pkl")


def whole_npz() -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, x=np.arange(24, dtype=np.uint8).reshape(2, 3, 4), y=[0, 1])
    return buffer.getvalue()


@st.composite
def damaged(draw):
    """Bytes that are no file of any kind, or an .npz with a few bytes changed or its end missing."""
    if draw(st.booleans()):
        return draw(st.binary(max_size=200))
    content = bytearray(whole_npz())
    for place in draw(st.lists(st.integers(0, len(content) - 1), max_size=4)):
        content[place] = draw(st.integers(0, 255))
    return bytes(content[: draw(st.integers(0, len(content)))])


@pytest.mark.parametrize("kind", ["csv", "npz"])
@given(content=damaged())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_read_or_refused_by_name(tmp_path, kind, content):
    file = tmp_path / f"damaged.{kind}"
    file.write_bytes(content)
    try:
        found = read_data(file)
    except ValueError as error:
        assert file.name in str(error)  # noqa: PT017
    else:
        assert isinstance(found, Images | Table)
        assert len(found) == len(found.names)
