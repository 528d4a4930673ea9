"""Sentences have the probabilities that they are said to have, and sources differ from the target as is said."""

from itertools import pairwise, product
from math import exp, isclose

import numpy as np
import pytest

from benchmarks.made_language import (
    ADJECTIVES,
    ENDINGS,
    LONGEST,
    NOUNS,
    NUMBERS,
    OTHER_NOUNS,
    OTHERS,
    START,
    STOP,
    VERBS,
    WORDS,
    Dialect,
    general,
    target_dialect,
)

DIALECT = target_dialect(np.random.default_rng(0))
SOURCES = {name: make(DIALECT) for setting in OTHERS.values() for name, make in setting.items()}
CLASS_OF = dict(zip(NOUNS, (ENDINGS[k] for k in DIALECT.classes), strict=True))


def sentences(source, n=300):
    random = np.random.default_rng(1)
    return [source(random) for _ in range(n)]


def endings(sentence):
    """Each noun with the ending that follows it."""
    return [(a, b) for a, b in pairwise(sentence) if a in NOUNS and b in ENDINGS]


def test_a_word_has_one_code():
    assert len(set(WORDS)) == len(WORDS)


@pytest.mark.parametrize("name", ["target", "general", *SOURCES])
def test_a_sentence_begins_ends_and_has_room(name):
    source = {"target": DIALECT.sentence, "general": general, **SOURCES}[name]
    for sentence in sentences(source):
        assert (sentence[0], sentence[-1]) == (START, STOP)
        assert START not in sentence[1:]
        assert STOP not in sentence[:-1]
        assert len(sentence) <= LONGEST
        assert set(sentence) <= set(WORDS)


def test_the_probabilities_of_all_sentences_sum_to_one():
    small = Dialect(("bara", "bato"), np.array([0, 2]), after=1)
    phrases = [
        ([noun, ending, *more], ending)
        for noun, ending in (("bara", "-a"), ("bato", "-u"))
        for more in ([], *([adjective, ending] for adjective in ADJECTIVES))
    ]
    every = [
        [START, *subject, verb, ending, *object_, STOP]
        for (subject, ending), verb, (object_, _) in product(phrases, VERBS, phrases)
    ]
    assert isclose(sum(exp(-small.surprise(sentence)) for sentence in every), 1)
    assert all(sentence in every for sentence in sentences(small.sentence, 50))


def test_the_target_and_no_other_dialect_has_its_endings():
    assert all(CLASS_OF[noun] == ending for s in sentences(DIALECT.sentence) for noun, ending in endings(s))
    assert all(CLASS_OF[noun] != ending for s in sentences(SOURCES["other dialect"]) for noun, ending in endings(s))
    right = [CLASS_OF[noun] == ending for s in sentences(SOURCES["random endings"]) for noun, ending in endings(s)]
    assert 0.25 < np.mean(right) < 0.42


def test_useless_sources_have_none_of_the_targets_nouns():
    for name in OTHERS["useless"]:
        assert not any(set(sentence) & set(NOUNS) for sentence in sentences(SOURCES[name]))
    assert any(set(sentence) & set(OTHER_NOUNS) for sentence in sentences(SOURCES["other nouns"]))


def test_brackets_close_and_numbers_follow_each_other():
    for sentence in sentences(SOURCES["brackets"]):
        text = "".join(sentence[1:-1])
        while "()" in text or "[]" in text:
            text = text.replace("()", "").replace("[]", "")
        assert text == ""
    for sentence in sentences(SOURCES["numbers"]):
        places = [NUMBERS.index(word) for word in sentence[1:-1]]
        assert all((b - a) % len(NUMBERS) == 1 for a, b in pairwise(places))
