"""What goes into the archive, and what stops it from being made."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from make_archive import FOLDER, main


def test_it_is_the_folder_itself_without_what_no_reader_opens(tmp_path: Path) -> None:
    book = tmp_path / "html"
    written = {
        "intro.html": "<title>Numbers &amp; letters</title>",
        "_static/a.js": "1",
        "_static/locales/de/b.js": "2",
        ".buildinfo": "3",
        "chapters/c.html": "4",
    }
    for name, text in written.items():
        (book / name).parent.mkdir(parents=True, exist_ok=True)
        (book / name).write_text(text)
    assert main([str(book), str(tmp_path / "book.zip")]) == 0
    with zipfile.ZipFile(tmp_path / "book.zip") as archive:
        packed = {name.removeprefix(f"{FOLDER}/"): archive.read(name).decode() for name in archive.namelist()}
    assert packed.pop("README.txt").startswith("Numbers & letters\n")
    assert packed == {name: written[name] for name in ("intro.html", "_static/a.js", "chapters/c.html")}
    first = (tmp_path / "book.zip").read_bytes()
    main([str(book), str(tmp_path / "book.zip")])
    assert (tmp_path / "book.zip").read_bytes() == first, "the same book always gives the same archive"


def test_without_a_book_there_is_no_archive(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "book.zip"
    assert main([str(tmp_path), str(target)]) == 1
    assert "make book" in capsys.readouterr().err
    assert not zipfile.is_zipfile(target)
