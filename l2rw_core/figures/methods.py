"""What a method is called and looks like, in every figure and table: one name, colour, marker and dash each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from l2rw_core.datasets import title_of
from l2rw_core.figures.style import COLOURS


@dataclass(frozen=True)
class Named:
    """A method for a reader."""

    title: str
    """In figures and tables."""
    reference: str | None
    """Key in the book's bibliography; None for plain training and for controls of our own, which nobody published."""


METHODS = {
    "baseline": Named("plain training", None),
    "l2rw": Named("L2RW", "ren2018learning"),
    "clean-only": Named("clean set alone", None),
    "random": Named("random weights", "ren2018learning"),
    "proportion": Named("class weights", "ren2018learning"),
    "inverse-frequency": Named("class weights, not normalised", None),
    "resample": Named("class-balanced batches", "ren2018learning"),
    "smote": Named("SMOTE", "chawla2002smote"),
    "hard-mining": Named("hard mining", "malisiewicz2011ensemble"),
    "focal": Named("focal loss", "lin2017focal"),
    "self-paced": Named("self-paced", "kumar2010self"),
    "active-bias": Named("active bias", "chang2017active"),
    "mentornet": Named("MentorNet", "jiang2018mentornet"),
    "reed-soft": Named("Reed, soft", "reed2015training"),
    "reed-hard": Named("Reed, hard", "reed2015training"),
    "s-model": Named("S-model", "goldberger2017training"),
    "gce": Named("generalised cross-entropy", "zhang2018generalized"),
    "sce": Named("symmetric cross-entropy", "wang2019symmetric"),
    "label-smoothing": Named("label smoothing", "szegedy2016rethinking"),
    "elr": Named("ELR", "liu2020early"),
    "co-teaching": Named("co-teaching", "han2018co"),
    "logit-adjustment": Named("logit adjustment", "menon2021long"),
    "ldam-drw": Named("LDAM-DRW", "cao2019learning"),
    "clean-mixed": Named("clean images in every batch", None),
    "clean-stopped": Named("stopped by the clean set", None),
    "weighted": Named("weighted (oracle)", None),
    "meta-weight-net": Named("Meta-Weight-Net", "shu2019meta"),
    "meta-weight-net-normalised": Named("Meta-Weight-Net, normalised", "shu2019meta"),
    "momentum-ahead": Named("L2RW through momentum", None),
    "adam-ahead": Named("L2RW through AdamW", None),
    "l2rw-unskipped": Named("L2RW, no step skipped", None),
}
"""Method, as rows are named -> what a reader is told of it."""
TITLES = {name: method.title for name, method in METHODS.items()}
"""Method, as rows are named -> its name for a reader."""
STAGES = {"es": "early stop", "ft": "fine-tuning", "conf": "confusions", "held-out": "held out"}
"""Stage of a row -> its name for a reader."""


@dataclass(frozen=True)
class Look:
    """How a row is drawn."""

    role: str
    """Whose colour it has, a key of `COLOURS`."""
    marker: str
    dash: Any
    """A line style of matplotlib."""

    @property
    def colour(self) -> str:
        """Of line, marker and bar."""
        return COLOURS[self.role]


LOOKS = {
    "l2rw": Look("l2rw", "o", "-"),
    "baseline": Look("baseline", "s", (0, (5, 2))),
    "baseline+ft": Look("clean", "^", (0, (1, 1.5))),
    "baseline+es": Look("noisy", "X", (0, (5, 1.5, 1, 1.5))),
    "random": Look("neutral", "P", (0, (2, 2))),
    "proportion": Look("majority", "v", (0, (3, 1.5, 1, 1.5, 1, 1.5))),
    "resample": Look("minority", "D", (0, (8, 2))),
    "clean-only": Look("clean", "*", (0, (6, 1, 2, 1))),
    "hard-mining": Look("noisy", "<", (0, (1, 3))),
    "smote": Look("majority", ">", (0, (9, 3, 3, 3))),
    "focal": Look("minority", "p", (0, (4, 4))),
    "self-paced": Look("neutral", "h", (0, (10, 2, 1, 2))),
    "active-bias": Look("clean", "d", (0, (3, 1))),
    "mentornet": Look("majority", "8", (0, (7, 4))),
    "meta-weight-net": Look("minority", "H", (0, (2, 1, 2, 3))),
    "weighted": Look("neutral", "|", (0, (12, 2))),
}
"""Row -> its look. No two have a marker or a dash in common, so that they differ in grey as well."""


def title_of_row(row: str) -> str:
    """What a reader calls a row: ``baseline+ft, 20 clean`` is "plain training + fine-tuning, 20 clean".

    Other text comes back as it is.
    """
    name, comma, addition = row.partition(", ")
    method, *stages = name.split("+")
    if (key := method.replace("_", "-")) not in TITLES or not set(stages) <= STAGES.keys():
        return row
    return " + ".join([TITLES[key], *(STAGES[stage] for stage in stages)]) + comma + addition


def titled(text: str) -> str:
    """The text of a table's cell in a reader's words: the names of rows and of data sets that it consists of.

    ``fashion_mnist, baseline`` is "Fashion-MNIST, plain training"; other text comes back as it is.
    """
    if (title := title_of_row(text)) != text:
        return title
    return ", ".join(title_of(title_of_row(part)) for part in text.split(", "))


def is_row(name: str) -> bool:
    """Whether this is the name of a row as the tables of experiments have it, without an addition."""
    method, *stages = name.split("+")
    return method in TITLES and set(stages) <= STAGES.keys()


def look_of(row: str) -> Look | None:
    """The look of a row, None for one that has none of its own."""
    return LOOKS.get(row.replace("_", "-"))
