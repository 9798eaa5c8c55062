"""Retraining: what is learnt from decisions, and what stays as it was."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from tests.conftest import TINY_TAXONOMY, tiny_rows
from threadpoolctl import threadpool_limits

from druppel.corpus import GoldAspect, LabelledText
from druppel.encoder import Encoder
from druppel.errors import ConfigError
from druppel.features import Batch
from druppel.labeler import Labeler
from druppel.model import MODES, LabelSpace, Model
from druppel.result import POLARITIES, SENTIMENTS
from druppel.retraining import (
    Origins,
    OutOfFold,
    Settings,
    carry_over,
    extend,
    out_of_fold,
    sample_texts,
)
from druppel.segment import Segmenter
from druppel.store import load_model, rounded, save_model
from druppel.taxonomy import Taxonomy

NAMES = {"name": "eigen", "version": "1"}
SEGMENTER = Segmenter()

_ENTRY = """
[[{kind}]]
slug = "{slug}"
{parent}name_nl = "{slug}"
name_en = "{slug}"
definition = "{slug}"
counter_definition = ""
examples = []
seeds = []
"""


def entry(slug: str, parent: str | None = None, kind: str = "label") -> str:
    return _ENTRY.format(kind=kind, slug=slug, parent=f'parent = "{parent}"\n' if parent else "")


def without(slug: str, source: str = TINY_TAXONOMY) -> str:
    """Source of a taxonomy less one label."""
    kept = [block for block in source.split("[[") if f'slug = "{slug}"\n' not in block]
    return "[[".join(kept)


def moved(leaf: str, old: str, new: str) -> str:
    """Source of the small taxonomy with a leaf under another category."""
    before = f'slug = "{leaf}"\nparent = "{old}"'
    assert before in TINY_TAXONOMY
    return TINY_TAXONOMY.replace(before, f'slug = "{leaf}"\nparent = "{new}"')


PARKING = TINY_TAXONOMY + entry("bereik") + entry("parkeren", "bereik")
FRESH = "format = 1\n" + (
    entry("kamer")
    + entry("bed", "kamer")
    + entry("douche", "kamer")
    + entry("balie")
    + entry("inchecken", "balie")
    + entry("weg", kind="signal")
)


def told(text: str, *labels: str, sentiment: str | None = "negatief", **more) -> LabelledText:
    """Text with labels such as ``eten:neg``, ``eten:neg:evidence`` and ``weg``."""
    parts = [label.split(":") for label in labels]
    return LabelledText(
        id=more.pop("id", text),
        text=text,
        aspects=tuple(GoldAspect(*part) for part in parts if len(part) > 1),
        sentiment=sentiment,
        signals=tuple(part[0] for part in parts if len(part) == 1),
        question=more.pop("question", None),
        score=more.pop("score", None),
        author=None,
        where="correcties.xlsx Beoordelen!2",
    )


SAMPLE = [
    replace(
        told(str(row["text"]), id=str(row["id"]), sentiment=str(row["sentiment"])),
        aspects=tuple(GoldAspect(**aspect) for aspect in row["aspects"]),
        signals=tuple(row["signals"]),
    )
    for row in tiny_rows()
]

_WHO = ["mijn zus", "de buurman", "opa", "ons gezin", "een collega", "Fatima", "de chauffeur"]
_WHEN = ["maandag", "vorige week", "met Pasen", "in de lente", "na negenen", "op Koningsdag"]


def about(template: str, *labels: str, n: int = 8, first: int = 0, **more) -> list[LabelledText]:
    """Texts that differ in who and when; ``{}`` is where that stands."""
    made = []
    for i in range(first, first + n):
        who, when = _WHO[i % len(_WHO)], _WHEN[(i // len(_WHO) + i) % len(_WHEN)]
        made.append(told(template.format(f"{when} {who}"), *labels, **more))
    return made


_PARKING = "{} kon nergens parkeren bij de garage"
_FULL = "de parkeerplaats bij de garage stond vol {}"


def parking(first: int = 0, n: int = 6) -> list[LabelledText]:
    return [
        *about(_PARKING, "parkeren:neg", n=n, first=first),
        *about(_FULL, "parkeren:neg", n=n, first=first),
    ]


ORDINARY = about("{} was er ook bij", n=6, sentiment="neutraal")
"""Texts without any aspect, as decisions hold too."""


@pytest.fixture(scope="module", autouse=True)
def only_once():
    """To make a segmenter, or to encode these texts, takes as long as to extend the small model."""
    encoded: dict[tuple[object, ...], tuple[np.ndarray, np.ndarray]] = {}
    encode = Encoder._encode_text

    def encode_once(self, clauses, question, score):
        key = (*clauses, question, score)
        if key not in encoded:
            encoded[key] = encode(self, clauses, question, score)
        return encoded[key]

    with pytest.MonkeyPatch.context() as patch:
        for module in ("labeler", "retraining"):
            patch.setattr(f"druppel.{module}.Segmenter", lambda: SEGMENTER)
        patch.setattr(Encoder, "_encode_text", encode_once)
        yield


@pytest.fixture(scope="module")
def base(tiny_trained) -> Model:
    return load_model(tiny_trained.folder)


@pytest.fixture(scope="module")
def encoded(tiny_encoded) -> Model:
    return load_model(tiny_encoded.folder)


def labels_of(model: Model, texts: Iterable[LabelledText]) -> list[set[tuple[str, str]]]:
    """Leaves and signals that a model gives."""
    results = Labeler(model).label_many([text.text for text in texts])
    return [
        {(a.leaf or a.category, a.polarity) for a in r.aspects}
        | {(s.signal, "") for s in r.signals}
        for r in results
    ]


def gold_of(texts: Iterable[LabelledText]) -> list[set[tuple[str, str]]]:
    return [{(a.leaf, a.polarity) for a in t.aspects} | {(s, "") for s in t.signals} for t in texts]


def share_right(model: Model, texts: Sequence[LabelledText]) -> float:
    """Share of the texts whose labels are those, all of them and no other."""
    pairs = zip(labels_of(model, texts), gold_of(texts), strict=True)
    return sum(found == gold for found, gold in pairs) / len(texts)


def columns_of(model: Model, *slugs: str) -> list[int]:
    return [i for i, name in enumerate(model.space.names) if name.split(":")[1] in slugs]


def weights_of(model: Model, names: Iterable[str], n_words: int) -> list[np.ndarray]:
    """Weights of some labels, less those of words behind the first `n_words`."""
    n_new = len(model.features.vocabularies()["words"]) - n_words
    rows = [model.space.names.index(name) for name in names]
    sides = [np.delete(model.sparse.labels.coef_[rows], np.s_[n_words : n_words + n_new], axis=1)]
    sides.append(model.sparse.labels.intercept_[rows])
    if model.dense is not None:
        sides += [model.dense.labels.coef_[rows], model.dense.labels.intercept_[rows]]
    return sides


def assert_same_weights(one: Model, other: Model, names: Sequence[str]) -> None:
    n_words = len(one.features.vocabularies()["words"])
    for a, b in zip(
        weights_of(one, names, n_words), weights_of(other, names, n_words), strict=True
    ):
        assert a.dtype == b.dtype == np.float32
        np.testing.assert_array_equal(a, b)


def assert_sound(model: Model) -> None:
    """No weight, threshold or probability is impossible."""
    heads = [model.sparse] if model.dense is None else [model.sparse, model.dense]
    for made in heads:
        for regression in (made.labels, made.sentiment):
            assert np.isfinite(regression.coef_).all()
            assert np.isfinite(regression.intercept_).all()
        assert made.labels.coef_.shape[0] == len(model.space.names)
    for decisions in model.decisions.values():
        for mode in MODES:
            thresholds = decisions.thresholds[mode]
            assert thresholds.shape == (len(model.space.names),)
            assert ((thresholds > 0) & (thresholds < 1)).all()
        low, usual, high = (decisions.thresholds[mode] for mode in MODES)
        assert (low <= usual).all()
        assert (usual <= high).all()
        assert np.isfinite(decisions.doubt)
    odd = ["", " \n", "👍👍", "the weather is nice today", "\ud83d", "lange rij " * 300, "🙂 \x00"]
    for result in Labeler(model).label_many(odd):
        assert all(0 <= part.probability <= 1 for part in (*result.aspects, *result.signals))


# --- where labels come from -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "renamed", "expected", "fresh"),
    [
        (TINY_TAXONOMY, {}, {"eten": ("eten",), "smaak": ("smaak",), "weg": ("weg",)}, False),
        (PARKING, {}, {"parkeren": (), "bereik": (), "eten": ("eten",)}, False),
        (
            TINY_TAXONOMY.replace('"eten"', '"keuken"'),
            {"eten": "keuken"},
            {"keuken": ("eten",), "smaak": ("smaak",)},
            False,
        ),
        # Without being told, a new name is a new label.
        (TINY_TAXONOMY.replace('"eten"', '"keuken"'), {}, {"keuken": ()}, False),
        (
            without("op_antwoord"),
            {"op_antwoord": "in_de_rij"},
            {"in_de_rij": ("in_de_rij", "op_antwoord")},
            False,
        ),
        # The name of what was renamed is free for something else.
        (
            TINY_TAXONOMY + entry("keuken", "smaak"),
            {"eten": "keuken"},
            {"keuken": ("eten",), "eten": ()},
            False,
        ),
        # A category is no leaf, whatever its name.
        (
            "format = 1\n" + entry("eten") + entry("smaak", "eten"),
            {},
            {"eten": (), "smaak": ()},
            True,
        ),
        (FRESH, {}, {"bed": (), "kamer": (), "weg": ("weg",)}, True),
        ("format = 1\n" + entry("smaak") + entry("bed", "smaak"), {}, {"smaak": ("smaak",)}, True),
    ],
)
def test_origins(source, renamed, expected, fresh, tiny_taxonomy):
    taxonomy = Taxonomy.parse(source)
    origins = Origins.of(tiny_taxonomy, taxonomy, renamed)
    assert {slug: origins.sources[slug] for slug in expected} == expected
    assert origins.fresh is fresh
    assert set(origins.sources) == set(taxonomy.names)


@pytest.mark.parametrize(
    ("source", "renamed", "labels", "expected"),
    [
        (TINY_TAXONOMY, {}, ["eten:neg:soep", "weg"], ["eten:neg:soep", "weg"]),
        (TINY_TAXONOMY.replace('"eten"', '"x"'), {"eten": "x"}, ["eten:neg:soep"], ["x:neg:soep"]),
        (TINY_TAXONOMY.replace('"weg"', '"x"'), {"weg": "x"}, ["weg"], ["x"]),
        (TINY_TAXONOMY.replace('"weg"', '"x"'), {}, ["eten:neg", "weg"], ["eten:neg"]),
        # The text may bear one of the other leaves.
        (without("op_antwoord"), {}, ["op_antwoord:neg"], None),
        (without("op_antwoord"), {}, ["eten:neg", "op_antwoord:neg"], None),
        (without("op_antwoord"), {}, ["eten:neg"], ["eten:neg"]),
        # Of what falls together the first stays.
        (
            without("op_antwoord"),
            {"op_antwoord": "in_de_rij"},
            ["op_antwoord:neg:soep", "in_de_rij:neg:was", "in_de_rij:pos"],
            ["in_de_rij:neg:soep", "in_de_rij:pos"],
        ),
        (
            TINY_TAXONOMY + entry("x", kind="signal"),
            {"weg": "x"},
            ["weg", "x"],
            ["x"],
        ),
    ],
)
def test_texts_are_carried_over(source, renamed, labels, expected, tiny_taxonomy):
    taxonomy = Taxonomy.parse(source)
    text = told("de soep was koud", *labels, sentiment="gemengd", score=4.0, question="En?")
    kept = carry_over([text], tiny_taxonomy, taxonomy, renamed)
    if expected is None:
        assert kept == []
    else:
        again = told("de soep was koud", *expected, sentiment="gemengd", score=4.0, question="En?")
        assert kept == [again]


@pytest.mark.parametrize("size", [0, 5, 40, 1000])
def test_a_sample_has_every_label_and_is_the_same_each_time(size):
    common = [replace(SAMPLE[i % 7], id=f"veel {i}") for i in range(300)]
    rare = [told(f"zeldzaam {p} {i}", f"zeldzaam:{p}") for p in POLARITIES for i in range(3)]
    texts = [*common, *rare, told("zeldzaam signaal", "vertrek")]
    drawn = sample_texts(texts, size, random_state=3)
    assert drawn == sample_texts(texts, size, random_state=3)
    assert len(drawn) >= min(size, len(texts))
    assert len({text.id for text in drawn}) == len(drawn)
    assert [text for text in texts if text in drawn] == drawn  # in their order
    count = {
        label: sum(label in gold for gold in gold_of(drawn)) for label in [*gold_of(texts)[-1]]
    }
    assert count == {("vertrek", ""): 1}
    for polarity in POLARITIES:
        assert sum(("zeldzaam", polarity) in gold for gold in gold_of(drawn)) == 3
    assert sum(("eten", "neg") in gold for gold in gold_of(drawn)) >= 12
    if 0 < size < len(texts):
        assert drawn != sample_texts(texts, size, random_state=4)


# --- what stays -----------------------------------------------------------------------------


def test_without_decisions_nothing_changes(base, tiny_taxonomy):
    made = extend(base, tiny_taxonomy, [], SAMPLE, **NAMES)
    assert made.title == "eigen 1"
    assert_same_weights(base, made, base.space.names)
    np.testing.assert_array_equal(base.sparse.sentiment.coef_, made.sparse.sentiment.coef_)
    batch = Batch.cut([text.text for text in SAMPLE], SEGMENTER)
    np.testing.assert_array_equal(base.score(batch).texts, made.score(batch).texts)
    for mode in MODES:
        np.testing.assert_array_equal(base.thresholds(mode), made.thresholds(mode))


@pytest.mark.parametrize("which", ["base", "encoded"])
def test_labels_that_no_decision_contradicts_keep_their_weights(which, tiny_taxonomy, request):
    base = request.getfixturevalue(which)
    # The base finds food in what only names it.
    own = about("{} vroeg of de soep lekker was", sentiment="neutraal")
    assert any(("eten", "pos") in found for found in labels_of(base, own))
    before = base.sparse.labels.coef_.copy()
    thresholds = base.thresholds().copy()
    made = extend(base, tiny_taxonomy, own, SAMPLE[:60], **NAMES)
    kept = [n for n in base.space.names if n.split(":")[1] in ("in_de_rij", "op_antwoord", "weg")]
    assert len(kept) == 7
    assert_same_weights(base, made, kept)
    changed = (
        made.sparse.labels.coef_.shape != before.shape or (made.sparse.labels.coef_ != before).any()
    )
    assert changed
    # And the base is what it was.
    np.testing.assert_array_equal(base.sparse.labels.coef_, before)
    np.testing.assert_array_equal(base.thresholds(), thresholds)


def test_decisions_that_the_base_agrees_with_teach_no_label(base, tiny_taxonomy):
    agreed = [t for t, found in zip(SAMPLE, labels_of(base, SAMPLE), strict=True) if found]
    sure = [
        text
        for text, row in zip(
            agreed, base.score(Batch.cut([t.text for t in agreed], SEGMENTER)).texts, strict=True
        )
        if (np.minimum(row, 1 - row) < 0.02).all()
    ]
    assert len(sure) >= 3
    made = extend(base, tiny_taxonomy, sure[:3], SAMPLE, **NAMES)
    assert labels_of(made, SAMPLE) == labels_of(base, SAMPLE)


def test_decisions_without_signals_leave_signals_alone(base, tiny_taxonomy):
    # Whoever decided did not look for signals: the base finds one in all of these.
    own = about("{} zei: ik kom nooit meer", "eten:neg", n=6)
    assert all(("weg", "") in found for found in labels_of(base, own))
    made = extend(base, tiny_taxonomy, own, SAMPLE, **NAMES)
    assert_same_weights(base, made, ["signal:weg"])
    # But who has some elsewhere did.
    looked = [*own, *about("{} zegt zijn abonnement op", "weg", n=6)]
    made = extend(base, tiny_taxonomy, looked, SAMPLE, **NAMES)
    unseen = about("{} zegt zijn abonnement op", "weg", n=4, first=8)
    assert all(("weg", "") in found for found in labels_of(made, unseen))
    assert not any(("weg", "") in found for found in labels_of(made, own))


# --- what is learnt -------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["base", "encoded"])
def test_a_kind_of_text_that_the_base_gets_wrong_is_learnt(which, tiny_taxonomy, request):
    base = request.getfixturevalue(which)
    # To this organisation a queue of cars at the barrier is not a queue of customers.
    wrong = "er stond een lange rij vrachtwagens voor de slagboom {}"
    own = about(wrong, sentiment="neutraal")
    unseen = about(wrong, n=5, first=9, sentiment="neutraal")
    assert all(("in_de_rij", "neg") in found for found in labels_of(base, [*own, *unseen]))
    made = extend(base, tiny_taxonomy, own, SAMPLE, **NAMES)
    assert labels_of(made, unseen) == [set()] * 5
    assert share_right(made, SAMPLE) >= share_right(base, SAMPLE) - 0.03
    assert_sound(made)


@pytest.mark.parametrize("which", ["base", "encoded"])
def test_a_leaf_of_ones_own_is_found_and_the_old_ones_still_are(which, request):
    base = request.getfixturevalue(which)
    taxonomy = Taxonomy.parse(PARKING)
    made = extend(base, taxonomy, [*parking(), *ORDINARY], SAMPLE, **NAMES)
    assert share_right(made, parking(first=9, n=4)) == 1.0
    results = list(Labeler(made).label_many([t.text for t in parking(first=9, n=4)]))
    assert all(result.irritations == ("bereik",) for result in results)
    assert share_right(made, SAMPLE) >= share_right(base, SAMPLE) - 0.03
    others = labels_of(made, [*SAMPLE, *ORDINARY])
    assert sum(("parkeren", "neg") in found for found in others) <= 1
    assert_sound(made)


def test_a_leaf_of_ones_own_under_a_category_that_there_is(base):
    taxonomy = Taxonomy.parse(TINY_TAXONOMY + entry("parkeren", "wachten"))
    made = extend(base, taxonomy, [*parking(), *ORDINARY], SAMPLE, **NAMES)
    assert share_right(made, parking(first=9, n=4)) == 1.0
    assert share_right(made, SAMPLE) >= share_right(base, SAMPLE) - 0.03


def test_few_decisions_are_not_buried_under_texts_that_nobody_looked_at(base):
    # The base's texts speak of parking too, but had no label for it.
    overlooked = [replace(text, aspects=()) for text in parking(first=20, n=12)]
    own = [*parking(n=3), *ORDINARY]
    made = extend(base, Taxonomy.parse(PARKING), own, [*SAMPLE, *overlooked], **NAMES)
    assert share_right(made, parking(first=9, n=4)) >= 0.9
    assert share_right(made, SAMPLE) >= share_right(base, SAMPLE) - 0.03


def test_a_polarity_without_examples_is_not_found(base):
    taxonomy = Taxonomy.parse(PARKING)
    praise = "{} vond zo een plekje in de ruime garage"
    own = [*parking(), *about(praise, "parkeren:pos", sentiment="positief"), *ORDINARY]
    made = extend(base, taxonomy, own, SAMPLE, **NAMES)
    unseen = parking(first=9, n=4) + about(praise, "parkeren:pos", n=4, first=9)
    assert share_right(made, unseen) >= 0.9
    assert not any(("parkeren", "neu") in found for found in labels_of(made, [*own, *SAMPLE]))


def test_a_signal_of_ones_own(base):
    taxonomy = Taxonomy.parse(TINY_TAXONOMY + entry("klacht", kind="signal"))
    template = "{} stuurt de geschillencommissie een brief"
    made = extend(base, taxonomy, [*about(template, "klacht"), *ORDINARY], SAMPLE, **NAMES)
    unseen = about(template, "klacht", n=4, first=9)
    assert all(("klacht", "") in found for found in labels_of(made, unseen))
    assert not any(("klacht", "") in found for found in labels_of(made, [*SAMPLE, *ORDINARY]))


def test_words_of_ones_own_become_known(base, tiny_taxonomy):
    own = [*about("de flexmodule {} hapert", "eten:neg", n=4), told("eenmalig woord")]
    before, text = base.features.vocabularies(), ["de flexmodule hapert", "de zonnewering klemt"]
    made = extend(base, tiny_taxonomy, own, SAMPLE, **NAMES)
    after = made.features.vocabularies()
    n_words = len(before["words"])
    assert after["words"][:n_words] == before["words"]
    added = after["words"][n_words:]
    assert {"flexmodule", "hapert", "de flexmodule"} <= set(added)
    assert "eenmalig" not in added
    assert len(set(after["words"])) == len(after["words"])
    assert (after["chars"], after["context"]) == (before["chars"], before["context"])
    batch = Batch.cut(text, SEGMENTER)
    known_before, known_after = base.score(batch).known, made.score(batch).known
    assert known_before[0] < known_after[0] == 1.0
    assert known_before[1] == known_after[1] < 1.0


@pytest.mark.parametrize("which", ["base", "encoded"])
def test_a_sentiment_that_nobody_judged_is_not_learnt(which, tiny_taxonomy, request):
    base = request.getfixturevalue(which)
    template = "nou {} weer een topdag hoor"
    unseen = [text.text for text in about(template, n=4, first=9)]

    def found(model: Model) -> set[str]:
        return {r.sentiment.label for r in Labeler(model).label_many(unseen) if r.sentiment}

    unjudged = extend(base, tiny_taxonomy, about(template, sentiment=None), SAMPLE[:60], **NAMES)
    n_words = len(base.features.vocabularies()["words"])
    n_new = len(unjudged.features.vocabularies()["words"]) - n_words
    kept = np.delete(unjudged.sparse.sentiment.coef_, np.s_[n_words : n_words + n_new], axis=1)
    np.testing.assert_array_equal(kept, base.sparse.sentiment.coef_)
    if base.dense is not None and unjudged.dense is not None:
        np.testing.assert_array_equal(unjudged.dense.sentiment.coef_, base.dense.sentiment.coef_)
    other = next(s for s in SENTIMENTS if s not in found(base))
    judged = extend(base, tiny_taxonomy, about(template, sentiment=other), SAMPLE[:60], **NAMES)
    assert found(judged) == {other}
    # Some judged, some not: those that are not weigh nothing.
    mixed = [*about(template, n=4, sentiment=other), *about(template, n=4, first=4, sentiment=None)]
    assert found(extend(base, tiny_taxonomy, mixed, SAMPLE[:60], **NAMES)) == {other}


def test_texts_without_evidence_do_not_teach_their_clauses(base):
    taxonomy = Taxonomy.parse(PARKING)
    filler, point = "Er stond een piano in de hal.", "{} kon nergens parkeren."

    def taught(where: slice | None, *more: GoldAspect) -> tuple[float, float]:
        own = []
        for text in about(f"{filler} {point}", "parkeren:neg"):
            evidence = None if where is None else text.text[where]
            aspects = (GoldAspect("parkeren", "neg", evidence), *more)
            own.append(replace(text, aspects=aspects))
        made = extend(base, taxonomy, [*own, *ORDINARY], SAMPLE, **NAMES)
        column = made.space.names.index("leaf:parkeren:neg")
        [text] = about(f"{filler} {point}", n=1, first=9)
        batch = Batch.cut([text.text], SEGMENTER)
        assert batch.segments[0][0].text == filler
        first, second = made.score(batch).clauses[:, column]
        return float(first), float(second)

    everything, second = taught(slice(None)), taught(slice(len(filler) + 1, None))
    assert second[0] < 0.3 < 0.7 < second[1]  # the evidence tells which clause it is
    assert everything[0] > 0.7
    assert everything[1] > 0.7
    # Where nobody said, no clause is taught to bear it; nor where that was said of another aspect.
    for untold in (taught(None), taught(None, GoldAspect("eten", "neu", "piano"))):
        assert second[0] < untold[0] < everything[0] - 0.1


# --- another taxonomy -----------------------------------------------------------------------


def test_a_new_name_changes_nothing_but_the_name(base, tiny_taxonomy):
    renamed = {"eten": "keuken", "smaak": "tafel", "weg": "vertrek"}
    source = TINY_TAXONOMY
    for old, new in renamed.items():
        source = source.replace(f'"{old}"', f'"{new}"')
    taxonomy = Taxonomy.parse(source)
    sample = carry_over(SAMPLE, tiny_taxonomy, taxonomy, renamed)
    made = extend(base, taxonomy, [], sample, renamed=renamed, **NAMES)
    np.testing.assert_array_equal(made.sparse.labels.coef_, base.sparse.labels.coef_)
    np.testing.assert_array_equal(made.thresholds(), base.thresholds())
    expected = [{(renamed.get(s, s), p) for s, p in found} for found in labels_of(base, SAMPLE)]
    assert labels_of(made, SAMPLE) == expected


@pytest.mark.parametrize("which", ["base", "encoded"])
@pytest.mark.parametrize("category", ["smaak", "contact"])
def test_a_leaf_that_moved_is_still_found(which, category, tiny_taxonomy, request):
    base = request.getfixturevalue(which)
    extra = entry("contact") if category == "contact" else ""
    taxonomy = Taxonomy.parse(moved("op_antwoord", "wachten", category) + extra)
    texts = carry_over(SAMPLE, tiny_taxonomy, taxonomy)
    assert len(texts) == len(SAMPLE)
    for own in ([], texts[:1]):
        made = extend(base, taxonomy, own, texts, **NAMES)
        assert share_right(made, texts) >= share_right(base, SAMPLE) - 0.05
        for text, result in zip(
            texts, Labeler(made).label_many([t.text for t in texts]), strict=True
        ):
            if ("op_antwoord", "neg") in gold_of([text])[0]:
                assert result.irritations == (category,)
        assert_sound(made)


def test_a_merger_is_found_where_its_parts_were(base, tiny_taxonomy):
    renamed = {"op_antwoord": "in_de_rij"}
    taxonomy = Taxonomy.parse(without("op_antwoord"))
    texts = carry_over(SAMPLE, tiny_taxonomy, taxonomy, renamed)
    for own in ([], texts[:1], about("{} wacht nog op bericht", "in_de_rij:neg")):
        made = extend(base, taxonomy, own, texts, renamed=renamed, **NAMES)
        assert share_right(made, texts) >= share_right(base, SAMPLE) - 0.03
        assert_sound(made)


def test_a_merger_across_categories(base, tiny_taxonomy):
    """What remains of the one category lost a leaf, and the other's gained its texts."""
    renamed = {"op_antwoord": "eten"}
    taxonomy = Taxonomy.parse(without("op_antwoord"))
    texts = carry_over(SAMPLE, tiny_taxonomy, taxonomy, renamed)
    made = extend(base, taxonomy, [], texts, renamed=renamed, **NAMES)
    assert share_right(made, texts) >= share_right(base, SAMPLE) - 0.05


