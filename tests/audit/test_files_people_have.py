"""Files as people have them go through the command: read as what they are, or refused in one line.

Training is cut to a few steps, and the page has no histogram, which would take half of the time: what is tried here is
reading, and that the whole command ends well.
"""

import datetime
import decimal
import gzip
import re
import struct
import zlib

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from l2rw_core import cli
from l2rw_core.audit import REPORT, TABLE, mended, read_data, read_pair, report, run
from l2rw_core.audit.run import encode

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def a_few_steps(monkeypatch):
    monkeypatch.setattr(run, "LEAST_STEPS", 3)
    monkeypatch.setattr(report, "_histogram", lambda table: "")


@pytest.fixture
def audited(tmp_path, capsys):
    """Run the command on two paths; what it said, and its table."""

    def command(data, clean, *more):
        out = tmp_path / "out"
        cli.main(["audit", str(data), "--clean", str(clean), "--out", str(out), "--epochs", "1", "--shown", "1", *more])
        said = capsys.readouterr().out
        assert (out / REPORT).read_text(encoding="utf-8").rstrip().endswith("</html>")
        return said, pd.read_csv(out / TABLE, dtype=str, keep_default_na=False)

    return command


@pytest.fixture
def refused(tmp_path, capsys):
    """Run the command on two paths that it must refuse; its one line."""

    def command(data, clean, *more):
        with pytest.raises(SystemExit) as stop:
            cli.main(["audit", str(data), "--clean", str(clean), "--out", str(tmp_path / "out"), *more])
        told = capsys.readouterr()
        assert stop.value.code == 2
        assert told.out == ""
        assert len(told.err.splitlines()) == 1
        assert not (tmp_path / "out").exists()
        return told.err

    return command


# Images


def write_png_of_16_bits(path, pixels):
    """Colours of 16 bits, which Pillow reads and does not write."""
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        parts = (
            (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)),
            (b"IDAT", zlib.compress(rows)),
            (b"IEND", b""),
        )
        for kind, data in parts:
            file.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))


def test_colours_of_16_bits_are_said_to_be_read_at_8(tmp_path):
    for label, level in (("dark", 9000), ("bright", 52000)):
        (tmp_path / "deep" / label).mkdir(parents=True)
        for number in range(3):
            pixels = RNG.integers(level - 500, level + 500, (8, 8, 3))
            write_png_of_16_bits(tmp_path / "deep" / label / f"{number}.png", pixels)
    Image.new("RGB", (8, 8), "red").save(tmp_path / "deep" / "dark" / "plain.png")
    found = read_data(tmp_path / "deep")
    (said,) = [note for note in found.notes if "16 bits" in note]
    assert said.startswith("6 images of deep hold colours of 16 bits, 0.png for one, and were read at 8 bits")
    assert found.x[0].mean() == pytest.approx(52000 / 257, abs=3)


def bars(label, shape=(28, 28), low=0, high=255, dtype=np.uint8):
    """A bar that stands (label 0) or lies (label 1), somewhere, on noise."""
    pixels = RNG.uniform(low, low + 0.3 * (high - low), shape)
    place = RNG.integers(4, min(shape[:2]) - 8)
    pixels[(np.s_[:, place : place + 5], np.s_[place : place + 5])[label]] = high
    return pixels.astype(dtype)


def folder(root, save, n=8, clean=3, labels=("stands", "lies")):
    """`root`/data and `root`/clean, of files that `save(label, path without an end, number)` makes."""
    for part, count in (("data", n), ("clean", clean)):
        for place, label in enumerate(labels):
            (root / part / label).mkdir(parents=True)
            for number in range(count):
                save(place, root / part / label / f"{number}", number)
    return root / "data", root / "clean"


def save_as(end, mode=None, **options):
    def save(label, path, _):
        image = Image.fromarray(bars(label))
        (image.convert(mode) if mode else image).save(path.with_name(path.name + end), **options)

    return save


KINDS = {
    "grey PNG": (save_as(".png"), 1),
    "RGB PNG": (save_as(".png", "RGB"), 3),
    "palette PNG": (save_as(".png", "P"), 3),
    "1-bit PNG": (save_as(".png", "1"), 1),
    "grey and alpha": (save_as(".png", "LA"), 1),
    "grey JPEG in capitals": (save_as(".JPG"), 1),
    "CMYK JPEG": (save_as(".jpeg", "CMYK"), 3),
    "YCbCr JPEG": (save_as(".jpg", "YCbCr"), 3),
    "GIF": (save_as(".gif"), 3),
    "WebP": (save_as(".webp", "RGB", lossless=True), 3),
    "TIFF": (save_as(".tif"), 1),
    "CMYK TIFF": (save_as(".TIFF", "CMYK"), 3),
    "BMP": (save_as(".bmp", "RGB"), 3),
    "PGM": (save_as(".pgm"), 1),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_image_file_goes_through_the_command(kind, tmp_path, audited):
    save, channels = KINDS[kind]
    data, clean = folder(tmp_path, save)
    said, table = audited(data, clean)
    assert "of 16 labels look wrong" in said
    assert set(table["given_label"]) == {"stands", "lies"}
    found = read_data(data)
    assert found.x.shape == (16, 28, 28, channels)
    bright = (found.x > 200).mean((1, 2, 3))
    assert (bright > 0.1).all(), "the bar is white in every image"


@pytest.mark.parametrize(
    ("shape", "axes", "dtype"),
    [
        ((28, 28), None, np.uint8),
        ((28, 28), None, np.uint16),
        ((32, 32, 3), None, np.uint8),
        ((32, 32, 3), None, np.float64),
        ((3, 32, 32), (1, 2, 0), np.int64),
        ((3, 32, 32), (1, 2, 0), np.float64),
        ((40, 24, 3), None, np.uint8),
        ((1, 28, 28), (1, 2, 0), np.uint16),
    ],
)
def test_arrays_of_images_of_usual_sizes(shape, axes, dtype, tmp_path, audited):
    top = {np.uint8: 255, np.uint16: 40_000, np.float64: 3.5, np.int64: 255}[dtype]
    low = -1.5 if dtype is np.float64 else 0
    for name, n in (("data", 12), ("clean", 6)):
        images = [bars(i % 2, shape if axes is None else (*shape[1:], shape[0]), low, top, dtype) for i in range(n)]
        x = np.stack(images) if axes is None else np.stack(images).transpose(0, 3, 1, 2)
        np.savez(tmp_path / f"{name}.npz", x=x, y=np.arange(n) % 2)
    said, _ = audited(tmp_path / "data.npz", tmp_path / "clean.npz")
    assert "of 12 labels look wrong" in said
    found = read_data(tmp_path / "data.npz")
    side = shape if axes is None else tuple(shape[axis] for axis in axes)
    assert found.x.shape == (12, *side[:2], side[2] if len(side) == 3 else 1)
    assert (found.x > 150).mean() > 0.1
    assert (found.x < 80).mean() > 0.5


def test_images_of_many_sizes_and_kinds_and_large_ones(tmp_path, audited):
    ends = (".png", ".jpg", ".bmp")

    def save(label, path, number):
        size = (28 + 17 * number, 30 + 50 * (number % 3))
        Image.fromarray(bars(label)).convert(("L", "RGB")[number % 2]).resize(size).save(
            path.with_name(path.name + ends[number % 3])
        )

    said, _ = audited(*folder(tmp_path, save))
    assert "8 sizes: all become 32 x 32 pixels" in said


def turned(orientation):
    """How a camera that was held so would have written an upright image, and its mark."""
    methods = {1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}

    def save(label, path, _):
        image = Image.fromarray(bars(label, (40, 28)))
        exif = Image.Exif()
        exif[0x0112] = orientation
        method = methods[orientation]
        (image if method is None else image.transpose(method)).save(path.with_suffix(".jpg"), exif=exif, quality=95)

    return save


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_photograph_is_turned_as_viewers_turn_it(orientation, tmp_path, audited):
    data, clean = folder(tmp_path, turned(orientation))
    audited(data, clean)
    found = read_data(data)
    assert found.x.shape[1:3] == (40, 28)
    for pixels, label in zip(found.x[..., 0] > 200, found.labels, strict=True):
        stands = pixels.all(0).any()
        assert stands == (label == "stands"), "a bar that a viewer shows upright stands"


def test_the_top_of_a_turned_photograph_is_its_top(tmp_path):
    pixels = np.zeros((20, 30), np.uint8)
    pixels[:5] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    for label in "ab":
        (tmp_path / label).mkdir()
    image = Image.fromarray(pixels)
    image.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "a" / "1.jpg", exif=exif, quality=95)
    image.save(tmp_path / "b" / "1.png")
    first, second = read_data(tmp_path).x.astype(int)
    assert np.abs(first - second).max() < 30


