"""What is repaired on built pages, and that a repair which finds nothing any more stops the build."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from book_pages import REPAIRS, out_of_date, repair, repair_pages
from sphinx.errors import ExtensionError

PAGE = "<html>" + "".join(f"<p {one.beside}{one.written}></p>" for one in REPAIRS)


def test_what_is_written_is_what_was_meant_and_stays_so() -> None:
    repaired = repair(PAGE)
    assert [one.written for one in REPAIRS if one.written in repaired] == []
    assert repair(repaired) == repaired
    assert out_of_date(PAGE) == []


@pytest.mark.parametrize("one", REPAIRS, ids=lambda one: one.written)
def test_a_repair_that_finds_nothing_stops_the_build_and_is_named(one: tuple[str, str, str], tmp_path: Path) -> None:
    (tmp_path / "api").mkdir()
    (tmp_path / "api" / "one.html").write_text(PAGE.replace(one[0], "something else"))
    (tmp_path / "two.html").write_text(PAGE)
    app = SimpleNamespace(outdir=tmp_path)
    with pytest.raises(ExtensionError) as error:
        repair_pages(app, None, {"api/one", "two"})
    assert f"what api/one and 0 other pages no longer have: {one[0]}. Look" in str(error.value)
    assert (tmp_path / "two.html").read_text() == repair(PAGE), "the other pages are repaired all the same"
    repair_pages(app, None, set())  # what was not written again has been repaired before


def test_what_a_page_does_not_have_need_not_be_repaired(tmp_path: Path) -> None:
    plain = "".join(one.written for one in REPAIRS if one.beside == "<html")
    assert out_of_date(f"<html>{plain}") == []


def test_a_signature_over_several_lines_is_no_list_of_descriptions() -> None:
    line = '<dd><em class="sig-param">n</em>,</dd>\n'
    kept = '<dl class="simple">\n<dt>a</dt><dd>b</dd>\n</dl>'
    repaired = repair(f"<dt>f(<dl>\n{line}{line}</dl>\n)</dt>{kept}")
    assert (repaired.count('<span class="l2rw-parameter">'), repaired.count("<dd>")) == (2, 1)
    assert repaired.endswith(kept)
    assert repair(repaired) == repaired