def test_the_others_stay_when_a_leaf_is_dropped(base, tiny_taxonomy):
    taxonomy = Taxonomy.parse(without("op_antwoord"))
    texts = carry_over(SAMPLE, tiny_taxonomy, taxonomy)
    assert len(texts) == len(SAMPLE) - 18
    made = extend(base, taxonomy, [], texts, **NAMES)
    assert made.space == LabelSpace.of(taxonomy)
    kept = [f"leaf:{leaf}:{p}" for leaf in ("in_de_rij", "eten") for p in POLARITIES]
    n_words = len(base.features.vocabularies()["words"])
    for a, b in zip(weights_of(base, kept, n_words), weights_of(made, kept, n_words), strict=True):
        np.testing.assert_array_equal(a, b)
    assert share_right(made, texts) >= share_right(base, texts) - 0.03


@pytest.mark.parametrize("own", [[], ORDINARY[:1], ORDINARY])
def test_a_new_label_without_examples_is_never_found(own, base):
    source = PARKING + entry("kassa", "wachten") + entry("klacht", kind="signal")
    taxonomy = Taxonomy.parse(source)
    made = extend(base, taxonomy, own, SAMPLE, **NAMES)
    new = {"bereik", "parkeren", "kassa", "klacht"}
    texts = [*SAMPLE, *parking(), *ORDINARY]
    assert not any(slug in new for found in labels_of(made, texts) for slug, _ in found)
    assert_sound(made)
    assert share_right(made, SAMPLE) >= share_right(base, SAMPLE) - 0.03


