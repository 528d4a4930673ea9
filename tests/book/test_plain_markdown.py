"""From MyST to plain Markdown, piece by piece; what is not known is refused."""

from __future__ import annotations

import pytest
from plain_markdown import Book, Label, NotPlain, Page, Reader, Work, directives, headings, numbered

READER = Reader(["amsmath", "attrs_block", "attrs_inline", "colon_fence", "deflist", "dollarmath", "substitution"])
BOOK = Book(
    address="https://a.org/b",
    titles={"chapters/01_one": "One", "chapters/02_two": "Two", "reference/faq": "Questions"},
    numbers={"chapters/01_one": 1, "chapters/02_two": 2},
    labels={"ex-1-1": Label("chapters/01_one", "Exercise 1.1"), "thm": Label("chapters/02_two", "Theorem 2.1")},
    works={"x": Work("Young and Zhu", "2001"), "y": Work("Adam *et al.*", "2002")},
)


def plain(text: str, page: Page | None = None) -> str:
    return (page or Page("chapters/01_one", BOOK, READER)).plain(text, "some-cell")


@pytest.mark.parametrize(
    "text",
    [
        "# Title\n\nText with `code`, $a < b$ and *marks*.\n\n\n- one\n- two\n",
        "| a | b |\n| :-- | --: |\n| $|x|$ | `{doc}` |",
        "```python\nx = {'a': 1}\n```\n\n$$\na = b \\tag{1}\n$$\nafter",
        '<img src="https://a.org/x.png">\n\n[there](https://a.org) and ``{doc}`x` `` as code',
    ],
)
def test_what_is_plain_stays_as_it_is(text: str) -> None:
    assert plain(text) == text.rstrip("\n")


def test_a_box_is_a_quotation_with_its_title() -> None:
    """Set apart by empty lines: else Markdown would draw what follows into it."""
    text = "before\n:::{admonition} The question\n:class: tip\nWhat, {doc}`02_two`?\n\n$$\na\n= b\n$$\n:::\nafter"
    assert plain(text).splitlines() == [
        "before",
        "",
        "> **The question**",
        ">",
        "> What, [chapter 2](https://a.org/b/chapters/02_two.html) (Two)?",
        ">",
        "> $$ a = b $$",
        "",
        "after",
    ]


def test_an_exercise_is_a_heading_and_its_solution_a_fold() -> None:
    exercise = "```{exercise} Try\n:label: ex-1-1\nDo $x$.\n```"
    solution = "````{solution} ex-1-1\n:class: dropdown\n```python\n1\n```\nSo.\n````"
    assert plain(f"{exercise}\n\n{solution}") == (
        "### Exercise 1.1 (Try)\n\nDo $x$.\n\n"
        "<details>\n<summary>Solution</summary>\n\n```python\n1\n```\nSo.\n\n</details>"
    )


def test_a_statement_has_its_number_and_a_proof_its_end() -> None:
    text = "```{prf:theorem} Rate\n:label: thm\n\nIt falls.\n```\n\n```{prf:proof}\nClear.\n```"
    assert plain(text) == "> **Theorem 2.1 (Rate)**\n>\n> It falls.\n\n**Proof**\n\nClear.\n\n∎"


def test_the_label_of_a_heading_is_an_anchor_of_the_page_and_left_out() -> None:
    text = "before\n\n(thm)=\n## A *heading*\n\nafter"
    assert plain(text) == "before\n\n## A *heading*\n\nafter"
    assert dict(headings(READER, text, "p")) == {"thm": Label("p", "A *heading*")}
    assert dict(headings(READER, "(thm)=\n\ntext", "p")) == {}


def test_a_grid_is_a_list() -> None:
    card = ":::{grid-item-card} To build\nWith {doc}`02_two`.\n```python\nx\n```\n:::"
    button = ":::{grid-item}\n```{button-ref} 02_two\n:ref-type: doc\n:expand:\nStart\n```\n:::"
    assert plain(f"::::{{grid}} 1 2\n:gutter: 2\n\n{button}\n\n{card}\n::::") == (
        "- [Start](https://a.org/b/chapters/02_two.html)\n"
        "- **To build.** With [chapter 2](https://a.org/b/chapters/02_two.html) (Two).\n  ```python\n  x\n  ```"
    )


