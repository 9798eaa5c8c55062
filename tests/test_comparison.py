import json
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from druppel.cases import Case
from druppel.comparison import (
    BETTER,
    ENOUGH,
    EQUAL,
    FIGURES,
    GONE,
    MIXED,
    NEW,
    TOO_FEW,
    WORSE,
    HeldOut,
    compare,
    holm,
)
from druppel.corpus import GoldAspect, LabelledText, read_corpus
from druppel.errors import InputError
from druppel.evaluation import evaluate
from druppel.labeler import Labeler
from druppel.result import Aspect, Result, Sentiment, Signal
from druppel.taxonomy import Taxonomy

_LABEL = """
[[{kind}]]
slug = "{slug}"
{parent}
name_nl = "{name}"
name_en = "{name}"
definition = ""
counter_definition = ""
examples = []
seeds = []
"""


def taxonomy(signals=("weg",), **categories):
    """A taxonomy of categories with their leaves."""
    parts = ["format = 1"]

    def add(kind, slug, parent=""):
        line = f'parent = "{parent}"' if parent else ""
        name = slug.replace("_", " ").capitalize()
        parts.append(_LABEL.format(kind=kind, slug=slug, parent=line, name=name))

    for category, leaves in categories.items():
        add("label", category)
        for leaf in leaves:
            add("label", leaf, category)
    for signal in signals:
        add("signal", signal)
    return Taxonomy.parse("\n".join(parts))


BOTH = taxonomy(wachten=["in_de_rij", "op_antwoord"], smaak=["eten"], prijs=["duur"])
LEAVES = tuple(BOTH.parent)


class Scripted:
    """A labeler that says of each text what the test tells it to."""

    def __init__(self, taxonomy, answers, title="model 1"):
        self.model = SimpleNamespace(taxonomy=taxonomy, title=title)
        self.answers = answers
        self.asked = []

    def label_many(self, texts, questions=None, scores=None):
        rows = zip(*[x for x in (texts, questions, scores) if x is not None], strict=True)
        for text, *_ in rows:
            self.asked.append(text)
            yield self.answers[text]


def said(leaves=(), sentiment="negatief", signals=(), *, taxonomy=BOTH, review=False):
    """A result with irritations; a category stands for a leaf that was not sure."""
    aspects = [
        Aspect(
            taxonomy.parent.get(x, x), x if x in taxonomy.parent else None, "neg", 0.9, 0, 1, "t"
        )
        for x in leaves
    ]
    return Result(
        Sentiment(sentiment, 0.0) if sentiment else None,
        tuple(aspects),
        tuple(Signal(s, 0.9, 0, 1, "t") for s in signals),
        "nl",
        review,
        "model 1",
    )


def gold(i, leaves=(), sentiment="negatief", signals=()):
    aspects = tuple(GoldAspect(leaf, "neg") for leaf in leaves)
    return LabelledText(
        f"t{i}", f"klant {i}", aspects, sentiment, tuple(signals), None, None, None, "a:1"
    )


def held_out(texts, taxonomy=BOTH, name="meetset", annotated=None):
    return HeldOut(name, tuple(texts), frozenset(annotated or taxonomy.names))


def versus(rows, *, old=BOTH, new=BOTH, **options):
    """Compare on rows of (gold leaves, what the old says, what the new says)."""
    texts, first, second = [], {}, {}
    for i, (truth, was, now) in enumerate(rows):
        texts.append(gold(i, truth))
        first[texts[-1].text] = was if isinstance(was, Result) else said(was, taxonomy=old)
        second[texts[-1].text] = now if isinstance(now, Result) else said(now, taxonomy=new)
    sets = options.pop("sets", None) or [held_out(texts, new)]
    return compare(Scripted(old, first), Scripted(new, second, "model 2"), sets, **options)


def row(comparison, label, view="irritation"):
    return next(r for r in comparison.together.of(view) if r.label == label)