# --- a taxonomy wholly of one's own ---------------------------------------------------------

_BED, _DOUCHE = "het bed zakte door bij {}", "uit de douche kwam koud water voor {}"
_IN, _WARM = "{} moest zijn paspoort afgeven bij het inchecken", "wat een heerlijk zacht bed had {}"


def hotel(n: int = 8, first: int = 0) -> list[LabelledText]:
    return [
        *about(_BED, "bed:neg", n=n, first=first),
        *about(_DOUCHE, "douche:neg", n=n, first=first),
        *about(_IN, "inchecken:neu", n=n, first=first, sentiment="neutraal"),
        *about(_WARM, "bed:pos", n=n, first=first, sentiment="positief"),
        *about("{} bleef twee nachten", n=n, first=first, sentiment="neutraal"),
    ]


@pytest.mark.parametrize("which", ["base", "encoded"])
def test_a_taxonomy_of_ones_own(which, request):
    base = request.getfixturevalue(which)
    taxonomy = Taxonomy.parse(FRESH)
    made = extend(base, taxonomy, hotel(), SAMPLE, **NAMES)
    unseen = hotel(n=4, first=9)
    assert share_right(made, unseen) >= 0.9
    categories = {"bed": "kamer", "douche": "kamer", "inchecken": "balie"}
    for result in Labeler(made).label_many([text.text for text in unseen]):
        assert all(categories[a.leaf] == a.category for a in result.aspects if a.leaf)
    # Nothing of the base's labels is left, but signals are anyone's.
    given = {slug for found in labels_of(made, SAMPLE) for slug, _ in found}
    assert given <= {*taxonomy.names}
    signals = [("weg", "") in found for found in labels_of(base, SAMPLE)]
    assert any(signals)
    assert [("weg", "") in found for found in labels_of(made, SAMPLE)] == signals
    for profile, decisions in made.decisions.items():
        before = base.decisions[profile]
        assert decisions.calibration.slope["signal"] == before.calibration.slope["signal"]
        for mode in MODES:
            assert decisions.thresholds[mode][-1] == before.thresholds[mode][-1]
    assert set(made.decisions) == set(base.decisions)
    assert_sound(made)


