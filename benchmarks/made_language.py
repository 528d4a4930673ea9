"""A made language with dialects: every sentence has a probability that is known, and sources of text help or mislead.

A noun belongs to one of three classes. Its ending says which, its adjective has the same ending, and the verb has that
of the subject. A dialect says which class each noun has, and on which side of its noun an adjective stands.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np

NOUNS = tuple(
    map("".join, product(("ba", "do", "fi", "ke", "lu", "mo", "ni", "pa"), ("ra", "si", "to", "va", "zu", "ko")))
)
OTHER_NOUNS = tuple(map("".join, product(("ga", "he", "ji", "so"), ("la", "mi", "no", "pe", "tu", "xo"))))
ADJECTIVES = ("red", "old", "big", "wet", "shy", "odd")
VERBS = ("sees", "likes", "follows", "hears", "calls", "finds")
ENDINGS = ("-a", "-o", "-u")
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
BRACKETS = ("(", ")", "[", "]")
START, STOP = "<", "."
WORDS = (START, STOP, *ENDINGS, *ADJECTIVES, *VERBS, *NUMBERS, *BRACKETS, *NOUNS, *OTHER_NOUNS)
CODES = {word: code for code, word in enumerate(WORDS)}
LONGEST = 12
"""Words of the longest sentence, its first and last sign included."""

Source = Callable[[np.random.Generator], list[str]]
"""Draws a sentence, from its first sign to its last."""


@dataclass(frozen=True)
class Dialect:
    """What the speakers of a dialect agree on. Half of the nouns have an adjective; all choices are uniform."""

    nouns: tuple[str, ...]
    classes: np.ndarray
    """(len(nouns),) 0, 1 or 2."""
    after: float
    """Probability that an adjective stands after its noun."""

    def sentence(self, random: np.random.Generator) -> list[str]:
        """Subject, verb and object."""
        subject, ending = self._noun(random)
        return [START, *subject, _one_of(VERBS, random), ending, *self._noun(random)[0], STOP]

    def _noun(self, random: np.random.Generator) -> tuple[list[str], str]:
        chosen = random.integers(len(self.nouns))
        ending = ENDINGS[self.classes[chosen]]
        noun = [self.nouns[chosen], ending]
        if random.random() < 0.5:
            return noun, ending
        adjective = [_one_of(ADJECTIVES, random), ending]
        return ([*noun, *adjective] if random.random() < self.after else [*adjective, *noun]), ending

    def surprise(self, sentence: list[str]) -> float:
        """Nats of one of its sentences, of a dialect whose adjectives all stand on the same side."""
        adjectives = sum(word in ADJECTIVES for word in sentence)
        return 2 * np.log(2 * len(self.nouns)) + np.log(len(VERBS)) + adjectives * np.log(len(ADJECTIVES))


def _one_of(words: tuple[str, ...], random: np.random.Generator) -> str:
    return words[random.integers(len(words))]


def _classes(nouns: tuple[str, ...], random: np.random.Generator) -> np.ndarray:
    return random.integers(len(ENDINGS), size=len(nouns))


def target_dialect(random: np.random.Generator) -> Dialect:
    """A dialect with classes drawn at random, adjectives after their nouns."""
    return Dialect(NOUNS, _classes(NOUNS, random), after=1)


def neighbour(dialect: Dialect) -> Source:
    """The dialect in which every noun has another class, and adjectives stand on the other side."""
    return Dialect(dialect.nouns, (dialect.classes + 1) % len(ENDINGS), after=1 - dialect.after).sentence


def careless(dialect: Dialect) -> Source:
    """Sentences of the dialect with every ending drawn at random."""

    def sentence(random: np.random.Generator) -> list[str]:
        return [_one_of(ENDINGS, random) if word in ENDINGS else word for word in dialect.sentence(random)]

    return sentence


def shuffled(dialect: Dialect) -> Source:
    """Sentences of the dialect with their words in random order."""

    def sentence(random: np.random.Generator) -> list[str]:
        first, *words, last = dialect.sentence(random)
        return [first, *(words[k] for k in random.permutation(len(words))), last]

    return sentence


def any_dialect(nouns: tuple[str, ...]) -> Source:
    """Each sentence in a dialect of its own."""

    def sentence(random: np.random.Generator) -> list[str]:
        return Dialect(nouns, _classes(nouns, random), after=0.5).sentence(random)

    return sentence


def counting(random: np.random.Generator) -> list[str]:
    """Numbers in their order, from any of them, the first after the last."""
    first, length = random.integers(len(NUMBERS)), random.integers(4, LONGEST - 1)
    return [START, *(NUMBERS[(first + step) % len(NUMBERS)] for step in range(length)), STOP]


def nested(random: np.random.Generator) -> list[str]:
    """Brackets that close in the right order."""
    words, waiting = [START], list[str]()
    for _ in range(random.integers(4, LONGEST - 1)):
        full = len(words) + len(waiting) >= LONGEST - 1
        if waiting and (full or random.random() < 0.5):
            words.append(waiting.pop())
        elif not full:
            kind = 2 * random.integers(len(BRACKETS) // 2)
            words.append(BRACKETS[kind])
            waiting.append(BRACKETS[kind + 1])
    return [*words, *reversed(waiting), STOP]


def general(random: np.random.Generator) -> list[str]:
    """A corpus with all of the words and none of the target's classes: half of it sentences of any dialect."""
    kinds = (any_dialect(NOUNS), any_dialect(OTHER_NOUNS), counting, nested)
    return kinds[random.choice(len(kinds), p=(0.5, 0.2, 0.15, 0.15))](random)


OTHERS: dict[str, dict[str, Callable[[Dialect], Source]]] = {
    "misleading": {"other dialect": neighbour, "random endings": careless, "shuffled words": shuffled},
    "useless": {
        "other nouns": lambda _: any_dialect(OTHER_NOUNS),
        "numbers": lambda _: counting,
        "brackets": lambda _: nested,
    },
}
"""Setting -> the sources beside the target's own, made from its dialect."""