RIGHT = (["eten"], ["eten"], ["eten"])
MENDED = (["eten"], [], ["eten"])
BROKEN = (["eten"], ["eten"], [])
LEAF = st.lists(st.sampled_from(LEAVES), unique=True, max_size=3)
SAID = st.builds(
    lambda leaves, category, sentiment, signals: said(
        [*leaves, *(["wachten"] if category else [])], sentiment, signals
    ),
    LEAF,
    st.booleans(),
    st.sampled_from(["negatief", "positief", "neutraal", None]),
    st.sampled_from([(), ("weg",)]),
)


# --- figures -------------------------------------------------------------------------------


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(LEAF, SAID, SAID), min_size=1, max_size=30))
def test_each_models_figures_are_those_of_evaluate(rows):
    found = versus(rows)
    texts = [gold(i, truth) for i, (truth, _, _) in enumerate(rows)]
    for model, results in (("old", [r[1] for r in rows]), ("new", [r[2] for r in rows])):
        expected = evaluate(texts, results, BOTH)
        for figure in found.together.figures:
            value = getattr(figure, model)
            assert value == pytest.approx(expected.figures[figure.name].value), figure.name
        for view in ("irritation", "leaf", "signal"):
            alone = {r.label: r for r in expected.labels[view]}
            for label in found.together.of(view):
                if label.support:
                    assert getattr(label, model) == pytest.approx(alone[label.label].f1)
                    assert label.support == alone[label.label].support


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(LEAF, SAID, SAID), min_size=2, max_size=30))
def test_the_other_way_about_is_the_opposite(rows):
    forth = versus(rows)
    back = versus([(truth, now, was) for truth, was, now in rows])
    opposite = {BETTER: WORSE, WORSE: BETTER, EQUAL: EQUAL, TOO_FEW: TOO_FEW}
    pairs = [
        *zip(forth.together.figures, back.together.figures, strict=True),
        *zip(forth.together.labels, back.together.labels, strict=True),
    ]
    for one, other in pairs:
        assert (one.old, one.new) == (other.new, other.old)
        assert other.judgement == opposite[one.judgement]
        if one.change is not None:
            assert other.change == pytest.approx(-one.change)
            assert (other.low, other.high) == pytest.approx((-one.high, -one.low), abs=1e-9)
            assert other.p == pytest.approx(one.p)
            assert one.low - 1e-9 <= one.change <= one.high + 1e-9 or len(rows) < 10


def test_a_model_does_not_differ_from_itself():
    rows = [([LEAVES[i % 3]], [LEAVES[i % 2]], [LEAVES[i % 2]]) for i in range(150)]
    found = versus(rows)
    assert found.verdict == EQUAL
    assert not found.significantly_worse
    for each in (*found.together.figures, *found.together.labels):
        assert (each.change, each.low, each.high) in [(0, 0, 0), (None, None, None)]
        assert each.judgement in (EQUAL, TOO_FEW)
    assert versus(rows[:50]).verdict == TOO_FEW


def test_the_interval_is_paired():
    # Both models are wrong in the same half of the texts; only one text tells them apart.
    rows = [(["eten"], ["eten"], ["eten"]), (["eten"], [], [])] * 100 + [MENDED]
    f1 = row(versus(rows), "smaak")
    alone = evaluate(
        [gold(i, ["eten"]) for i in range(201)], [said(was) for _, was, _ in rows], BOTH
    ).figures["irritation.micro"]
    assert f1.high - f1.low < 0.25 * (alone.high - alone.low)
    assert f1.low == 0 <= f1.change <= f1.high


def test_the_same_seed_gives_the_same():
    rows = [RIGHT] * 20 + [MENDED] * 5 + [BROKEN] * 3
    assert versus(rows).to_dict(texts=True) == versus(rows).to_dict(texts=True)
    assert versus(rows, random_state=1).to_dict() != versus(rows).to_dict()