@pytest.mark.parametrize(
    "own",
    [
        hotel()[:1],
        hotel()[:2],
        ORDINARY,
        [told(" ")],
        [told("het bed", "bed:neg")] * 4,
        about(_BED, "bed:neg", n=3),
    ],
)
def test_a_taxonomy_of_ones_own_with_little_to_go_by(own, base):
    taxonomy = Taxonomy.parse(FRESH)
    assert_sound(extend(base, taxonomy, own, SAMPLE, **NAMES))
    judged = out_of_fold(base, taxonomy, own, SAMPLE)
    assert judged.probability.shape == (len(own), len(LabelSpace.of(taxonomy).names))


def test_nothing_to_learn_from_is_told(base, tiny_taxonomy):
    with pytest.raises(ConfigError, match="decisions"):
        extend(base, Taxonomy.parse(FRESH), [], SAMPLE, **NAMES)
    for taxonomy in (Taxonomy.parse(FRESH), tiny_taxonomy):
        with pytest.raises(ConfigError, match="decisions"):
            out_of_fold(base, taxonomy, [], SAMPLE)


# --- odd decisions --------------------------------------------------------------------------

ODD = {
    "one": [told("de soep was koud", "eten:pos")],
    "two": [told("de soep was koud", "eten:pos"), told("lange rij", "eten:neg")],
    "none with an aspect": ORDINARY,
    "all the same": [told("de soep was koud en flauw, echt waar", "eten:pos")] * 7,
    "all the same and short": [told("soep", "eten:pos")] * 7,
    "the same with other labels": [told("soep", "eten:pos"), told("soep", "eten:neg")] * 4,
    "white space": [told(" \n\t"), told("  ", "eten:neg")],
    "another language": about("the queue was endless {}", "in_de_rij:neg"),
    "no words": [told("👍👍", "eten:pos"), told("!!!", "eten:neg"), told("\x00\x01", "weg")],
    "surrogates": [told("\ud83d soep \ude00", "eten:neg"), told("\ud83d brood \ude00", "eten:neg")],
    "separators": [told("a\u2028b\x85c\x0bd e", "eten:neg"), told("a\u2028b\x85c\x0bd f", "weg")],
    "very long": [told("de rij was lang. " * 400, "in_de_rij:neg:de rij was lang")],
    "question and score": about("niets {}", "eten:neg", question="Wat kan er beter?", score=2.0),
    "nobody judged": about("de soep {} was koud", "eten:neg", sentiment=None),
}


