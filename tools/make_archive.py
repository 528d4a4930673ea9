"""Pack the built book into one file that opens from a folder, with no network.

    python tools/make_archive.py [HTML] [TARGET]

The published pages load MathJax and the widgets' scripts from a content delivery network. Here the same versions are
taken from npm, checked against the hashes in `vendored/packages.json`, and laid beside the pages with their licences.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import html
import json
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

TOOLS = Path(__file__).resolve().parent
CDN = "https://cdn.jsdelivr.net/npm/"
FOLDER = "l2rw-book"
# Where the packages lie in the archive.
PLACE = "_static/npm"
# Widget modules that the widget manager brings with it.
BUNDLED = {"@jupyter-widgets/base", "@jupyter-widgets/controls", "@jupyter-widgets/output"}
# Of no use to a reader: source maps, translations of the theme, what Sphinx notes for its next run.
LEFT_OUT = ("*.map", "_static/locales/*", ".buildinfo", ".doctrees/*")
# Any fixed date: the same book always gives the same archive.
DATE = (2018, 7, 10, 0, 0, 0)

_NAME_VERSION_PATH = re.escape(CDN) + r'((?:@[^/"@]+/)?[^/"@]+)@([^/"]+)/([^"]+)'
SCRIPT = re.compile(rf'<script\b[^>]*\bsrc="{_NAME_VERSION_PATH}"[^>]*></script>')
FROM_NETWORK = re.compile(r'<(?:script|link|img|iframe|source)\b[^>]*\b(?:src|href)="((?:https?:)?//[^"]+)"')
WIDGET_MODULE = re.compile(r'"model_module": "([^"]+)"')

README = """\
{title}

Open index.html in a browser. Everything works without a network: sliders, playground, mathematics, search.

Scripts of others, in {place}, each with its licence:
{scripts}
"""


class ArchiveError(Exception):
    """The archive cannot be made; the message says why and what to do."""


@dataclass(frozen=True)
class Package:
    """A package of `vendored/packages.json`: which version, what its tarball must hash to, which files are needed."""

    name: str
    version: str
    integrity: str
    licence: str
    files: tuple[str, ...]

    def needs(self, path: str) -> bool:
        """Whether this file of the package goes into the archive."""
        return any(fnmatch(path, pattern) for pattern in self.files)


def vendored_packages() -> dict[str, Package]:
    """Name -> package."""
    listed = json.loads((TOOLS / "vendored" / "packages.json").read_text())
    return {entry["name"]: Package(**entry | {"files": tuple(entry["files"])}) for entry in listed}


# --- what npm gives --------------------------------------------------------------------------------------------------


def fetch(package: Package, cache: Path) -> Path:
    """The package's tarball, from `cache` or from npm; ArchiveError unless it has the hash on record."""
    tarball = cache / f"{package.name.lstrip('@').replace('/', '-')}-{package.version}.tgz"
    if not tarball.is_file():
        _download(package, cache)
    algorithm, expected = package.integrity.split("-", 1)
    found = base64.b64encode(hashlib.new(algorithm, tarball.read_bytes()).digest()).decode()
    if found != expected:
        tarball.unlink()
        raise ArchiveError(f"{package.name} {package.version} is not the package on record: its {algorithm} is {found}")
    return tarball