def test_two_models_that_are_as_good_seldom_differ(monkeypatch):
    """The error rate that Holm's adjustment promises: at most one comparison in twenty."""
    monkeypatch.setattr("druppel.comparison._DRAWS", 500)
    monkeypatch.setattr("druppel.comparison._SWAPS", 999)
    alarms = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        wrong = rng.random((2, 120, 4)) < 0.15
        truth = rng.random((120, 4)) < 0.4
        rows = [
            tuple(
                [leaf for leaf, on in zip(LEAVES, marks, strict=True) if on]
                for marks in (truth[i], truth[i] ^ wrong[0, i], truth[i] ^ wrong[1, i])
            )
            for i in range(120)
        ]
        found = versus(rows).together
        judged = [label.judgement for label in found.of("leaf")]
        assert TOO_FEW not in judged
        alarms += any(judgement != EQUAL for judgement in judged)
    assert alarms <= 5  # of 40; the chance of more is 1 in 70


# --- judgement -----------------------------------------------------------------------------


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm(p_values):
    adjusted = holm(p_values)
    assert all(p <= a <= 1 for p, a in zip(p_values, adjusted, strict=True))
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    assert [adjusted[i] for i in order] == sorted(adjusted)
    if p_values:  # the smallest is held to the strictest level
        assert adjusted[order[0]] == min(1.0, len(p_values) * p_values[order[0]])


@pytest.mark.parametrize(
    ("rows", "verdict", "judgement"),
    [
        ([RIGHT] * 80 + [MENDED] * 20, BETTER, BETTER),
        ([RIGHT] * 80 + [BROKEN] * 20, WORSE, WORSE),
        ([RIGHT] * 80 + [MENDED] * 20 + [BROKEN] * 20, TOO_FEW, EQUAL),
        ([RIGHT] * 2000 + [MENDED, BROKEN], EQUAL, EQUAL),
        ([MENDED] * (ENOUGH - 1), BETTER, TOO_FEW),
        ([MENDED] * 4, TOO_FEW, TOO_FEW),
    ],
)
def test_verdict(rows, verdict, judgement):
    found = versus(rows)
    assert found.verdict == verdict
    assert row(found, "smaak").judgement == judgement
    assert found.significantly_worse == (verdict == WORSE)


def test_better_in_one_thing_and_worse_in_another():
    rows = [MENDED] * 30 + [(["duur"], ["duur"], [])] * 20 + [RIGHT] * 50
    found = versus(rows)
    assert found.verdict == MIXED
    assert found.significantly_worse
    assert found.setbacks == ("prijs",)


def test_a_category_that_loses_little_is_no_setback():
    # A certain loss of 12 in 1000: significant, but less than the margin; the whole gains.
    rows = [BROKEN] * 12 + [RIGHT] * 988 + [(["duur"], [], ["duur"])] * 200
    found = versus(rows)
    smaak = row(found, "smaak")
    assert smaak.judgement == WORSE
    assert -0.02 < smaak.change < 0
    assert found.setbacks == ()
    assert found.verdict == BETTER


def test_the_sentiment_alone_can_be_a_setback():
    wrong = (["eten"], said(["eten"]), said(["eten"], "positief"))
    found = versus([RIGHT] * 100 + [wrong] * 10)
    assert found.setbacks == ("sentiment.accuracy",)
    assert found.verdict == WORSE


def test_texts_whose_sentiment_nobody_judged_do_not_count_for_it():
    texts = [gold(i, ["eten"], sentiment=None if i % 2 else "negatief") for i in range(20)]
    answers = {text.text: said(["eten"], "negatief") for text in texts}
    model = Scripted(BOTH, answers)
    assert compare(model, model, [held_out(texts)]).together.figure("sentiment.accuracy").old == 1
    unjudged = [text for text in texts if text.sentiment is None]
    found = compare(model, model, [held_out(unjudged)]).together
    assert found.figure("sentiment.accuracy") is None


# --- what was annotated, and taxonomies that differ --------------------------------------------

WITH_PARKING = taxonomy(
    wachten=["in_de_rij", "op_antwoord"],
    smaak=["eten"],
    prijs=["duur", "parkeertarief"],
    parkeren=["vol"],
)