@pytest.mark.parametrize("own", ODD.values(), ids=ODD)
def test_odd_decisions(own, base, tiny_taxonomy, tmp_path):
    made = extend(base, tiny_taxonomy, own, SAMPLE, **NAMES)
    assert_sound(made)
    assert share_right(made, SAMPLE) >= share_right(base, SAMPLE) - 0.15
    save_model(made, tmp_path / "model", {})
    again = load_model(tmp_path / "model")
    assert again.features.vocabularies() == made.features.vocabularies()
    judged = out_of_fold(base, tiny_taxonomy, own, SAMPLE)
    assert judged.probability.shape == (len(own), len(base.space.names))
    assert ((judged.probability >= 0) & (judged.probability <= 1)).all()
    np.testing.assert_allclose(judged.sentiments.sum(axis=1), 1, atol=1e-6)


def test_without_a_sample(base, tiny_taxonomy):
    own = about("{} vroeg of de soep lekker was", sentiment="neutraal")
    made = extend(base, tiny_taxonomy, own, [], **NAMES)
    assert_sound(made)
    assert labels_of(made, own) == [set()] * len(own)


def test_settings_are_followed(base, tiny_taxonomy):
    own = about("er stond een lange rij vrachtwagens voor de slagboom {}", sentiment="neutraal")
    still = Settings(own_c=1e-9)
    made = extend(base, tiny_taxonomy, own, SAMPLE, settings=still, **NAMES)
    assert any(labels_of(made, own))
    many = Settings(folds=50)  # more than there are texts
    taxonomy = Taxonomy.parse(PARKING)
    assert_sound(extend(base, taxonomy, parking(n=3), SAMPLE, settings=many, **NAMES))
    judged = out_of_fold(base, taxonomy, parking(n=3), SAMPLE, settings=many)
    assert judged.probability.shape[0] == 6


