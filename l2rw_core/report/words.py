"""Prose that is made from results: the box that opens a chapter, a paragraph, and how the paper's claims fared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from l2rw_core.experiments import Recorded, load_records
from l2rw_core.figures.kernel import with_look
from l2rw_core.figures.numbers import Opening
from l2rw_core.numerals import typeset
from l2rw_core.report.claims import AGREES, CLAIMS, DISAGREES, NOT_RUN, VERDICTS, Evidence

Text = str | Sequence[str | Opening]
"""Words, or words and numbers that open their records."""


@dataclass(frozen=True)
class Paragraph:
    """Sentences whose numbers come from records, or from the frames of a slider. A blank line begins another one."""

    text: Text

    @property
    def html(self) -> str:
        """A `<p class="l2rw-told">` each."""
        return "".join(f'<p class="l2rw-told">{one}</p>' for one in _html(self.text).split("\n\n"))

    def _repr_html_(self) -> str:
        return with_look(self.html)

    def __repr__(self) -> str:
        return _plain(self.text)


@dataclass(frozen=True)
class InShort:
    """The box at the top of a chapter. Its numbers come from the records, or from the chapter's own claims."""

    paper: Text
    here: Text
    scale: Text
    believe: Text

    @property
    def html(self) -> str:
        """One admonition with four named lines."""
        lines = "".join(f"<dt>{heading}</dt><dd>{_html(text)}</dd>" for heading, text in self._lines)
        title = '<p class="admonition-title">In short</p>'
        return f'<div class="admonition l2rw-in-short">{title}<dl>{lines}</dl></div>'

    def _repr_html_(self) -> str:
        return with_look(self.html)

    def __repr__(self) -> str:
        return "\n".join(f"{heading}: {_plain(text)}" for heading, text in self._lines)

    @property
    def _lines(self) -> tuple[tuple[str, Text], ...]:
        return ("The paper", self.paper), ("Here", self.here), ("Scale", self.scale), ("Believe it?", self.believe)


def _parts(text: Text) -> Sequence[str | Opening]:
    return (text,) if isinstance(text, str) else text


def _html(text: Text) -> str:
    return "".join(escape(typeset(part)) if isinstance(part, str) else part.html for part in _parts(text))


def _plain(text: Text) -> str:
    return typeset("".join(map(str, _parts(text))))


def apart(points: float) -> str:
    """By how many whole points something is above or below what the words go on with: ``3 points above``."""
    size = f"{abs(points):.0f}"
    if size == "0":
        return "within a point of"
    return f"{size} point{'' if size == '1' else 's'} {'above' if points > 0 else 'below'}"


def standing(*where: str) -> str:
    """How the paper's sentences about some of its tables and figures fared, as a sentence.

    Args:
        where: as the claims name them, for example ``Figure 2``.

    Raises:
        ValueError: no claim is about any of them.
    """
    claims = [claim for claim in CLAIMS if claim.where in where]
    if not claims:
        raise ValueError(f"no claim is about {' or '.join(where)}; choose of {', '.join({c.where: 0 for c in CLAIMS})}")
    recorded = Recorded(load_records())
    looks = [(claim, setting) for claim in claims for setting in claim.settings]
    counts = Counter(
        finding.verdict if (finding := claim.finding(Evidence(*setting, recorded))) else NOT_RUN
        for claim, setting in looks
    )
    checks = "1 check" if len(looks) == 1 else f"{len(looks)} checks"
    each = "one for each claim, data set and scale"
    named = [one for one in where if not one.startswith(tuple(f"{other}, " for other in where))]
    return f"{checks} of what the paper says of {' and '.join(named)}, {each}: {counted(counts)}."


def counted(counts: Mapping[str, int]) -> str:
    """How often each verdict was reached, in words; those that never were are left out."""
    return ", ".join(f"{count} {_verb(verdict, count)}" for verdict in VERDICTS if (count := counts.get(verdict, 0)))


def _verb(verdict: str, count: int) -> str:
    return verdict.removesuffix("s") if count > 1 and verdict in (AGREES, DISAGREES) else verdict