def parking(annotated, truth=("eten",), now=("eten", "vol"), was=("eten",)):
    texts = [gold(i, truth) for i in range(12)]
    first = {t.text: said(was) for t in texts}
    second = {t.text: said(now, taxonomy=WITH_PARKING) for t in texts}
    sets = [HeldOut("meetset", tuple(texts), frozenset(annotated))]
    return compare(Scripted(BOTH, first), Scripted(WITH_PARKING, second), sets)


def test_a_category_that_was_not_annotated_is_no_error():
    found = parking(BOTH.names)
    assert found.together.figure("irritation.micro").new == 1
    new = row(found, "parkeren")
    assert (new.judgement, new.support, new.new, new.worse) == (NEW, 0, None, 0)


def test_a_new_label_that_was_annotated_gets_figures_but_no_say():
    found = parking(WITH_PARKING.names, truth=["eten", "vol"])
    new = row(found, "parkeren")
    assert (new.judgement, new.support, new.old, new.new) == (NEW, 12, None, 1)
    assert (new.change, new.p) == (None, None)
    assert found.together.figure("irritation.micro").change == 0
    assert row(found, "vol", "leaf").judgement == NEW
    missed = parking(WITH_PARKING.names, truth=["eten"])
    assert row(missed, "parkeren").worse == 12  # here it is an error


@pytest.mark.parametrize(("truth", "score"), [(["eten"], 1.0), (["eten", "duur"], 1.0)])
def test_a_leaf_that_was_not_annotated_is_no_ground_to_call_its_category_wrong(truth, score):
    found = parking(BOTH.names, truth=truth, now=["eten", "parkeertarief"])
    assert found.together.figure("irritation.micro").new == score
    if "duur" in truth:  # the category is there, and found
        assert row(found, "prijs").new == 1
        assert row(found, "duur", "leaf").new == 0


def test_a_label_that_only_the_old_taxonomy_has():
    new = taxonomy(wachten=["in_de_rij", "op_antwoord"], smaak=["eten"])
    rows = [(["duur"], ["duur"], [])] * 12 + [RIGHT] * 12
    found = versus(rows, new=new, sets=[held_out([gold(i, r[0]) for i, r in enumerate(rows)])])
    gone = row(found, "prijs")
    assert (gone.judgement, gone.support, gone.old, gone.new) == (GONE, 12, 1, None)
    assert found.together.figure("irritation.micro").new == 1
    assert not found.significantly_worse


def test_a_leaf_counts_for_the_category_of_the_new_taxonomy():
    new = taxonomy(wachten=["in_de_rij"], smaak=["eten"], prijs=["duur", "op_antwoord"])
    rows = [(["op_antwoord"], ["op_antwoord"], ["op_antwoord"])] * 12
    found = versus(rows, new=new)
    assert found.together.figure("irritation.micro").old == 1
    assert (row(found, "prijs").old, row(found, "prijs").support) == (1, 12)
    assert row(found, "wachten").support == 0


def test_taxonomies_without_a_label_in_common():
    other = taxonomy(signals=("klacht",), pech=["lek"])
    rows = [([], [], ["lek"])] * 120
    found = versus(rows, new=other)
    assert [figure.name for figure in found.together.figures] == ["sentiment.accuracy"]
    assert {label.judgement for label in found.together.of("irritation")} == {NEW, GONE}


# --- sets ----------------------------------------------------------------------------------


def test_sets_apart_and_together():
    texts = [gold(i, ["eten"]) for i in range(30)]
    first = {t.text: said(["eten"] if i < 20 else []) for i, t in enumerate(texts)}
    second = {t.text: said(["eten"]) for t in texts}
    old, new = Scripted(BOTH, first), Scripted(BOTH, second)
    sets = [
        held_out(texts[:20], name="groot"),
        held_out(texts[20:], name="klein"),
        held_out([], name="leeg"),
    ]
    found = compare(old, new, sets)
    assert [(one.name, one.n_texts) for one in found.sets] == [("groot", 20), ("klein", 10)]
    assert (found.together.n_texts, found.empty) == (30, ("leeg",))
    by_name = {one.name: one.figure("irritation.micro") for one in found.sets}
    assert (by_name["groot"].change, by_name["klein"].old, by_name["klein"].new) == (0, 0, 1)
    assert found.together.figure("irritation.micro").old == pytest.approx(0.8)
    assert old.asked == new.asked == [t.text for t in texts]  # each text once