def _download(package: Package, cache: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise ArchiveError("npm is needed once, to fetch MathJax and the widgets' scripts: install Node.js")
    cache.mkdir(parents=True, exist_ok=True)
    command = [npm, "pack", f"{package.name}@{package.version}", "--pack-destination", cache, "--ignore-scripts"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise ArchiveError(f"npm could not fetch {package.name} {package.version}:\n{done.stderr.strip()}")


def package_files(package: Package, cache: Path) -> dict[str, bytes]:
    """Path in the archive -> contents, for the files that the book needs, licences included."""
    with tarfile.open(fetch(package, cache)) as tarball:
        members = {member.name.removeprefix("package/"): member for member in tarball if member.isfile()}
        wanted = {path: tarball.extractfile(member).read() for path, member in members.items() if package.needs(path)}
    if licence := next(TOOLS.glob(f"vendored/{package.name}-LICENSE.txt"), None):
        wanted["LICENSE"] = licence.read_bytes()
    if "LICENSE" not in wanted:
        raise ArchiveError(f"{package.name} came without its licence")
    return {f"{PLACE}/{package.name}/{path}": content for path, content in sorted(wanted.items())}


# --- the pages -------------------------------------------------------------------------------------------------------


def localise(text: str, page: str, packages: dict[str, Package]) -> str:
    """The HTML of `page` with every script of the network replaced by the file in the archive.

    Raises:
        ArchiveError: the page asks the network for something that is not vendored, or in another version.
    """
    up = "../" * page.count("/")

    def local_script(match: re.Match[str]) -> str:
        name, version, path = match.groups()
        package = packages.get(name)
        if package is None or not f"{package.version}.".startswith(f"{version}.") or not package.needs(path):
            raise ArchiveError(f"{page} loads {name}@{version}/{path}: tools/vendored/packages.json lacks it")
        # Neither `integrity` nor `crossorigin`: a browser grants them to no file that it opens from a folder.
        defer = ' defer="defer"' if "defer" in match[0].split("src=")[0] else ""
        tag = f'<script{defer} src="{up}{PLACE}/{name}/{path}"></script>'
        return tag + (_module_paths(text, page, packages, up) if name == "requirejs" else "")

    text = SCRIPT.sub(local_script, text)
    if left := FROM_NETWORK.findall(text):
        raise ArchiveError(f"{page} loads {', '.join(left)} from the network")
    return text


def _module_paths(text: str, page: str, packages: dict[str, Package], up: str) -> str:
    modules = set(WIDGET_MODULE.findall(text)) - BUNDLED
    if unknown := modules - set(packages):
        raise ArchiveError(f"{page} has widgets of {', '.join(sorted(unknown))}: tools/vendored/packages.json lacks it")
    paths = {name: f"{up}{PLACE}/{name}/dist/index" for name in sorted(modules)}
    return f"<script>require.config({json.dumps({'paths': paths})})</script>" if paths else ""


def quiet_search(text: str) -> str:
    """Sphinx's options, told not to load each page found for an excerpt: a page from a folder may not read others."""
    changed = re.sub(r"SHOW_SEARCH_SUMMARY: true", "SHOW_SEARCH_SUMMARY: false", text)
    if changed == text:
        raise ArchiveError("documentation_options.js has no SHOW_SEARCH_SUMMARY: see how this Sphinx words it")
    return changed


def book_files(book: Path, packages: dict[str, Package]) -> Iterator[tuple[str, bytes]]:
    """Path in the archive -> contents, for the book itself."""
    for file in sorted(path for path in book.rglob("*") if path.is_file()):
        name = file.relative_to(book).as_posix()
        if any(fnmatch(name, pattern) for pattern in LEFT_OUT):
            continue
        if name.endswith(".html") and not name.startswith("_static/"):
            yield name, localise(file.read_text(encoding="utf-8"), name, packages).encode()
        elif name == "_static/documentation_options.js":
            yield name, quiet_search(file.read_text(encoding="utf-8")).encode()
        else:
            yield name, file.read_bytes()


def title_of(book: Path) -> str:
    """The book's title, from its landing page."""
    found = re.search(r"<title>(.*?)</title>", (book / "intro.html").read_text(encoding="utf-8"), re.DOTALL)
    return html.unescape(found[1]).strip() if found else FOLDER


def make_archive(book: Path, target: Path, cache: Path) -> None:
    """Write the archive of the built `book` to `target`; fetched packages stay in `cache`."""
    if not (book / "intro.html").is_file():
        raise ArchiveError(f"there is no book in {book}: run 'make book' first")
    packages = vendored_packages()
    scripts = "\n".join(f"  {p.name} {p.version}  {p.licence}" for p in packages.values())
    files = {"README.txt": README.format(title=title_of(book), place=PLACE, scripts=scripts).encode()}
    files |= dict(book_files(book, packages))
    for package in packages.values():
        files |= package_files(package, cache)
    unfinished = target.with_suffix(".unfinished")
    with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(str(PurePosixPath(FOLDER, name)), DATE)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED, 9)
    unfinished.replace(target)


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    build = TOOLS.parent / "_build"
    parser = argparse.ArgumentParser(description="Pack the built book into one file that opens without a network.")
    parser.add_argument("book", nargs="?", type=Path, default=build / "html", help="folder of the built pages")
    parser.add_argument("target", nargs="?", type=Path, default=build / "l2rw-book.zip")
    given = parser.parse_args(arguments)
    try:
        make_archive(given.book, given.target, build / "vendored")
    except ArchiveError as error:
        print(f"The archive was not made: {error}", file=sys.stderr)
        return 1
    print(f"{given.target}: {given.target.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
