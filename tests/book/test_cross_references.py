"""Chapters, equations and terms that a page mentions become links, and nothing else does."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from cross_references import equation_spans, first_uses, link_up, name_chapters, open_texts, tagged_equations
from docutils import nodes
from docutils.utils import new_document


def page(*children: nodes.Node) -> nodes.document:
    document = new_document("page")
    document.extend(children)
    return document


def paragraph(*children: nodes.Node | str) -> nodes.paragraph:
    made = nodes.paragraph()
    made.extend(nodes.Text(child) if isinstance(child, str) else child for child in children)
    return made


def link_to(document: str, text: str) -> nodes.reference:
    link = nodes.reference("", "", internal=True, refuri=f"{document}.html")
    link.append(nodes.inline("", text, classes=["doc"]))
    return link


TITLES = {
    "chapters/02_method": "From a nested loop",
    "chapters/05_convergence": "Does it converge?",
    "reference/faq": "FAQ",
}
BOOK = SimpleNamespace(
    found_docs=set(TITLES),
    titles={name: nodes.title("", title) for name, title in TITLES.items()},
    toc_secnumbers={"chapters/02_method": {"": (2,)}, "chapters/05_convergence": {"": (5,)}},
)


def test_a_chapter_is_named_by_its_number_and_the_first_time_by_its_title() -> None:
    twice = page(
        paragraph(link_to("05_convergence", "Does it converge?"), " repairs it."),
        paragraph("As ", link_to("05_convergence", "Does it converge?"), " says."),
    )
    name_chapters(BOOK, twice, "chapters/02_method")
    assert [line.astext() for line in twice] == ["Chapter 5 (Does it converge?) repairs it.", "As chapter 5 says."]


def test_a_chapter_in_brackets_brings_no_brackets_of_its_own() -> None:
    one = page(paragraph("It is proved (", link_to("05_convergence", "Does it converge?"), ")."))
    name_chapters(BOOK, one, "chapters/02_method")
    assert one.astext() == "It is proved (chapter 5)."


def test_the_words_of_an_author_and_pages_without_a_number_stay() -> None:
    one = page(paragraph(link_to("05_convergence", "the proof"), " and ", link_to("../reference/faq", "FAQ")))
    name_chapters(BOOK, one, "chapters/02_method")
    assert one.astext() == "the proof and FAQ"


def test_only_equations_that_the_book_sets_are_mentions() -> None:
    places, addresses = {7: "chapters/02_method"}, {"chapters/02_method": "02_method.html"}
    found = list(equation_spans("By (7) and (8), f(7) in 2018 (77).", places, addresses))
    assert [(span.start, span.address) for span in found] == [(3, "02_method.html#equation-7")]


def test_tags_are_found_in_notebooks_and_in_markdown(tmp_path) -> None:
    (tmp_path / "one.ipynb").write_text(r'{"source": ["u = v \\tag{7}\n"]}')
    (tmp_path / "two.md").write_text("$$ x \\tag{12} $$")
    assert tagged_equations(tmp_path, ["one", "two", "three"]) == {7: "one", 12: "two"}


@pytest.mark.parametrize(
    ("text", "term", "words"),
    [
        ("Two clean sets, one clean set.", "clean set", "clean sets"),
        ("The weights sum to 1.", "weight", "weights"),
        ("Alignment matters.", "alignment", "Alignment"),
        ("fine tuning helps", "fine-tuning", "fine tuning"),
    ],
)
def test_a_term_is_found_in_its_forms(text: str, term: str, words: str) -> None:
    [(at, start, end, found)] = first_uses([text], [term])
    assert (at, found, text[start:end]) == (0, term, words)


def test_a_term_is_linked_once_and_never_inside_of_a_word_or_a_longer_term() -> None:
    texts = ["A reweighted, weight-free clean loss.", "The weight, the weight."]
    found = first_uses(texts, ["weight", "clean loss", "loss"])
    assert [(at, term) for at, _, _, term in found] == [(0, "clean loss"), (1, "weight")]


def test_code_headings_formulas_and_links_are_left_alone() -> None:
    title = nodes.title("", "About (7)")
    inner = [nodes.literal("", "f(7)"), nodes.math("", "(7)"), link_to("05_convergence", "(7)")]
    document = page(title, paragraph("see (7): ", *inner), nodes.literal_block("", "(7)"))
    assert [text.astext() for text in open_texts(document)] == ["see (7): "]


def test_a_linked_text_says_what_it_said() -> None:
    document = page(paragraph("By (7), and (7) again."))
    [text] = open_texts(document)
    link_up(text, equation_spans(text.astext(), {7: "a"}, {"a": "a.html"}))
    assert document.astext() == "By (7), and (7) again."
    assert [link["refuri"] for link in document.findall(nodes.reference)] == ["a.html#equation-7"] * 2