@pytest.mark.parametrize(
    ("role", "link"),
    [
        ("{doc}`../reference/faq`", "[Questions](https://a.org/b/reference/faq.html)"),
        ("{doc}`as said\nthere <02_two>`", "[as said there](https://a.org/b/chapters/02_two.html)"),
        ("{ref}`ex-1-1`", "[Exercise 1.1](https://a.org/b/chapters/01_one.html#ex-1-1)"),
        ("{ref}`below <ex-1-1>`", "[below](https://a.org/b/chapters/01_one.html#ex-1-1)"),
        ("{prf:ref}`thm`", "[Theorem 2.1](https://a.org/b/chapters/02_two.html#thm)"),
        (
            "{cite:p}`x,y`",
            "[[Adam *et al.*, 2002](https://a.org/b/reference/references.html), "
            "[Young and Zhu, 2001](https://a.org/b/reference/references.html)]",
        ),
        ("{cite:t}`y`", "Adam *et al.* [[2002](https://a.org/b/reference/references.html)]"),
    ],
)
def test_a_role_is_a_link(role: str, link: str) -> None:
    assert plain(f"See {role}, `{{doc}}` and **{role}**.") == f"See {link}, `{{doc}}` and **{link}**."


def test_a_chapter_is_named_by_its_title_once() -> None:
    page = Page("chapters/01_one", BOOK, READER)
    link = "[{} 2](https://a.org/b/chapters/02_two.html)".format
    assert plain("See ({doc}`02_two`).", page) == f"See ({link('chapter')})."
    page = Page("chapters/01_one", BOOK, READER)
    assert (
        plain("- {doc}`02_two` has it. {doc}`02_two` too.", page)
        == f"- {link('Chapter')} (Two) has it. {link('Chapter')} too."
    )
    assert plain("| a |\n|--|\n| {doc}`02_two` |", page).endswith(f"| {link('Chapter')} |")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (":::{tip}\nx\n:::", r"the directive \{tip\} is unknown"),
        ("```{code-cell}\nx\n```", r"the directive \{code-cell\} is unknown"),
        (":::{admonition} A\n```{figure} x.png\n```\n:::", r"the directive \{figure\} is unknown"),
        ("- x\n\n  ```{exercise} A\n  :label: ex-1-1\n  ```", r"\{exercise\} stands inside of a list"),
        ("```{exercise} New\n```", r"the \{exercise\} \(New\) has no label"),
        ("::::{grid} 2\ntext\n::::", "a grid has something beside its items"),
        ("{math}`x`", r"the role \{math\} is unknown"),
        ("{doc}`03_three`", "the book has no page 03_three"),
        ("{ref}`ex-9-9`", "no exercise, statement or heading has the label ex-9-9"),
        ("{cite:p}`x,z`", "the bibliography has no z"),
        ("(here)=\ntext", r"the label \(here\)= stands before no heading"),
        ("$$ x $$ (label)", "a math_block_label is unknown"),
        ("by {{ version }}", "a substitution_inline is unknown"),
        ("% a note", "a myst_line_comment is unknown"),
        ("{.wide}\ntext", r"'\{.wide\}' is neither text nor a directive"),
        ("term\n: meaning", "a dl is unknown"),
        ("[a](../reference/faq.md)", "the link to ../reference/faq.md leads nowhere outside of the book"),
        ("![a](x.png)", "the link to x.png leads nowhere outside of the book"),
    ],
)
def test_what_is_not_known_is_refused_by_name_and_place(text: str, what: str) -> None:
    with pytest.raises(NotPlain, match=rf"^chapters/01_one, cell some-cell: .*{what}.*tools/plain_markdown.py"):
        plain(text)


def test_exercises_and_statements_are_counted_kind_by_kind() -> None:
    boxes = [("exercise", "a"), ("prf:lemma", "b"), ("exercise", "c"), ("prf:theorem", "d"), ("prf:proof", "")]
    text = "\n\n".join(f"```{{{name}}} T\n:label: {label}\nx\n```" for name, label in boxes)
    assert {label: place.text for label, place in numbered(directives(READER, text), "p", 3)} == {
        "a": "Exercise 3.1",
        "b": "Lemma 3.1",
        "c": "Exercise 3.2",
        "d": "Theorem 3.1",
    }
    assert {place.text for _, place in numbered(directives(READER, text), "p", None)} >= {"Exercise 2", "Lemma 1"}