@pytest.mark.parametrize(("end", "dtype", "top"), [(".png", np.uint16, 65535), (".tif", np.uint16, 4095)])
def test_16_bit_images_keep_their_order(end, dtype, top, tmp_path, audited):
    def save(label, path, _):
        Image.fromarray(bars(label, high=top, dtype=dtype)).save(path.with_name(path.name + end))

    data, clean = folder(tmp_path, save)
    audited(data, clean)
    found = read_data(data)
    assert found.x.max() == 255
    assert len(np.unique(found.x)) > 60, "no range is cut to a few greys"


def test_16_bit_images_are_scaled_by_the_range_of_their_type(tmp_path):
    for name, value in (("dark", 2000), ("bright", 60000)):
        (tmp_path / name).mkdir()
        Image.fromarray(np.full((8, 8), value, np.uint16)).save(tmp_path / name / "1.png")
    assert read_data(tmp_path).x[:, 0, 0, 0].tolist() == [233, 8]


def test_one_hot_pixel_does_not_darken_all_others(tmp_path):
    def save(label, path, _):
        pixels = bars(label, (40, 40), high=2000, dtype=np.uint16)
        pixels[0, 0] = 65535
        Image.fromarray(pixels).save(path.with_suffix(".png"))

    data, clean = folder(tmp_path, save)
    for found in read_pair(data, clean):
        assert len(np.unique(found.x)) > 60
        assert ((found.x == 255).mean((1, 2, 3)) > 0.1).all()


@pytest.mark.parametrize(("low", "high"), [(-1000.0, 2000.0), (0.0, 1.0), (0.40, 0.42)])
def test_float_images_are_scaled_by_their_own_range_in_both_sets(low, high, tmp_path, audited):
    def save(label, path, _):
        Image.fromarray(bars(label, low=low, high=high, dtype=np.float32)).save(path.with_suffix(".tiff"))

    data, clean = folder(tmp_path, save)
    audited(data, clean)
    for found in read_pair(data, clean):
        assert ((found.x == 255).mean((1, 2, 3)) > 0.1).all()
        assert np.median(found.x) < 100


@pytest.mark.parametrize("colour", [0, 255])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P"])
def test_what_only_transparency_shows_is_seen(colour, mode, tmp_path, audited):
    def save(label, path, _):
        pixels = np.full((28, 28, 4), colour, np.uint8)
        pixels[..., 3] = np.where(bars(label) == 255, 255, 0)
        image = Image.fromarray(pixels)
        if mode == "P":  # one colour of the palette is transparent
            image = Image.fromarray((pixels[..., 3] > 0).astype(np.uint8), "L").convert("P")
            image.putpalette([9, 9, 9, colour, colour, colour])
            image.info["transparency"] = 0
            image.save(path.with_suffix(".png"), transparency=0)
            return
        (image if mode == "RGBA" else image.convert("LA")).save(path.with_suffix(".png"))

    data, clean = folder(tmp_path, save)
    said, _ = audited(data, clean)
    assert f"laid over {'white' if colour == 0 else 'black'}" in said
    for found in read_pair(data, clean):
        assert found.x.std((1, 2, 3)).min() > 50


def test_an_image_that_is_as_dense_as_it_is_bright_is_seen(tmp_path):
    def save(label, path, _):
        pixels = bars(label)
        Image.fromarray(np.stack([pixels, pixels], 2), "LA").save(path.with_suffix(".png"))

    data, clean = folder(tmp_path, save)
    for found in read_pair(data, clean):
        assert found.x.std((1, 2, 3)).min() > 50


def test_a_ground_on_which_dark_and_bright_shapes_are_seen(tmp_path):
    def save(label, path, number):
        pixels = np.full((28, 28, 4), 255 * (number % 2), np.uint8)
        pixels[..., 3] = np.where(bars(label) == 255, 255, 0)
        Image.fromarray(pixels).save(path.with_suffix(".png"))

    data, clean = folder(tmp_path, save)
    assert read_pair(data, clean)[0].x.std((1, 2, 3)).min() > 25


def test_what_lies_beside_the_data_is_left_out_counted_and_named(tmp_path, audited):
    data, clean = folder(tmp_path, save_as(".png"))
    for place in (".ipynb_checkpoints", "lies/.ipynb_checkpoints", "__MACOSX/lies", "lies/series 2", "nothing"):
        (data / place).mkdir(parents=True)
    for place in (".ipynb_checkpoints/1.png", "lies/.ipynb_checkpoints/1.png", "lies/series 2/Ä 1.PNG", "loose.png"):
        Image.fromarray(bars(1)).save(data / place, format="PNG")
    for place in ("lies/._1.png", "lies/Thumbs.db", "lies/notes.txt", ".DS_Store", "__MACOSX/lies/1.png"):
        (data / place).write_bytes(b"no image")
    (data / "stands" / "again").symlink_to(data / "stands")
    said, table = audited(data, clean)
    assert set(table["given_label"]) == {"stands", "lies"}
    assert len(table) == 17
    assert table["name"].str.contains("Ä 1.PNG").sum() == 1
    assert (
        "6 hidden files or folders (.DS_Store, .ipynb_checkpoints, __MACOSX, lies/._1.png, lies/.ipynb_checkpoints"
        in (said)
    )
    assert "1 file beside the label folders (loose.png)" in said
    assert "1 file that is no image (lies/notes.txt)" in said
    assert "1 label folder without an image (nothing)" in said


