"""The drawing of a step says what each pass takes, does and gives, in the order in which they are made."""

import re

from l2rw_core.figures.passes import PASSES, three_passes


def test_three_passes_stand_in_their_order_in_picture_and_words():
    drawing = three_passes()
    heights = {text: float(y) for y, text in re.findall(r'<text [^>]*y="([\d.]+)"[^>]*>([^<]*)</text>', drawing.svg)}
    wanted = [words for does, out, _ in PASSES for words in (does, out)]
    assert sorted(heights, key=heights.get) == wanted
    assert all(words in drawing.alt for words in wanted)
    assert len({role for *_, role in PASSES}) == 3
