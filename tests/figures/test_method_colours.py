"""Every method has one name and one look."""

import re
from pathlib import Path

from l2rw_core.experiments import Results
from l2rw_core.figures.curves import style_of
from l2rw_core.figures.methods import LOOKS, TITLES, is_row, look_of, title_of_row
from l2rw_core.figures.style import COLOURS
from l2rw_core.figures.sweeps import style_of_row

PLAYGROUND = Path(__file__).parents[2] / "l2rw_core" / "interactive" / "playground.js"
GRIDS = (("fig2", "paper"), ("table1", "reduced"), ("table2", "reduced"))
ROWS = {row for name, scale in GRIDS for row in Results.load(name, scale).rows}


def test_every_row_on_record_has_a_name_of_its_own():
    assert {row for row in ROWS if not is_row(row)} == set()
    titles = [title_of_row(row) for row in ROWS]
    assert len(set(titles)) == len(titles)
    assert not any("_" in title for title in titles)


def test_what_is_no_row_keeps_its_name_and_an_addition_stays():
    assert title_of_row("seen by nobody") == "seen by nobody"
    assert title_of_row("l2rw, 20 clean") == "L2RW, 20 clean"
    assert title_of_row("clean_only") == title_of_row("clean-only")


def test_no_two_looks_share_a_marker_or_a_dash():
    assert len({look.marker for look in LOOKS.values()}) == len(LOOKS)
    assert len({str(look.dash) for look in LOOKS.values()}) == len(LOOKS)
    assert LOOKS.keys() - {"baseline+ft", "baseline+es"} <= TITLES.keys()


def test_all_figures_draw_a_method_alike_wherever_it_stands():
    for row in LOOKS:
        look = look_of(row)
        assert {style_of(row, place) for place in range(4)} == {(look.colour, look.dash)}
        assert style_of_row(row) == (look.colour, look.marker, look.dash)
    assert style_of("clean_only", 0) == style_of("clean-only", 3)


def test_nothing_else_has_the_colour_of_reweighting_or_of_plain_training():
    reserved = {COLOURS["l2rw"], COLOURS["baseline"]}
    assert [row for row, look in LOOKS.items() if look.colour in reserved] == ["l2rw", "baseline"]


def test_the_playground_has_the_same_colours():
    written = dict(re.findall(r'^  (\w+): "(#[0-9a-f]{6})",', PLAYGROUND.read_text(), re.MULTILINE))
    assert {role: COLOURS[role] for role in ("l2rw", "baseline", "clean", "noisy")}.items() <= written.items()