@pytest.mark.parametrize("place", ["labels.csv", "lies/meta.csv"])
def test_a_table_beside_images_is_none_of_the_data(place, tmp_path, audited):
    data, clean = folder(tmp_path, save_as(".png"))
    (data / place).write_text("file,label\n1.png,a\n2.png,b\n")
    said, found = audited(data, clean)
    assert set(found["given_label"]) == {"stands", "lies"}
    assert place in said


def test_a_label_in_any_script_is_one_label_however_its_accents_are_kept(tmp_path, audited):
    data, _ = folder(tmp_path / "1", save_as(".png"), labels=("caf\u00e9", "日本"))
    _, clean = folder(tmp_path / "2", save_as(".png"), labels=("cafe\u0301", "日本"))
    _, table = audited(data, clean)
    assert set(table["given_label"]) == {"café", "日本"}


def damaged(root, content=b"", names=("7.png",)):
    data, clean = folder(root, save_as(".png"))
    for name in names:
        (data / "lies" / name).write_bytes(content)
    return data, clean


def test_damaged_images_are_counted_and_named_at_once(tmp_path, refused):
    told = refused(*damaged(tmp_path, names=("6.png", "7.png")))
    assert "6.png cannot be read as an image" in told
    assert "repair it or move it away; so it is with 1 more: lies/7.png" in told


def test_images_that_are_all_the_same_are_refused(tmp_path, refused):
    data, clean = folder(tmp_path, lambda label, path, _: Image.new("RGB", (28, 28)).save(path.with_suffix(".png")))
    assert "all 16 images of" in (told := refused(data, clean))
    assert "are the same once they are read: nothing tells them apart" in told


def test_one_folder_under_two_labels_is_refused_and_a_link_to_what_is_around_it_leads_nowhere(tmp_path, refused):
    data, clean = folder(tmp_path, save_as(".png"))
    (data / "lies" / "all").symlink_to(data)
    (data / "lies" / "above").symlink_to(tmp_path)
    (data / "lies" / "itself").symlink_to(data / "lies")
    found = read_data(data)
    assert found.labels.tolist() == ["lies"] * 8 + ["stands"] * 8
    assert all(name.startswith(label) for name, label in zip(found.names, found.labels, strict=True))
    (data / "tilts").symlink_to(data / "stands")
    assert "data/tilts is a link to a folder of the label 'stands': its images would have two" in refused(data, clean)


@pytest.mark.parametrize("kind", ["folder", "npz"])
def test_labels_that_differ_by_blanks_become_one_and_it_is_said(kind, tmp_path):
    if kind == "folder":
        data = folder(tmp_path, save_as(".png"), labels=("cat ", "cat"))[0]
    else:
        data = tmp_path / "data.npz"
        np.savez(data, x=np.zeros((16, 3)), y=np.array(["cat ", "cat"] * 8))
    found = read_data(data)
    assert found.labels.tolist() == ["cat"] * 16
    assert f"Blanks around labels of {data.name} are cut." in found.notes


def test_a_large_image_is_read_without_a_word_and_one_beyond_measure_is_named(tmp_path, monkeypatch, refused, recwarn):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 60 * 60)

    def save(label, path, _):
        Image.fromarray(bars(label, (80, 80))).save(path.with_name(path.name + ".png"))

    data, clean = folder(tmp_path, save)
    assert read_data(data).x.shape == (16, 32, 32, 1)
    assert not recwarn.list
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 30 * 30)
    assert "0.png has more pixels than can be read" in (told := refused(data, clean))
    assert "make it smaller" in told


@pytest.mark.parametrize("top", [1, 16])
def test_bytes_that_use_little_of_their_range_are_scaled_as_other_numbers_are(top, tmp_path):
    x = RNG.integers(0, top + 1, (20, 8, 8)).astype(np.uint8)
    for kind in (np.uint8, np.int64, float):
        np.savez(tmp_path / f"{kind.__name__}.npz", x=x.astype(kind), y=np.arange(20) % 2)
    whole = read_data(tmp_path / "uint8.npz")
    assert whole.x.min() == 0
    assert whole.x.max() == 255
    assert (whole.x == read_data(tmp_path / "int64.npz").x).all()
    if top > 1:  # real numbers up to 1 are shares
        assert f"hold numbers from 0 to {top}: 0 becomes black, {top} white" in " ".join(whole.notes)
        assert (whole.x == read_data(tmp_path / "float.npz").x).all()


