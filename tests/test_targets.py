"""What the heads learn: labels of texts and clauses as indicator arrays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from druppel.corpus import GoldAspect, LabelledText
from druppel.model import LabelSpace
from druppel.result import SENTIMENTS
from druppel.segment import Segment, Segmenter
from druppel.targets import (
    UNKNOWN_SENTIMENT,
    LabelledRows,
    aspect_columns,
    bears,
    clause_labels,
    cut_texts,
    text_labels,
)

SEGMENTER = Segmenter()
FIRST, SECOND = "De soep was heerlijk,", "maar wij stonden een uur in de rij."
BOTH = f"{FIRST} {SECOND}"


@pytest.fixture(scope="module")
def space(tiny_taxonomy) -> LabelSpace:
    return LabelSpace.of(tiny_taxonomy)


def told(text: str, *labels: str, sentiment: str | None = "gemengd", **more) -> LabelledText:
    """Text with labels such as ``eten:neg``, ``eten:neg:evidence`` and ``weg``."""
    parts = [label.split(":") for label in labels]
    return LabelledText(
        id=text,
        text=text,
        aspects=tuple(GoldAspect(*part) for part in parts if len(part) > 1),
        sentiment=sentiment,
        signals=tuple(part[0] for part in parts if len(part) == 1),
        question=more.get("question"),
        score=more.get("score"),
        author=None,
        where="a:1",
    )


def names(row: np.ndarray, space: LabelSpace) -> set[str]:
    return {space.names[i] for i in np.flatnonzero(row)}


FOOD = {"leaf:eten:pos", "category:smaak:pos"}
QUEUE = {"leaf:in_de_rij:neg", "category:wachten:neg"}


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([], set()),
        (["eten:pos"], FOOD),
        (["in_de_rij:neg", "eten:pos"], FOOD | QUEUE),
        (["in_de_rij:neg", "op_antwoord:neg"], QUEUE | {"leaf:op_antwoord:neg"}),
        (["eten:pos", "eten:neg"], FOOD | {"leaf:eten:neg", "category:smaak:neg"}),
        (["weg"], {"signal:weg"}),
        (["weg", "eten:pos:soep"], FOOD | {"signal:weg"}),
    ],
)
def test_labels_of_a_text(labels, expected, space):
    other = told("ander", "op_antwoord:neu")
    [_, row] = text_labels([other, told(BOTH, *labels)], space)
    assert names(row, space) == expected


@pytest.mark.parametrize(
    ("labels", "first", "second"),
    [
        ([f"eten:pos:{FIRST}"], FOOD, set()),
        (["eten:pos:soep was heerlijk"], FOOD, set()),
        (["eten:pos:soep"], FOOD, set()),  # little of the clause, but all of the evidence
        (["eten:pos:heerlijk", "in_de_rij:neg:een uur in de rij"], FOOD, QUEUE),
        ([f"eten:pos:{BOTH}"], FOOD, FOOD),
        (["eten:pos"], FOOD, FOOD),  # nobody said where
        (["eten:pos:heerlijk, maar"], FOOD, set()),  # a bit of the next
        (["eten:pos:heerlijk, maar wij stonden een uur in de rij"], set(), FOOD),
        (["weg"], set(), set()),
    ],
)
def test_labels_of_clauses(labels, first, second, space):
    # With texts before and after of one clause, of several, and of none.
    texts = [told(" "), told(BOTH), told(BOTH, *labels), told(""), told("Soep.", "eten:neu:Soep")]
    batch = cut_texts(texts, SEGMENTER)
    assert [len(cut) for cut in batch.segments] == [0, 2, 2, 0, 1]
    rows = clause_labels(texts, batch, space)
    assert rows.shape == (5, space.slices["signal"].start)
    found = [names(row, space) for row in rows]
    assert found == [set(), set(), first, second, {"leaf:eten:neu", "category:smaak:neu"}]


def test_columns_of_an_aspect(space):
    columns = aspect_columns("in_de_rij", "pos", space)
    assert [space.names[i] for i in columns] == ["leaf:in_de_rij:pos", "category:wachten:pos"]


@given(
    words=st.lists(
        st.sampled_from(["maar", "soep", "rij", "lang.", "en", "fijn,", "nu!"]), min_size=1
    ),
    first=st.integers(0, 20),
    n=st.integers(1, 20),
)
def test_some_clause_bears_whatever_words_are_quoted(words, first, n):
    text = " ".join(words)
    first %= len(words)
    start = len("".join(f"{word} " for word in words[:first]))
    end = start + len(" ".join(words[first : first + n]))
    cut = SEGMENTER.split(text)
    assert any(bears(segment, start, end) for segment in cut)
    for segment in cut:
        assert bears(segment, segment.start, segment.end)
        assert bears(segment, 0, len(text))
        assert not bears(segment, 0, segment.start)
        assert not bears(segment, segment.end, len(text))


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (10, 20, True),
        (10, 15, True),
        (10, 14, True),
        (0, 14, False),
        (4, 14, True),
        (20, 30, False),
    ],
)
def test_how_much_must_be_shared(start, end, expected):
    """Half of the clause, or four tenths of the evidence."""
    assert bears(Segment("x" * 10, 10, 20), start, end) is expected


def test_rows_and_a_part_of_them(space):
    texts = [
        told(BOTH, "eten:pos:soep", "in_de_rij:neg:een uur", question="En?", score=3.0),
        told(" ", sentiment=None),
        told("Koud brood", "eten:neg", "weg", sentiment="negatief", question="Wat?", score=7.0),
        told(f"{BOTH} Tot ziens allemaal.", sentiment="neutraal"),
    ]
    rows = LabelledRows.of(texts, space, SEGMENTER)
    assert rows.sentiments.tolist() == [
        SENTIMENTS.index("gemengd"),
        UNKNOWN_SENTIMENT,
        SENTIMENTS.index("negatief"),
        SENTIMENTS.index("neutraal"),
    ]
    assert UNKNOWN_SENTIMENT not in range(len(SENTIMENTS))
    assert rows.first_clause.tolist() == [0, 2, 2, 3, 6]
    assert rows.clauses_of(np.array([3, 0])).tolist() == [3, 4, 5, 0, 1]
    assert rows.clauses_of(np.array([], dtype=int)).tolist() == []
    for chosen in ([], [2], [3, 1, 0], [0, 1, 2, 3]):
        part = rows.subset(np.array(chosen, dtype=int))
        anew = [texts[i] for i in chosen]
        np.testing.assert_array_equal(part.text_labels, text_labels(anew, space))
        np.testing.assert_array_equal(
            part.clause_labels, clause_labels(anew, cut_texts(anew, SEGMENTER), space)
        )
        assert part.batch == cut_texts(anew, SEGMENTER)
        assert part.sentiments.tolist() == [rows.sentiments[i] for i in chosen]
