import numpy as np
import pytest

from druppel.corpus import GoldAspect, LabelledText
from druppel.evaluation import calibration_error, evaluate, review_curve
from druppel.result import Aspect, Result, Sentiment, Signal


def gold(aspects, sentiment="negatief", signals=()):
    aspects = tuple(GoldAspect(leaf, polarity) for leaf, polarity in aspects)
    return LabelledText("i", "t", aspects, sentiment, tuple(signals), None, None, None, "a:1")


def result(aspects, sentiment="negatief", signals=(), review=False):
    return Result(
        Sentiment(sentiment, 0.0) if sentiment else None,
        tuple(Aspect(c, leaf, p, 0.5, 0, 1, "t") for c, leaf, p in aspects),
        tuple(Signal(s, 0.5, 0, 1, "t") for s in signals),
        "nl",
        review,
        "m",
    )


@pytest.fixture
def outcome(tiny_taxonomy):
    texts = [
        gold([("in_de_rij", "neg"), ("eten", "pos")], "gemengd", ["weg"]),
        gold([("op_antwoord", "neg")]),
        gold([], "neutraal"),
        gold([("eten", "neg")]),
    ]
    results = [
        result([("wachten", "op_antwoord", "neg"), ("smaak", "eten", "pos")], "gemengd", ["weg"]),
        result([("wachten", None, "neg")]),
        result([("smaak", "eten", "neg")], "negatief", review=True),
        result([], None),
    ]
    return evaluate(texts, results, tiny_taxonomy)


@pytest.mark.parametrize(
    ("figure", "value"),
    [
        ("irritation.micro", 2 * 2 / (2 * 2 + 1 + 1)),
        ("leaf.micro", 0.0),
        ("aspect.micro", 2 * 3 / (2 * 3 + 1 + 1)),
        ("sentiment.accuracy", 0.5),
        ("signal.micro", 1.0),
    ],
)
def test_figures_by_hand(outcome, figure, value):
    assert outcome.figures[figure].value == pytest.approx(value)
    assert outcome.figures[figure].low <= value <= outcome.figures[figure].high


def test_labels_and_review(outcome):
    rows = {row.label: row for row in outcome.labels["irritation"]}
    assert (rows["wachten"].precision, rows["wachten"].recall, rows["wachten"].support) == (1, 1, 2)
    assert (rows["smaak"].precision, rows["smaak"].recall, rows["smaak"].support) == (0, 0, 1)
    assert outcome.review_share == 0.25


def test_macro_leaves_out_rare_labels(tiny_taxonomy):
    texts = [gold([("in_de_rij", "neg")])] * 5 + [gold([("eten", "neg")])]
    results = [result([("wachten", "in_de_rij", "neg")])] * 5 + [result([])]
    assert evaluate(texts, results, tiny_taxonomy).figures["irritation.macro"].value == 1.0


def test_perfect_and_empty_agreement(tiny_taxonomy):
    figures = evaluate([gold([])], [result([])], tiny_taxonomy).figures
    assert figures["irritation.micro"].value == 1.0


def test_calibration_error():
    truth = np.array([[1, 0], [1, 1]])
    assert calibration_error(np.full((2, 2), 0.75), truth) == 0.0
    assert calibration_error(np.full((2, 2), 0.25), truth) == 0.5


def test_precision_and_recall_of_irritations(outcome):
    assert outcome.precision == pytest.approx(2 / 3)
    assert outcome.recall == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("start", "end", "share"),
    [(0, 17, 1.0), (0, 4, 0.0), (4, 11, 1.0), (7, 17, 1.0), (11, 17, 0.0)],
)
def test_evidence_holds_half_of_the_gold(tiny_taxonomy, start, end, share):
    text = "een uur in de rij"
    aspect = GoldAspect("in_de_rij", "neg", "uur in")  # characters 4 to 10
    said = LabelledText("i", text, (aspect,), "negatief", (), None, None, None, "a:1")
    found = Aspect("wachten", "in_de_rij", "neg", 0.5, start, end, text[start:end])
    labelled = Result(Sentiment("negatief", 0.0), (found,), (), "nl", False, "m")
    figures = evaluate([said], [labelled], tiny_taxonomy).figures
    assert figures["evidence.overlap"].value == share


def test_evidence_is_left_out_where_none_is_annotated(tiny_taxonomy):
    figures = evaluate([gold([])], [result([])], tiny_taxonomy).figures
    assert "evidence.overlap" not in figures


def test_the_review_curve_drops_the_doubtful_first(tiny_taxonomy):
    texts = [gold([("in_de_rij", "neg")])] * 10
    wrong, right = result([], "positief"), result([("wachten", "in_de_rij", "neg")])
    doubts = np.array([0.9] * 3 + [0.1] * 7)
    curve = review_curve(texts, [wrong] * 3 + [right] * 7, doubts, tiny_taxonomy)
    by_share = {point.share: point for point in curve}
    assert by_share[0.0].sentiment == pytest.approx(0.7)
    assert by_share[0.3].irritation == by_share[0.3].sentiment == 1.0