def test_bytes_of_both_sets_are_scaled_alike(tmp_path):
    x = RNG.integers(0, 256, (20, 8, 8)).astype(np.uint8)
    np.savez(tmp_path / "data.npz", x=x, y=np.arange(20) % 2)
    np.savez(tmp_path / "clean.npz", x=x // 16, y=np.arange(20) % 2)
    data, clean = read_pair(tmp_path / "data.npz", tmp_path / "clean.npz")
    assert (data.x[..., 0] == x).all()
    assert (clean.x[..., 0] == x // 16).all()


def test_folders_of_splits_are_no_labels(tmp_path, refused):
    data, _ = folder(tmp_path / "1", save_as(".png"), labels=("train", "val"))
    _, clean = folder(tmp_path / "2", save_as(".png"), labels=("train", "val"))
    assert "are parts of a data set and no labels: give one of them" in refused(data, clean)


def test_a_folder_of_files_without_label_folders_says_what_it_holds(tmp_path, refused):
    _, clean = folder(tmp_path, save_as(".png"))
    flat = tmp_path / "flat"
    flat.mkdir()
    Image.fromarray(bars(0)).save(flat / "cat1.png")
    assert "has no folder but 1 files, cat1.png for one" in refused(flat, clean)


# Tables


def table(tmp_path, text, clean=None, encoding="utf-8", end=".csv"):
    """Two files, the second with the head and the last lines of the first if nothing else is said."""
    lines = text.splitlines(keepends=True)
    for name, content in (("data", text), ("clean", clean or "".join([lines[0], *lines[-6:]]))):
        (tmp_path / f"{name}{end}").write_bytes(content.encode(encoding))
    return tmp_path / f"data{end}", tmp_path / f"clean{end}"


def rows(n, line, head):
    return head + "\n" + "".join(line(i) + "\n" for i in range(n))


def test_labels_are_text_as_it_is_written(tmp_path, audited):
    labels = ["01", "1", "None", "NA", "1.0", "null", "nan", "true", "TRUE", "1e3"]
    text = rows(60, lambda i: f"{i % 7},{labels[i % 10]}", "dose,label")
    said, found = audited(*table(tmp_path, text, rows(60, lambda i: f"{i % 7},{labels[i % 10]}", "dose,label")))
    assert found["given_label"].tolist() == labels * 6
    assert "The labels '01', '1', '1.0' of data.csv are different classes" in said


def test_blocks_of_a_long_file_do_not_decide_what_a_label_is(tmp_path):
    n = 40_000
    frame = pd.DataFrame({f"f{i}": np.arange(n) % 7 for i in range(30)})
    frame["label"] = ["01", "02"] * (n // 2 - 1) + ["01", "x"]
    frame.to_csv(tmp_path / "a.csv", index=False)
    names, counts = np.unique(read_data(tmp_path / "a.csv").labels, return_counts=True)
    assert dict(zip(names, counts.tolist(), strict=True)) == {"01": n // 2, "02": n // 2 - 1, "x": 1}


def test_only_an_empty_cell_is_a_missing_label(tmp_path, refused):
    told = refused(*table(tmp_path, "a,label\n1,None\n2,\n3,x\n4, \n"))
    assert "2 rows have no label in 'label', first row 2" in told


@pytest.mark.parametrize("label", ["cat ", "Cat"])
def test_blanks_around_a_label_are_cut_and_other_spellings_named(label, tmp_path, audited, refused):
    data, clean = table(
        tmp_path, rows(20, lambda i: f"{i % 7},{('cat', 'dog')[i % 2]}", "a,label"), f"a,label\n1,{label}\n2,dog\n"
    )
    if label == "cat ":
        said, found = audited(data, clean)
        assert set(found["given_label"]) == {"cat", "dog"}
        assert "Blanks around labels of clean.csv are cut" in said
    else:
        assert "the data lack; they have 'cat', 'dog': write 'cat' and 'Cat' alike" in refused(data, clean)


def test_trusted_labels_that_the_data_lack_can_be_dropped(tmp_path, audited, refused):
    pair = table(tmp_path, rows(20, lambda i: f"{i % 7},{'uv'[i % 2]}", "a,label"), "a,label\n1,u\n2,v\n3,w\n")
    assert "has the label 'w', which the data lack; they have 'u', 'v': correct it, or" in (told := refused(*pair))
    assert "--drop-unknown" in told
    said, _ = audited(*pair, "--drop-unknown")
    assert "1 trusted examples are left out: the data lack their labels, 'w'" in said


def test_a_column_of_all_different_values_is_no_label(tmp_path, refused):
    pair = table(tmp_path, rows(30, lambda i: f"{i % 7},{i * 1.5}", "a,target"))
    assert "30 different labels in 30 examples" in (told := refused(*pair))
    assert "name the column of the label with --label-column" in told


FORMS = {
    "a byte-order mark": ("a,b,label", ",", "utf-8-sig", ".csv"),
    "semicolons": ("a;b;label", ";", "utf-8", ".csv"),
    "tabs": ("a\tb\tlabel", "\t", "utf-8", ".csv"),
    "bars": ("a|b|label", "|", "utf-8", ".csv"),
    "TSV": ("a\tb\tlabel", "\t", "utf-8", ".tsv"),
    "Windows letters": ("a,größe,label", ",", "cp1252", ".csv"),
    "UTF-16": ("a\tb\tlabel", "\t", "utf-16", ".csv"),
    "capital letters": ("a,b,label", ",", "utf-8", ".CSV"),
    "blanks in names": (" a , b , label ", ",", "utf-8", ".csv"),
    "blanks between cells": ("  a   b  label", "   ", "utf-8", ".txt"),
    "commas in a TSV": ("a,b,label", ",", "utf-8", ".tsv"),
    "UTF-32": ("a;b;label", ";", "utf-32", ".csv"),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_csv(form, tmp_path, audited):
    head, separator, encoding, end = FORMS[form]
    text = rows(24, lambda i: separator.join((str(i % 7), f"{i % 5}.5", ("grün", "rot")[i % 2])), head)
    data, clean = table(tmp_path, text, encoding=encoding, end=end)
    said, found = audited(data, clean)
    assert set(found["given_label"]) == {"grün", "rot"}
    read = read_data(data)
    assert read.frame.dtypes.map(pd.api.types.is_numeric_dtype).tolist() == [True, True]
    assert read.frame.columns[0] == "a"
    assert ("read as Windows-1252" in said) == (encoding == "cp1252")


def test_packed_and_quoted_and_long_cells(tmp_path, audited):
    text = rows(24, lambda i: f'{i % 7},"two\nlines, and ""{i % 3}""",{"uv"[i % 2]}', "a,b,label")
    for name in ("data", "clean"):
        (tmp_path / f"{name}.csv.gz").write_bytes(gzip.compress(text.encode()))
    _, found = audited(tmp_path / "data.csv.gz", tmp_path / "clean.csv.gz")
    assert len(found) == 24
    assert read_data(tmp_path / "data.csv.gz").frame["b"].nunique() == 3


def test_a_packed_file_is_known_by_what_is_in_it(tmp_path):
    text = rows(24, lambda i: f"{i % 7},{'uv'[i % 2]}", "a,label")
    (tmp_path / "data.csv").write_bytes(gzip.compress(text.encode()))
    assert len(read_data(tmp_path / "data.csv")) == 24


def test_empty_rows_at_the_end_are_counted_and_left_out_of_what_is_written_too(tmp_path, audited):
    text = rows(24, lambda i: f"{i % 7},{'uv'[i % 2]}", "a,label")
    data, clean = table(tmp_path, text + ",\n,\n", text)
    said, found = audited(data, clean)
    assert "2 empty rows at the end of data.csv are left out" in said
    assert len(found) == len(mended(data, tmp_path / "out", "weight")) == 24
    data.write_text(text.replace("\n1,v\n", "\n,\n", 1))
    with pytest.raises(ValueError, match="1 row has no label in 'label', first row 2; drop it, or give it one"):
        read_data(data)


def test_accents_of_a_column_can_be_kept_in_two_ways(tmp_path, audited):
    text = rows(24, lambda i: f"{i % 7},{i},{'uv'[i % 2]}", "a,cle\u0301,e\u0301tat")
    _, found = audited(*table(tmp_path, text), "--label-column", "état", "--ignore", "clé")
    assert set(found["given_label"]) == {"u", "v"}
    assert list(read_data(tmp_path / "data.csv", "état", ("clé",)).frame.columns) == ["a"]


def test_errors_of_a_spreadsheet_are_missing_numbers(tmp_path):
    text = rows(40, lambda i: f"{'#DIV/0!' if i % 3 == 0 else i % 7 + 0.5},{'uv'[i % 2]}", "a,label")
    column = read_data(table(tmp_path, text)[0]).frame["a"]
    assert pd.api.types.is_float_dtype(column)
    assert column.isna().sum() == 14


def test_a_column_that_was_made_from_the_label_is_named(tmp_path, audited):
    """Such a column gives every wrong label away as right."""
    text = rows(48, lambda i: f"{i % 7},{i % 3},{('cat', 'dog', 'owl')[i % 3]}", "a,label_id,label")
    said, _ = audited(*table(tmp_path, text))
    assert "Column 'label_id' tells the label of every row, wrong labels too" in said
    assert "Column 'a' tells" not in said
    assert read_data(tmp_path / "data.csv", ignore=("label_id",)).notes == ()


def test_names_of_rows_in_a_parquet_are_a_column(tmp_path):
    pytest.importorskip("pyarrow", reason="parquet files need pyarrow, which the extra `tables` installs")
    frame = pd.DataFrame({"a": np.arange(24) % 7, "label": list("uv") * 12}).set_index("label")
    frame.to_parquet(tmp_path / "data.parquet")
    assert set(read_data(tmp_path / "data.parquet").labels) == {"u", "v"}


@pytest.mark.parametrize("above", ["# made by hand\n", "sep=,\n", "\n\n"])
def test_what_stands_above_the_names_is_no_row(above, tmp_path, audited):
    text = rows(24, lambda i: f"{i % 7},{'uv'[i % 2]}", "a,label")
    data, clean = table(tmp_path, above + text, text)
    _, found = audited(data, clean)
    assert len(found) == 24
    assert list(read_data(data).frame.columns) == ["a"]


def test_a_column_without_a_name_is_the_same_in_both_tables(tmp_path, audited):
    """In few trusted rows its numbers may all differ, as those of rows do."""
    text = rows(24, lambda i: f"{i % 7},{i % 3},{'uv'[i % 2]}", ",a,label")
    data, clean = table(tmp_path, text)
    audited(data, clean)
    assert [list(found.frame.columns) for found in read_pair(data, clean)] == [["Unnamed: 0", "a"]] * 2


def test_a_few_words_among_dates_count_as_missing_and_are_named(tmp_path, audited):
    days = [datetime.date(2015, 1, 1) + datetime.timedelta(days=17 * i) for i in range(80)]
    text = rows(80, lambda i: f"{'soon' if i == 3 else days[i]},{'uv'[i % 2]}", "day,label")
    data, clean = table(tmp_path, text)
    said, _ = audited(data, clean)
    assert "Column 'day': 1 cells that hold no date ('soon') count as missing" in said
    assert read_data(data).frame["day"].isna().sum() == 1


@pytest.mark.parametrize(("end", "first"), [(",", ""), ("", '"17",')])
def test_an_empty_field_at_the_end_or_names_of_rows_shift_no_column(end, first, tmp_path, audited):
    data, clean = table(tmp_path, rows(24, lambda i: f"{first}{i % 7},{i % 3},{'uv'[i % 2]}{end}", "a,b,label"))
    audited(data, clean)
    assert read_data(data).frame["a"].tolist() == [i % 7 for i in range(24)]


NUMBERS = {
    "thousands": lambda i: f'"{1000 + 37 * i % 9000:,}"',
    "millions": lambda i: f'"{1000000 + 37001 * i:,}.5"',
    "European": lambda i: f'"{i % 12 + 1}.{100 + i}.000,25"',
    "decimal comma": lambda i: f'"{i % 40},{i % 9}"',
    "per cent": lambda i: f"{i % 90}.5%",
    "dollars": lambda i: f'"${i % 89 + 1},{100 + i}"',
    "euros": lambda i: f"{i % 90}.20 €",
    "a unit": lambda i: f"{i % 90}.5 kg",
    "question marks": lambda i: "?" if i % 9 == 0 else str(i % 40),
    "NA": lambda i: "NA" if i % 9 == 0 else f"{i % 40}.5",
    "a few words": lambda i: "below" if i % 30 == 0 else f"{i * 7 % 97}.5",
    "accounts": lambda i: f'"({i % 40},000)"',
    "huge whole numbers": lambda i: str(10**24 + i * 10**20),
    "exponents": lambda i: f"{i % 9}e-3",
}


@pytest.mark.parametrize("kind", NUMBERS)
def test_numbers_as_people_write_them(kind, tmp_path, audited):
    text = rows(120, lambda i: f"{NUMBERS[kind](i)},{'uv'[i % 2]}", "a,label")
    data, clean = table(tmp_path, text)
    audited(data, clean)
    values = read_data(data).frame["a"]
    assert pd.api.types.is_float_dtype(values) or pd.api.types.is_integer_dtype(values)
    assert values.notna().mean() > 0.8
    expected = {"European": 1_100_000.25, "dollars": 1100.0, "per cent": 0.005, "accounts": -0.0, "decimal comma": 0.0}
    if kind in expected:
        assert values[0] == pytest.approx(expected[kind])
    problem = encode(*read_pair(data, clean))
    assert problem.x.shape[1] == 1 + values.isna().any()
    assert len(problem.x.unique(dim=0)) > 8


DATES = {
    "ISO": lambda d: d.strftime("%Y-%m-%d"),
    "ISO with a time": lambda d: d.strftime("%Y-%m-%dT%H:%M:%SZ"),
    "with a zone": lambda d: d.strftime("%Y-%m-%d %H:%M:%S+02:00"),
    "day first": lambda d: d.strftime("%d.%m.%Y"),
    "month first": lambda d: d.strftime("%m/%d/%Y"),
    "in words": lambda d: d.strftime('"%B %d, %Y"'),
    "short": lambda d: d.strftime("%d-%b-%y"),
}


@pytest.mark.parametrize("form", DATES)
def test_dates_become_parts(form, tmp_path, audited):
    days = [datetime.datetime(2015, 1, 1, 15, 30) + datetime.timedelta(days=17 * i) for i in range(80)]
    data, clean = table(tmp_path, rows(80, lambda i: f"{DATES[form](days[i])},{'uv'[i % 2]}", "day,label"))
    audited(data, clean)
    read = read_data(data).frame["day"]
    assert read.dt.date.tolist() == [day.date() for day in days]
    if "time" in form or "zone" in form:
        assert (read.dt.hour == 15).all(), "the hour that the clock showed"
    problem = encode(*read_pair(data, clean))
    assert problem.x.shape[1] == 5, "year, month, day, weekday, hour"
    months = np.array([day.month for day in days])
    assert abs(np.corrcoef(problem.x[:, 1], months)[0, 1]) > 0.999


def test_times_of_day_are_hours(tmp_path, audited):
    data, clean = table(tmp_path, rows(60, lambda i: f"{i % 24}:{i % 60:02},{'uv'[i % 2]}", "at,label"))
    audited(data, clean)
    assert read_data(data).frame["at"].dt.hour.tolist() == [i % 24 for i in range(60)]


@pytest.mark.parametrize(
    ("data_values", "clean_values"),
    [
        ("True False", "1 0"),
        ("1 0", "True False"),
        ("True False", "yes no"),
        ("yes no", "Yes No"),
        ("TRUE FALSE", "1 0"),
    ],
)
def test_truth_values_and_0_and_1_are_alike(data_values, clean_values, tmp_path, audited):
    parts = [
        rows(24, lambda i, values=values: f"{values[i % 2]},{'uv'[i % 2]}", "flag,label")
        for values in (data_values.split(), clean_values.split())
    ]
    data, clean = table(tmp_path, *parts)
    audited(data, clean)
    problem = encode(*read_pair(data, clean))
    assert problem.x.shape[1] == 1
    assert problem.x[:2].tolist() == problem.clean_x[:2].tolist()
    assert problem.x[0] > problem.x[1]


def pair_of(tmp_path, data, clean, separator=","):
    """Features of 60 rows and of two trusted ones, from the cells of one column."""
    text = rows(60, lambda i: separator.join((data(i), str(i % 7), "uv"[i % 2])), separator.join(("a", "b", "label")))
    head = ",".join(("a", "b", "label")) + "\n"
    return table(tmp_path, text, head + "".join(f"{cell},1,{label}\n" for cell, label in zip(clean, "uv", strict=True)))


@pytest.mark.parametrize(
    ("form", "clean"),
    [
        ("%m-%d-%Y", ("03-04-2020", "12-31-2019")),
        ("%d-%m-%Y", ("04-03-2020", "31-12-2019")),
        ("%d/%m/%Y", ("2020-03-04", "2019-12-31")),
        ("%Y-%m-%d %H:%M:%S+02", ("2020-03-04 00:00:00-07", "2019-12-31 00:00:00+00")),
        ("%Y-%m-%d %H:%M CEST", ("2020-03-04 00:00 CET", "2019-12-31 00:00 UTC")),
        ("%Y/%m/%d", ("2020/3/4", "2019/12/31")),
    ],
)
def test_dates_of_both_files_are_those_that_were_meant(form, clean, tmp_path):
    """A year after a hyphen is no time zone, and a year in front is one whatever stands first elsewhere."""
    days = [datetime.datetime(2020, 1, 1) + datetime.timedelta(days=i) for i in range(60)]
    train, trusted = read_pair(*pair_of(tmp_path, lambda i: days[i].strftime(form), clean))
    assert train.frame["a"].tolist() == days
    assert trusted.frame["a"].tolist() == [datetime.datetime(2020, 3, 4), datetime.datetime(2019, 12, 31)]


def test_dates_in_two_forms_in_one_column(tmp_path):
    days = [datetime.datetime(2020, 1, 1) + datetime.timedelta(days=i) for i in range(60)]
    pair = pair_of(tmp_path, lambda i: days[i].strftime(("%d.%m.%Y", "%Y-%m-%d")[i % 2]), ("2020-03-04", "04.03.2020"))
    train, trusted = read_pair(*pair)
    assert train.frame["a"].tolist() == days
    assert trusted.frame["a"].tolist() == [datetime.datetime(2020, 3, 4)] * 2


def test_times_of_day_in_halves_of_it(tmp_path):
    times = ["12:05 am", "1:30 AM", "12:30 PM", "11:59 p.m."]
    data = table(tmp_path, rows(60, lambda i: f"{times[i % 4]},{'uv'[i % 2]}", "at,label"))[0]
    at = read_data(data).frame["at"]
    assert at.dt.strftime("%H:%M").tolist()[:4] == ["00:05", "01:30", "12:30", "23:59"]


@pytest.mark.parametrize(
    ("data", "clean"),
    [
        (lambda i: f"{i % 28 + 1:02}/{i % 12 + 1:02}/2020", ("03/24/2020", "12/11/2020")),
        (lambda i: f"{i % 9} kg", ("15 g", "30 g")),
        (lambda i: f"${i % 9}", ("€15", "€30")),
        (lambda i: f"{i % 90}%", ("15", "30")),
        (lambda i: str(i % 9), ("15%", "30%")),
    ],
)
def test_a_clean_set_in_another_order_or_unit_is_refused(data, clean, tmp_path):
    with pytest.raises(ValueError, match="something else in the clean set: write both alike"):
        read_pair(*pair_of(tmp_path, data, clean))


@pytest.mark.parametrize("cells", [("5 kg", "300 g"), ("$5", "€4"), ("12%", "0.5"), ("<0.1", "1.5"), ("\0", "3")])
def test_numbers_that_are_not_of_one_kind_are_names_and_it_is_said(cells, tmp_path):
    read = read_data(table(tmp_path, rows(60, lambda i: f"{cells[i % 2]},{i % 7},{'uv'[i // 2 % 2]}", "a,b,label"))[0])
    assert read.frame["a"].tolist()[:2] == [cell.strip() for cell in cells]
    assert "Column 'a' is read as names: 30 of its 60 cells hold no number in one unit" in " ".join(read.notes)


@pytest.mark.parametrize("cell", ["EUR 3.5", "R$ 3.5", "3.5 CHF", "3.50€", "₹3.5"])
def test_a_currency_in_front_or_behind(cell, tmp_path):
    read = read_data(table(tmp_path, rows(60, lambda i: f"{cell.replace('3', str(i))},{'uv'[i % 2]}", "a,label"))[0])
    assert read.frame["a"].tolist() == [i + 0.5 for i in range(60)]


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("{} mg/dl", 1),
        ("{}.0 m/s²", 1),
        ("{}€/kg", 1),
        ("{} beats/min", 1),
        ("{}.0-", -1),
        ('"=""{}"""', 1),
        ('"{},00,000"', 1e5),
    ],
)
def test_numbers_with_compound_units_and_as_programmes_write_them(cell, value, tmp_path):
    read = read_data(table(tmp_path, rows(60, lambda i: f"{cell.format(i % 9 + 1)},{'uv'[i % 2]}", "a,label"))[0])
    assert read.frame["a"].tolist() == [value * (i % 9 + 1) for i in range(60)]


@pytest.mark.parametrize(
    ("cells", "separator", "values"),
    [
        (lambda i: f"{i % 9 + 1},{i + 100};{i % 7},5", ";", lambda i: i % 9 + 1 + (i + 100) / 1000),
        (lambda i: f"{i % 9 + 1}.{i + 100};{i % 7},5", ";", lambda i: 1000 * (i % 9 + 1) + i + 100),
        (lambda i: f"{i % 9 + 1},{i + 100};{i % 7}", ";", lambda i: i % 9 + 1 + (i + 100) / 1000),
        (lambda i: f"{i % 9 + 1},{i + 100};{i % 7}.5", ";", lambda i: 1000 * (i % 9 + 1) + i + 100),
        (lambda i: f'"{i % 9 + 1},{i + 100}",{i % 7}.5', ",", lambda i: 1000 * (i % 9 + 1) + i + 100),
        (lambda i: f'"0,{i + 100}",{i % 7}', ",", lambda i: (i + 100) / 1000),
        (lambda i: f"{i % 9 + 1}.{i + 100};{i % 7}.5", ";", lambda i: i % 9 + 1 + (i + 100) / 1000),
    ],
)
def test_the_whole_file_says_what_a_comma_and_a_point_mean(cells, separator, values, tmp_path):
    head = separator.join(("a", "b", "label"))
    read = read_data(table(tmp_path, rows(60, lambda i: f"{cells(i)}{separator}{'uv'[i % 2]}", head))[0])
    assert read.frame["a"].tolist() == pytest.approx([values(i) for i in range(60)])


def test_commas_of_the_clean_set_mean_what_they_mean_in_its_file(tmp_path):
    data = rows(60, lambda i: f"{i % 9}.5,{i % 7}.5,{'uv'[i % 2]}", "a,b,label")
    trusted = read_pair(*table(tmp_path, data, "a;b;label\n1,234;2,5;u\n3,234;2,5;v\n"))[1]
    assert trusted.frame["a"].tolist() == [1.234, 3.234]


def test_a_comma_that_can_mean_two_things_is_named(tmp_path):
    text = rows(60, lambda i: f'"{i % 9 + 1},{i + 100}",{"uv"[i % 2]}' if i % 2 else f"{i},{'uv'[i % 2]}", "a,label")
    read = read_data(table(tmp_path, text)[0])
    assert read.notes == ("Column 'a': '2,101' is read as 2101. If that is wrong, write it so in the file.",)


@pytest.mark.parametrize("first", [2**53, 2**62, 2**70])
def test_whole_numbers_that_a_computer_takes_for_the_same_are_names(first, tmp_path):
    text = rows(60, lambda i: f"{first + i % 3},{first + i},{i % 7},{'uv'[i % 2]}", "card,account,a,label")
    data, clean = table(tmp_path, text)
    train, trusted = read_pair(data, clean)
    assert train.frame["card"].tolist() == [str(first + i % 3) for i in range(60)]
    assert trusted.frame["card"].tolist() == [str(first + i % 3) for i in range(54, 60)]
    assert list(train.aside.columns) == ["account"]
    assert encode(train, trusted).x.shape[1] == 4


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PAR1\x15\x00", "no text but a parquet file: name it .parquet"),
        (b"PK\x03\x04\x14\x00", "no text but a spreadsheet or an archive: save it as CSV"),
        (b"version https://git-lfs.github.com/spec/v1\n", "only a pointer of Git LFS: fetch the file itself"),
        (b"a,label\n1,\x81\x40\n", "is neither UTF-8 nor Windows-1252 text: save it as UTF-8"),
    ],
)
def test_a_file_that_only_calls_itself_a_csv_is_named_as_what_it_is(content, message, tmp_path):
    (tmp_path / "data.csv").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_data(tmp_path / "data.csv")


def test_letters_of_two_bytes_without_a_mark_in_either_order(tmp_path):
    text = rows(60, lambda i: f"{i % 7},{'uv'[i % 2]}", "a,label")
    for encoding in ("utf-16-le", "utf-16-be"):
        assert len(read_data(table(tmp_path, text, encoding=encoding)[0])) == 60


WORDS = ["good", "bad", "fine", "poor", "dull", "great", "plot", "film", "cast", "end"]


def sentences(n):
    return [" ".join(np.random.default_rng(i).choice(WORDS, 8)) + f" {i}" for i in range(n)]


def test_free_text_becomes_features_of_its_words(tmp_path, audited):
    said_by = sentences(200)
    data, clean = table(tmp_path, rows(200, lambda i: f"{said_by[i]},{'uv'[i % 2]}", "text,label"))
    said, _ = audited(data, clean)
    assert "Read as text, by its words: column 'text'" in said
    problem = encode(*read_pair(data, clean))
    assert len(problem.x.unique(dim=0)) == 200
    assert "exactly alike" in said, "six rows are in both files"


def test_text_without_blanks_is_told_apart_by_its_letters(tmp_path):
    letters = "猫犬鳥魚山川空海森花"
    lines = ["".join(np.random.default_rng(i).choice(list(letters), 14)) for i in range(60)]
    data, clean = table(tmp_path, rows(60, lambda i: f"{lines[i]},{'uv'[i % 2]}", "文,label"))
    train, trusted = read_pair(data, clean)
    assert train.text == ("文",)
    assert len(encode(train, trusted).x.unique(dim=0)) == 60


def test_names_that_are_all_different_are_left_out_unless_asked_for(tmp_path, audited):
    titles = [f"{a} {b}" for a in WORDS for b in WORDS]
    text = rows(100, lambda i: f"{titles[i]},{i % 7},T-{i * 37},{'uv'[i % 2]}", "title,a,ticket,label")
    data, clean = table(tmp_path, text)
    said, _ = audited(data, clean)
    assert "Left out: columns 'title', 'ticket'; nearly every row has a value of its own" in said
    assert list(read_data(data).frame.columns) == ["a"]
    asked = read_data(data, text=("title",), keep=("ticket",))
    assert list(asked.frame.columns) == ["title", "a", "ticket"]
    assert asked.text == ("title",)


@pytest.mark.parametrize("options", [("--text", "title"), ("--keep", "title"), ("--text", "title", "--ignore", "a")])
def test_columns_can_be_called_text_or_kept(options, tmp_path, audited):
    titles = [f"{a} {b}" for a in WORDS for b in WORDS]
    data, clean = table(tmp_path, rows(100, lambda i: f"{titles[i]},{i % 7},{'uv'[i % 2]}", "title,a,label"))
    said, _ = audited(data, clean, *options)
    assert "nearly every row" not in said


def test_a_key_of_the_rows_is_left_out_and_named(tmp_path, audited):
    text = rows(60, lambda i: f"{1000 + i},{(i * 7919) % 10007},{i % 7},{'uv'[i % 2]}", "n,PatientId,a,label")
    data, clean = table(tmp_path, text)
    said, _ = audited(data, clean)
    assert "Left out: columns 'n', 'PatientId'; its whole numbers are all different" in said
    assert list(read_data(data).frame.columns) == ["a"]
    assert list(read_data(data, keep=("n",)).frame.columns) == ["n", "a"]


def test_decimals_are_numbers_and_a_folder_of_parquet_is_one_table(tmp_path, audited):
    pytest.importorskip("pyarrow", reason="parquet files need pyarrow, which the extra `tables` installs")
    n = 200
    frame = pd.DataFrame(
        {
            "price": [decimal.Decimal(i) / 4 for i in range(n)],
            "on": [datetime.date(2020, 1, 1) + datetime.timedelta(days=i) for i in range(n)],
            "at": pd.date_range("2020-01-01", periods=n, freq="7h", tz="Europe/Berlin"),
            "took": pd.to_timedelta(np.arange(n) % 50, unit="min"),
            "vector": [np.array([i % 3, i % 5], float) for i in range(n)],
            "many": [{"a": 1}] * n,
            "colour": pd.Categorical(["red", "blue"] * (n // 2)),
            "maybe": pd.array([True, None] * (n // 2), dtype="boolean"),
            "count": pd.array([1, None] * (n // 2), dtype="Int64"),
            "label": np.where(np.arange(n) % 2, 1.0, 2.0),
        }
    )
    spark = tmp_path / "data.parquet"
    spark.mkdir()
    for part in range(2):
        frame.iloc[part * 100 : part * 100 + 100].to_parquet(spark / f"part-{part:04}.snappy.parquet")
    (spark / "_SUCCESS").write_bytes(b"")
    (spark / ".part-0000.snappy.parquet.crc").write_bytes(b"crc")
    frame.iloc[::20].to_parquet(tmp_path / "clean.parquet")
    assert frame["label"].iloc[::20].nunique() == 1
    said, found = audited(spark, tmp_path / "clean.parquet")
    assert len(found) == n
    assert set(found["given_label"]) == {"1", "2"}
    assert "Left out: column 'many'; its cells hold lists or bytes" in said
    read = read_data(spark)
    assert read.frame["price"].tolist() == [i / 4 for i in range(n)]
    assert {"vector[0]", "vector[1]"} <= set(read.frame.columns)
    assert read.frame["at"].dt.hour.tolist() == frame["at"].dt.hour.tolist()
    only = read_data(spark, ignore=tuple(name for name in frame.columns if name not in ("price", "label")))
    assert len(encode(only, only).x.unique(dim=0)) == n


def test_a_folder_of_csv_parts_is_one_table(tmp_path, audited):
    parts = tmp_path / "parts"
    parts.mkdir()
    for number in range(3):
        table(tmp_path, rows(20, lambda i: f"{i % 7},0{i % 2}", "a,label"))[0].rename(parts / f"part-{number}.csv")
    (parts / "_SUCCESS").write_bytes(b"")
    _, found = audited(parts, tmp_path / "clean.csv")
    assert len(found) == 60
    assert set(found["given_label"]) == {"00", "01"}


def test_columns_that_say_nothing_or_stand_twice_are_named(tmp_path, audited):
    text = rows(24, lambda i: f"{i % 7},same,,{i % 3},{'uv'[i % 2]}", "a,b,c,a,label")
    said, _ = audited(*table(tmp_path, text))
    assert "Left out: column 'c'; nothing is in it" in said
    assert "Column 'b' has one value only" in said
    assert "A name of a column stands twice: the later ones are called 'a.1'" in said


@pytest.mark.parametrize("kind", [">f4", ">f8", ">i2", "<f2", np.longdouble])
def test_numbers_of_any_kind_of_computer(kind, tmp_path):
    x = np.arange(80).reshape(40, 2) % 5
    np.savez(tmp_path / "data.npz", x=x.astype(kind), y=(np.arange(40) % 2).astype(">i4"))
    read = read_data(tmp_path / "data.npz")
    assert read.frame.to_numpy().tolist() == x.tolist()
    assert set(read.labels) == {"0", "1"}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"x": np.zeros((8, 3)), "X": np.ones((8, 3)), "y": np.arange(8)},
            "arrays x and y, each once, and holds 'X', 'x'",
        ),
        ({"x": np.full((8, 4, 4), np.nan), "y": np.arange(8)}, r"x\[0\] holds values that are no finite numbers: fill"),
        ({"x": np.zeros((5, 3)), "y": np.arange(8)}, r"one for each of x, got int64 \(8,\) for x \(5, 3\)"),
    ],
)
def test_arrays_that_do_not_go_together_say_why(arrays, message, tmp_path):
    np.savez(tmp_path / "data.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        read_data(tmp_path / "data.npz")


def test_labels_too_large_to_be_told_apart_are_refused_and_those_of_a_parquet_are_kept(tmp_path):
    pytest.importorskip("pyarrow", reason="parquet files need pyarrow, which the extra `tables` installs")
    y = np.arange(40) % 2 * 1e20
    np.savez(tmp_path / "data.npz", x=np.zeros((40, 2)), y=y)
    with pytest.raises(ValueError, match=r"y must be \(N,\) integers or strings"):
        read_data(tmp_path / "data.npz")
    pd.DataFrame({"a": np.arange(40.0) % 7, "label": y}).to_parquet(tmp_path / "data.parquet")
    assert set(read_data(tmp_path / "data.parquet").labels) == {"0.0", "1e+20"}


def test_features_in_an_npz(tmp_path, audited):
    for name, n in (("data", 40), ("clean", 10)):
        x = RNG.normal(size=(n, 64)).astype(np.float16)
        np.savez(tmp_path / f"{name}.npz", X=x, Y=np.array(["é", "b"])[np.arange(n) % 2][:, None])
    _, found = audited(tmp_path / "data.npz", tmp_path / "clean.npz")
    assert set(found["given_label"]) == {"é", "b"}
    np.savez(tmp_path / "flags.npz", x=RNG.random((9, 4)) > 0.5, y=np.arange(9.0) % 2)
    assert read_data(tmp_path / "flags.npz").frame.shape == (9, 4)


@pytest.mark.parametrize(
    ("y", "remedy"),
    [(np.eye(2)[[0, 1] * 4], r"give y.argmax\(1\)"), (np.array(["a", "b"] * 4, object), r"y.astype\(str")],
)
def test_labels_of_an_npz_that_are_no_labels_yet(y, remedy, tmp_path):
    np.savez(tmp_path / "data.npz", x=RNG.random((8, 3)), y=y)
    with pytest.raises(ValueError, match=remedy):
        read_data(tmp_path / "data.npz")


REFUSED = {
    "'a' holds 1e\\+200 in row 4, which is too large": (
        rows(24, lambda i: f"{'1e200' if i == 3 else i % 7},{'uv'[i % 2]}", "a,label"),
        None,
    ),
    "'a' holds an infinite number: remove or replace it, the first is in row 4": (
        rows(24, lambda i: f"{'-inf' if i == 3 else i % 7},{'uv'[i % 2]}", "a,label"),
        None,
    ),
    "the label column 'label' twice": (rows(24, lambda i: f"{i % 7},u,{'uv'[i % 2]}", "a,label,label"), None),
    "cannot be read as a table: .*Expected 2 fields in line 9, saw 4": (
        rows(24, lambda i: f"{'1,2,3' if i == 7 else i % 7},{'uv'[i % 2]}", "a,label"),
        None,
    ),
    "has no feature column that can be used. Left out: column 'who'; nearly every": (
        rows(60, lambda i: f"Q{i * 31}x,{'uv'[i % 2]}", "who,label"),
        None,
    ),
    "'a' of the clean set holds '1', '2', which the data lack .they have 'one', 'two'.: write both alike": (
        rows(24, lambda i: f"{('one', 'two')[i % 2]},{'uv'[i % 2]}", "a,label"),
        "a,label\n1,u\n2,v\n",
    ),
    "'flag' holds truth values in the data and something else": (
        rows(24, lambda i: f"{(True, False)[i % 2]},{'uv'[i % 2]}", "flag,label"),
        "flag,label\n5,u\n7,v\n",
    ),
    "'day' holds dates in the data and something else": (
        rows(24, lambda i: f"2020-01-{i % 28 + 1:02},{'uv'[i % 2]}", "day,label"),
        "day,label\nMonday,u\nFriday,v\n",
    ),
    "names images in the column 'file' and has no features of them: put the images into one folder for each": (
        rows(60, lambda i: f"img/{i}.JPG,{'uv'[i % 2]}", "file,label"),
        None,
    ),
    "every label of the clean set, 'w', is one that the data lack": (
        rows(24, lambda i: f"{i % 7},{'uv'[i % 2]}", "a,label"),
        "a,label\n1,w\n2,w\n",
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_a_table_that_cannot_be_used_is_refused_in_one_line(message, tmp_path, refused):
    pair = table(tmp_path, *REFUSED[message])
    told = refused(*pair, *(["--drop-unknown"] if "every label" in message else []))
    assert re.search(message, told), told