def test_progress_tells_counts_and_no_text(base):
    said: list[str] = []
    extend(base, Taxonomy.parse(PARKING), parking(), SAMPLE, progress=said.append, **NAMES)
    assert any(f"{len(parking())} decisions and {len(SAMPLE)} texts" in line for line in said)
    out_of_fold(base, Taxonomy.parse(PARKING), parking(), SAMPLE, progress=said.append)
    assert any("3 of 3" in line for line in said)
    assert not any("garage" in line for line in said)


# --- the same again -------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["base", "encoded"])
def test_the_same_input_gives_the_same_model(which, tmp_path, request):
    base = request.getfixturevalue(which)
    taxonomy = Taxonomy.parse(PARKING)
    own = [*parking(), *about("{} vroeg of de soep lekker was", "weg", sentiment="gemengd")]
    folders = []
    for threads in (1, 4):
        with threadpool_limits(threads):
            made = extend(base, taxonomy, own, SAMPLE[:60], **NAMES)
        save_model(made, tmp_path / str(threads), {})
        folders.append({f.name: f.read_bytes() for f in (tmp_path / str(threads)).iterdir()})
    assert folders[0] == folders[1]
    # What was written gives the labels that the rounded model gives.
    texts = [*SAMPLE[:40], *parking(first=9, n=3)]
    written = load_model(tmp_path / "1")
    in_memory, on_disk = Labeler(rounded(made)), Labeler(written)
    words = [text.text for text in texts]
    assert list(in_memory.label_many(words)) == list(on_disk.label_many(words))
    assert share_right(written, parking(first=9, n=3)) == 1.0
    assert written.title == "eigen 1"
    # And can be extended in turn.
    further = extend(written, taxonomy, own, SAMPLE[:60], **NAMES)
    assert share_right(further, parking(first=9, n=3)) == 1.0