def test_without_texts_there_is_nothing_to_compare():
    model = Scripted(BOTH, {})
    with pytest.raises(InputError, match="no held-out texts"):
        compare(model, model, [held_out([])])


def test_a_small_set_needs_more_texts():
    rows = [RIGHT] * 20 + [MENDED] * 5 + [BROKEN] * 5
    assert versus(rows).together.texts_needed >= 70
    assert versus([RIGHT] * 500).together.texts_needed == 0


# --- examples ------------------------------------------------------------------------------


def test_examples_show_what_became_right_and_wrong():
    wrong = (["duur"], said(["duur"]), said(["duur"], "positief", ("weg",)))
    found = versus([MENDED] * 8 + [BROKEN] * 2 + [RIGHT] * 5 + [wrong], n_examples=3)
    groups = {(group.view, group.label): group for group in found.examples}
    assert set(groups) == {("irritation", "smaak"), ("signal", "weg"), ("sentiment", "sentiment")}
    smaak = groups["irritation", "smaak"]
    assert (smaak.n_better, smaak.n_worse) == (8, 2)
    assert (len(smaak.better), len(smaak.worse)) == (3, 2)
    assert {int(e.id[1:]) for e in smaak.better} <= set(range(8))
    assert {e.id for e in smaak.worse} == {"t8", "t9"}
    example = smaak.better[0]
    assert (example.gold.irritations, example.old.irritations) == (("eten",), ())
    assert (example.new.irritations, example.new.sentiment) == (("eten",), "negatief")
    assert groups["sentiment", "sentiment"].n_worse == groups["signal", "weg"].n_worse == 1


def test_plain_data_holds_no_texts_unless_asked_for():
    case = Case(
        "c", "proef", "klant 0", None, None, frozenset(["smaak:neg"]), frozenset(), frozenset()
    )
    found = versus([MENDED] * 12 + [BROKEN], cases=[case], volumes=["klant 1"])
    assert "klant" not in json.dumps(found.to_dict())
    assert "klant" not in repr(found)
    assert "klant 1" in json.dumps(found.to_dict(texts=True))


# --- cases and volumes ---------------------------------------------------------------------


def case(name, expect=(), forbid=(), sentiment=()):
    return Case(
        name, "groep", name, None, None, frozenset(expect), frozenset(forbid), frozenset(sentiment)
    )


def test_cases_lost_and_won():
    cases = [
        case("verloren", ["eten:neg"], ["prijs:neg"], ["negatief"]),
        case("gewonnen", forbid=["*:neg"]),
        case("beide", sentiment=["negatief"]),
        case("geen", ["weg"]),
        case("nieuw", ["parkeren:neg"]),
    ]
    old = {c.text: said() for c in cases}
    new = {c.text: said(taxonomy=WITH_PARKING) for c in cases}
    old |= {"verloren": said(["eten"]), "gewonnen": said(["duur"])}
    new |= {
        "verloren": said(["duur"], None, taxonomy=WITH_PARKING),
        "nieuw": said(["vol"], taxonomy=WITH_PARKING),
    }
    text = gold(0)
    first = Scripted(BOTH, {**old, text.text: said()})
    second = Scripted(WITH_PARKING, {**new, text.text: said()})
    found = compare(first, second, [held_out([text])], cases=cases).cases
    assert found.groups == {"groep": (4, 2, 2)}
    assert found.total == (4, 2, 2)
    (lost,), (won,) = found.lost, found.won
    assert (lost.id, lost.lacks, lost.has) == ("verloren", ("eten:neg",), ("prijs:neg",))
    assert lost.sentiment == "geen"
    assert (won.id, won.lacks, won.has, won.sentiment) == ("gewonnen", (), ("*:neg",), None)
    assert (found.only_new, found.only_old) == ((1, 1), (0, 0))
    assert "nieuw" not in first.asked


