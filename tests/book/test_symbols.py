"""The symbols that a page explains are those that its formulas use."""

import json
import re
from pathlib import Path

import pytest
from docutils import nodes
from docutils.utils import new_document
from symbols import Symbol, mark_formulas, read_symbols, symbols_box, symbols_in

ROOT = Path(__file__).parents[2]
NOTATION = ROOT / "reference" / "notation.md"


def page(*formulas: str) -> nodes.document:
    document = new_document("page")
    document.extend(nodes.math_block("", formula) for formula in formulas)
    return document


def explained(*formulas: str) -> set[str]:
    symbols = read_symbols(NOTATION)
    return {symbols[at].formula for at in symbols_in("\n".join(formulas), symbols)}


@pytest.mark.parametrize(
    ("formula", "cores"),
    [
        (r"f_i(\theta)", ["f"]),
        (r"x^v_j,\ y^v_j", ["x^v", "y^v"]),
        (r"\Phi(x, \theta)", [r"\Phi"]),
        (r"\tilde w_i", [r"\tilde w"]),
        (r"n,\ m", ["n", "m"]),
    ],
)
def test_a_row_is_found_by_what_its_formulas_have_in_common(formula, cores):
    assert Symbol(formula, "", "meaning").cores == cores


def test_letters_inside_words_and_commands_are_no_symbols():
    assert symbols_in(r"\frac{1}{n}", [Symbol("n", "", "size")]) == [0]
    assert symbols_in(r"\min \nabla \eta", [Symbol("n", "", "size")]) == []
    assert symbols_in(r"\beta \theta", [Symbol(r"\eta", "", "step")]) == []


def test_a_letter_with_an_accent_is_a_symbol_of_its_own():
    assert explained(r"\tilde w_i = \max(u_i, 0)") == {r"\tilde w_i", "u_i"}
    assert explained(r"w_i \propto \tilde w_i") == {r"\tilde w_i", "w_i"}


def test_each_formula_knows_the_rows_that_explain_it():
    symbols = read_symbols(NOTATION)
    row = {symbol.formula: str(at) for at, symbol in enumerate(symbols)}
    inline, block, nothing = (
        r'<span class="math notranslate nohighlight">\(w_i &gt; 0\)</span>',
        '<div class="math notranslate nohighlight" id="equation-one">\n'
        r'<span class="eqno">(1)<a class="headerlink" href="#w">#</a></span>\[u_i = 1\]</div>',
        r'<span class="math notranslate nohighlight">\(3 &lt; 4\)</span>',
    )
    marked = mark_formulas(f"<p>w {inline} {block} {nothing}</p>", NOTATION)
    assert re.findall('data-symbols="(.*?)"', marked) == [row["w_i"], row["u_i"]]
    assert re.sub(' data-symbols=".*?"', "", marked) == f"<p>w {inline} {block} {nothing}</p>"


def test_the_step_of_the_method_is_explained():
    used = explained(r"w_i = \frac{\tilde w_i}{\sum_j \tilde w_j + \delta(\sum_j \tilde w_j)}")
    assert {r"w_i", r"\tilde w_i", r"\delta(s)"} <= used
    assert not {r"\alpha", r"\eta", "K"} & used


CHAPTERS = ROOT / "chapters"
OWN = {
    "03": {
        r"\hat\theta": "optimum",
        "h,": "eigenvalue",
        "H": "Hessian",
        "I_i": "influence",
        "A": "coordinates",
        r"\lambda": "decay",
        r"\mu": "mean input",
        "p,": "probabilities",
        "e_y": "one at class",
        "a,": "row and column",
        "k": "steps",
        "d": "distance",
    },
    "04": {"a,": "dual number", "g": "weighted loss", "W": "one layer", "z": "output", "r_i": "random", "s,": "dummy"},
    "11": {"z": "normal", "s": "suspect", "r_{i,t}": "squeezed"},
    "13": {"z": "normal"},
}
NOT_MEANT = {
    "01": {"a_i", "g_{i,l}", "h", "L"},
    "03": {"a_i", "h", r"\hat\theta(\epsilon)", r"\delta(s)", "K"},
    "04": {"a_i", "L", r"z_{i,l},\ \tilde z_{i,l}", "g_{i,l}", r"\delta(s)"},
    "05": {"h", r"\theta_l", "g_{i,l}"},
    "11": {r"z_{i,l},\ \tilde z_{i,l}", r"\delta(s)"},
    "13": {r"z_{i,l},\ \tilde z_{i,l}", "h"},
}


def explained_in(chapter: str) -> dict[str, str]:
    """What the box of a chapter says, from its formulas as they are written."""
    [file] = CHAPTERS.glob(f"{chapter}_*.ipynb")
    cells = [cell for cell in json.loads(file.read_text())["cells"] if cell["cell_type"] == "markdown"]
    text = re.sub(r"```python.*?```", "", "\n".join("".join(cell["source"]) for cell in cells), flags=re.DOTALL)
    formulas = [a or b for a, b in re.findall(r"\$\$(.+?)\$\$|\$([^$]+)\$", text, re.DOTALL)]
    symbols = read_symbols(NOTATION, f"chapters/{file.stem}")
    return {symbols[at].formula: symbols[at].meaning for at in symbols_in("\n".join(formulas), symbols)}


@pytest.mark.parametrize("chapter", OWN)
def test_a_letter_has_the_meaning_that_its_chapter_gives_it(chapter):
    said = explained_in(chapter)
    found = {
        start: [m for formula, m in said.items() if formula == start or formula.startswith(start)]
        for start in OWN[chapter]
    }
    assert {start: word for start, word in OWN[chapter].items() if not any(word in m for m in found[start])} == {}


@pytest.mark.parametrize("chapter", NOT_MEANT)
def test_no_letter_has_a_meaning_that_it_has_only_elsewhere(chapter):
    assert NOT_MEANT[chapter] & explained_in(chapter).keys() == set()


def test_letters_side_by_side_are_symbols_each():
    assert explained(r"N\alpha L") == {r"N,\ M", r"\alpha", "L"}


def test_two_symbols_are_not_worth_a_box():
    assert symbols_box(page(r"\alpha u_i"), NOTATION, "notation.html") == ""


def test_the_box_has_a_row_for_each_symbol_and_leads_to_all():
    box = symbols_box(page(r"u_i = \langle \nabla f_i(\theta), \nabla G(\theta) \rangle"), NOTATION, "../notation.html")
    assert box.count("<tr") == 1 + len(explained(r"u_i f_i(\theta) G(\theta)"))
    assert '<a href="../notation.html">' in box
    assert r"\(u_i\)" in box
    assert "<code" in box
    assert "$" not in box
    assert "`" not in box


def test_a_page_without_formulas_has_none():
    assert symbols_box(page(), NOTATION, "notation.html") == ""


def test_a_table_that_cannot_be_read_is_refused(tmp_path):
    broken = tmp_path / "notation.md"
    broken.write_text("| symbol | name |\n| --- | --- |\n| $x$ | `x` |\n")
    with pytest.raises(ValueError, match="needs 5 columns"):
        read_symbols(broken)