def test_a_model_opened_without_its_encoder_is_extended_without(tiny_encoded, tiny_taxonomy):
    base = load_model(tiny_encoded.folder, "snel")
    made = extend(base, tiny_taxonomy, about("soep {}", "eten:neg"), SAMPLE, **NAMES)
    assert (made.encoder, made.dense, list(made.decisions)) == (None, None, ["snel"])


# --- judged by others -----------------------------------------------------------------------


def judge(base: Model, own: Sequence[LabelledText]) -> OutOfFold:
    return out_of_fold(base, Taxonomy.parse(PARKING), own, SAMPLE)


def test_rows_are_in_the_order_of_the_decisions(base):
    own = [*parking(), *ORDINARY, *about("de soep was koud bij {}", "eten:neg")]
    first = judge(base, own)
    assert first.space == LabelSpace.of(Taxonomy.parse(PARKING))
    assert first.thresholds.shape == (len(first.space.names),)
    assert first.sentiments.shape == (len(own), len(SENTIMENTS))
    column = first.space.names.index("leaf:parkeren:neg")
    bears = np.array([("parkeren", "neg") in gold for gold in gold_of(own)])
    assert first.probability[bears, column].min() > first.probability[~bears, column].max()
    order = np.random.default_rng(1).permutation(len(own))
    second = judge(base, [own[i] for i in order])
    assert (second.probability[:, column] >= 0.5).tolist() == bears[order].tolist()
    # Another order makes other folds, so only nearly the same.
    gap = np.abs(second.probability - first.probability[order])
    assert np.median(gap) < 0.02
    assert gap.mean() < 0.05
    np.testing.assert_array_equal(judge(base, own).probability, first.probability)


