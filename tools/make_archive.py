"""Pack the built book into one file that opens from a folder, with no network.

python tools/make_archive.py [HTML] [TARGET]
"""

from __future__ import annotations

import argparse
import html
import re
import sys
import zipfile
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

FOLDER = "l2rw-book"
# Of no use to a reader: translations of the theme, what Sphinx notes for its next run.
LEFT_OUT = ("_static/locales/*", ".buildinfo", ".doctrees/*")
# Any fixed date: the same book always gives the same archive.
DATE = (2018, 7, 10, 0, 0, 0)
README = """\
{title}

Open index.html in a browser. Everything works without a network: sliders, playground, mathematics, search.
"""


class ArchiveError(Exception):
    """The archive cannot be made; the message says why and what to do."""


def book_files(book: Path) -> Iterator[tuple[str, bytes]]:
    """Path in the archive -> contents, for the book itself."""
    for file in sorted(path for path in book.rglob("*") if path.is_file()):
        name = file.relative_to(book).as_posix()
        if not any(fnmatch(name, pattern) for pattern in LEFT_OUT):
            yield name, file.read_bytes()


def title_of(book: Path) -> str:
    """The book's title, from its landing page."""
    found = re.search(r"<title>(.*?)</title>", (book / "intro.html").read_text(encoding="utf-8"), re.DOTALL)
    return html.unescape(found[1]).strip() if found else FOLDER


def make_archive(book: Path, target: Path) -> None:
    """Write the archive of the built `book` to `target`."""
    if not (book / "intro.html").is_file():
        raise ArchiveError(f"there is no book in {book}: run 'make book' first")
    unfinished = target.with_suffix(".unfinished")
    with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in [("README.txt", README.format(title=title_of(book)).encode()), *book_files(book)]:
            entry = zipfile.ZipInfo(str(PurePosixPath(FOLDER, name)), DATE)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED, 9)
    unfinished.replace(target)


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    build = Path(__file__).parents[1] / "_build"
    parser = argparse.ArgumentParser(description="Pack the built book into one file that opens without a network.")
    parser.add_argument("book", nargs="?", type=Path, default=build / "html", help="folder of the built pages")
    parser.add_argument("target", nargs="?", type=Path, default=build / "l2rw-book.zip")
    given = parser.parse_args(arguments)
    try:
        make_archive(given.book, given.target)
    except ArchiveError as error:
        print(f"The archive was not made: {error}", file=sys.stderr)
        return 1
    print(f"{given.target}: {given.target.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