def test_volumes_by_hand():
    answers_old = {
        "a": said(["eten"], "negatief", ["weg"], review=True),
        "b": said(["eten", "in_de_rij"]),
        "c": said([], "neutraal"),
        "d": said(["in_de_rij"]),
    }
    answers_new = {
        "a": said(["eten"], "negatief", ["weg"]),
        "b": said(["eten"]),
        "c": said(["duur"], "negatief", review=True),
        "d": said(["op_antwoord"], review=True),  # another leaf of the same category
    }
    text = gold(0)
    old = Scripted(BOTH, {**answers_old, text.text: said()})
    new = Scripted(BOTH, {**answers_new, text.text: said()})
    found = compare(
        old, new, [held_out([text])], volumes=iter("abcd"), questions=["?"] * 4, scores=[7] * 4
    ).volumes
    assert (found.n_texts, found.changed, found.review_old, found.review_new) == (4, 2, 1, 2)
    shown = {(v.view, v.label): (v.old, v.new, v.gained, v.lost) for v in found.labels}
    assert shown["irritation", "smaak"] == (2, 2, 0, 0)
    assert shown["irritation", "wachten"] == (2, 1, 0, 1)
    assert shown["irritation", "prijs"] == (0, 1, 1, 0)
    assert shown["leaf", "op_antwoord"] == (0, 1, 1, 0)
    assert shown["signal", "weg"] == (1, 1, 0, 0)
    assert shown["sentiment", "negatief"] == (3, 4, 1, 0)
    assert found.share(2) == 0.5


def test_volumes_of_labels_that_one_taxonomy_lacks():
    rows = [(["eten"], ["eten"], ["vol"])] * 3
    found = versus(rows, new=WITH_PARKING, volumes=["klant 0", "klant 1"]).volumes
    shown = {(v.view, v.label): (v.old, v.new) for v in found.labels}
    assert shown["irritation", "parkeren"] == (None, 2)
    assert shown["irritation", "smaak"] == (2, 0)


def test_as_many_questions_as_texts():
    with pytest.raises(ValueError, match="shorter"):
        versus([RIGHT], volumes=["klant 0", "klant 0"], questions=["?"])


# --- with a trained model ------------------------------------------------------------------


def test_a_trained_model_in_two_modes(tiny_trained):
    folder = tiny_trained.folder
    old, new = (Labeler.load(folder, mode=mode) for mode in ("streng", "ruim"))
    texts = read_corpus(folder.parent / "corpus.jsonl", old.model.taxonomy)
    stages = []
    progress = SimpleNamespace(
        begin=lambda stage, total: stages.append([stage, total, 0]),
        advance=lambda rows: stages[-1].__setitem__(2, stages[-1][2] + rows),
        end=lambda: stages.append("end"),
    )
    annotated = frozenset(old.model.taxonomy.names)
    found = compare(
        old,
        new,
        [HeldOut("alles", tuple(texts), annotated)],
        volumes=[t.text for t in texts],
        names=("nu", "straks"),
        progress=progress,
    )
    n = len(texts)
    assert stages == [["old model", n, n], ["new model", n, n], ["file", n, n], "end"]
    results = list(new.label_many([t.text for t in texts]))
    expected = evaluate(texts, results, new.model.taxonomy)
    for figure in found.together.figures:
        assert figure.new == pytest.approx(expected.figures[figure.name].value)
    assert {figure.name for figure in found.together.figures} == set(FIGURES)
    assert (found.old, found.new) == ("nu", "straks")
    for volume in found.volumes.of("irritation"):
        assert volume.new == sum(volume.label in result.irritations for result in results) > 0
    json.dumps(found.to_dict(texts=True))