def test_spoilt_labels_are_less_likely_than_right_ones(base):
    right = [*parking(n=7), *about("de soep was koud bij {}", "eten:neg", n=7), *ORDINARY]
    spoilt = {1: "eten:neg", 8: "eten:neg", 16: "parkeren:neg", 19: "parkeren:neg"}
    own = [
        replace(text, aspects=(GoldAspect(*spoilt[i].split(":")),)) if i in spoilt else text
        for i, text in enumerate(right)
    ]
    judged = judge(base, own)
    names = judged.space.names
    said = {
        i: judged.probability[i, names.index(f"leaf:{a.leaf}:{a.polarity}")]
        for i, text in enumerate(own)
        for a in text.aspects
    }
    assert set(spoilt) < set(said)
    assert max(said[i] for i in spoilt) < min(said[i] for i in said if i not in spoilt)


def test_a_copy_does_not_vouch_for_its_like(base):
    copied = "voor de garage van de familie De Wit kon niemand meer parkeren"
    copies = [told(copied + "!" * i, "parkeren:neg", id=str(i)) for i in range(5)]
    others = about("de soep was koud bij {}", "eten:neg")
    judged = judge(base, [*copies, *others, *ORDINARY])
    column = judged.space.names.index("leaf:parkeren:neg")
    assert judged.probability[:5, column].max() < 0.5
    assert judged.thresholds[column] > 0


def test_folds_do_not_see_the_text_itself(base):
    """A new label with one example is unknown to whoever did not see that."""
    own = [told("nergens een parkeerplek te vinden", "parkeren:neg"), *ORDINARY]
    judged = judge(base, own)
    column = judged.space.names.index("leaf:parkeren:neg")
    assert judged.probability[0, column] < 0.5


def test_decisions_from_before_a_label_do_not_bury_it(base) -> None:
    taxonomy = Taxonomy.parse(PARKING)
    # The same complaint, decided before there was a label for it.
    before = [
        replace(text, aspects=(), id=f"oud {i}") for i, text in enumerate(parking(first=20, n=4))
    ]
    own = [*parking(), *ORDINARY, *before]
    ids = frozenset(text.id for text in before)
    column = LabelSpace.of(taxonomy).names.index("leaf:parkeren:neg")
    strength = []
    for unlooked in (None, {"parkeren": ids}):
        made = extend(base, taxonomy, own, SAMPLE, **NAMES, unlooked=unlooked)
        unseen = Batch.cut([text.text for text in parking(first=9, n=4)], SEGMENTER)
        strength.append(made.score(unseen).clauses[:, column].mean())  # uncalibrated
    assert strength[1] > strength[0] + 0.02
