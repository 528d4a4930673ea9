"""What goes into the archive, and what stops it from being made."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from make_archive import CDN, PLACE, ArchiveError, Package, fetch, localise, main, quiet_search, vendored_packages

ROOT = Path(__file__).parents[2]
MATHJAX = f'<script defer="defer" src="{CDN}mathjax@3/es5/tex-mml-chtml.js"></script>'
REQUIRE = f'<script crossorigin="anonymous" integrity="sha256-x" src="{CDN}requirejs@2.3.4/require.js"></script>'
WIDGET = '<script type="x">{"model_module": "%s"}</script>'


@pytest.fixture(scope="module")
def packages() -> dict[str, Package]:
    return vendored_packages()


def test_versions_are_those_that_the_browser_tests_serve(packages: dict[str, Package]) -> None:
    served = json.loads((ROOT / "tests" / "browser" / "package.json").read_text())["dependencies"]
    assert {name: package.version for name, package in packages.items()}.items() <= served.items()


def test_scripts_are_found_from_every_depth(packages: dict[str, Package]) -> None:
    assert localise(MATHJAX, "intro.html", packages) == (
        f'<script defer="defer" src="{PLACE}/mathjax/es5/tex-mml-chtml.js"></script>'
    )
    assert f'src="../{PLACE}/mathjax/' in localise(MATHJAX, "chapters/a.html", packages)
    local = localise(REQUIRE, "intro.html", packages)
    assert "crossorigin" not in local
    assert "integrity" not in local


def test_a_widget_module_is_told_where_it_lies(packages: dict[str, Package]) -> None:
    page = REQUIRE + WIDGET % "anywidget" + WIDGET % "@jupyter-widgets/controls"
    assert f'{{"anywidget": "../{PLACE}/anywidget/dist/index"}}' in localise(page, "chapters/a.html", packages)
    assert "require.config" not in localise(REQUIRE + WIDGET % "@jupyter-widgets/base", "intro.html", packages)


@pytest.mark.parametrize(
    ("page", "named"),
    [
        (MATHJAX.replace("mathjax@3", "mathjax@2"), "mathjax@2"),
        (MATHJAX.replace("tex-mml-chtml", "tex-svg"), "tex-svg"),
        (MATHJAX.replace("mathjax", "katex"), "katex"),
        ('<link href="https://fonts.example.org/a.css" rel="stylesheet">', "fonts.example.org"),
        ('<img alt="" src="//example.org/a.png">', "example.org/a.png"),
        (REQUIRE + WIDGET % "bqplot", "bqplot"),
    ],
)
def test_what_would_come_from_a_network_stops_it(packages: dict[str, Package], page: str, named: str) -> None:
    with pytest.raises(ArchiveError, match=named):
        localise(page, "intro.html", packages)


def test_links_to_the_world_stay(packages: dict[str, Package]) -> None:
    page = '<a href="https://example.org">elsewhere</a><link rel="canonical" href="intro.html">'
    assert localise(page, "intro.html", packages) == page


def test_a_package_that_is_not_the_one_on_record_is_refused(packages: dict[str, Package], tmp_path: Path) -> None:
    package = replace(packages["anywidget"], name="@a/b")
    (tmp_path / f"a-b-{package.version}.tgz").write_bytes(b"something else")
    with pytest.raises(ArchiveError, match="not the package on record"):
        fetch(package, tmp_path)
    assert not any(tmp_path.iterdir()), "a later run would meet it again"


def test_another_wording_of_the_search_options_is_noticed() -> None:
    assert "SHOW_SEARCH_SUMMARY: false" in quiet_search("{SHOW_SEARCH_SUMMARY: true,}")
    with pytest.raises(ArchiveError, match="SHOW_SEARCH_SUMMARY"):
        quiet_search("{}")


def test_without_a_book_there_is_no_archive(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "book.zip"
    assert main([str(tmp_path), str(target)]) == 1
    assert "make book" in capsys.readouterr().err
    assert not zipfile.is_zipfile(target)
