import json
import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import ROOT

from druppel.errors import InputError, ModelError
from druppel.features import Batch
from druppel.labeler import Labeler
from druppel.model import MODES
from druppel.output import json_schema, table_columns
from druppel.segment import Segmenter

CASES = [
    json.loads(line)
    for line in (ROOT / "tests" / "cases" / "labels.jsonl").read_text("utf-8").splitlines()
]
ODD = {
    "empty": ("", None),
    "blank": (" \n\t ", None),
    "emoji": ("😡😡😡", None),
    "digits": ("12345", None),
    "control": ("\x00\x01\x07", None),
    "english": ("The delivery was late and nobody ever answers the phone", "en"),
    "german": ("Die Lieferung kam zu spät und niemand geht ans Telefon, nie wieder", "de"),
    "arabic": ("الخدمة سيئة جدا ولا أحد يجيب على الهاتف", "ar"),
}


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_plain_cases(labeler, case):
    result = labeler.label(case["text"])
    assert set(case["irritations"]) <= set(result.irritations)
    if not case["irritations"]:
        assert result.irritations == ()
    assert result.sentiment.label == case["sentiment"]


@pytest.mark.parametrize(("text", "language"), ODD.values(), ids=ODD)
def test_texts_without_dutch_words_get_empty_labels(labeler, text, language):
    result = labeler.label(text)
    assert (result.sentiment, result.aspects, result.signals) == (None, (), ())
    assert result.language == language
    assert result.review is (language is not None)


def test_opposite_polarities_of_one_text_both_come_out(labeler):
    result = labeler.label("Het eten was heerlijk. Maar de kamer was vies en het bed zakte door.")
    said = {a.polarity: a.evidence for a in result.aspects if a.leaf == "kwaliteit"}
    assert said["pos"].startswith("Het eten")
    assert said["neg"].startswith("Maar de kamer")


def test_the_question_decides_what_nothing_means(labeler, fast_labeler):
    for one in (labeler, fast_labeler):
        improve = one.label("Niets", "Wat kan er beter?")
        good = one.label("Niets", "Wat ging er goed?")
        assert improve.sentiment.score > good.sentiment.score
        assert improve.irritations == ()


def test_the_question_decides_the_polarity_of_a_bare_subject(labeler):
    assert labeler.label("De telefoon", "Wat kan er beter?").irritations == ("telefonie",)
    good = labeler.label("De telefoon", "Wat ging er goed?")
    assert good.irritations == ()
    assert good.sentiment.label == "positief"


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=200))
def test_any_string_is_labelled_and_keeps_the_contract(labeler, text):
    jsonschema = pytest.importorskip("jsonschema")
    result = labeler.label(text)
    jsonschema.validate(result.to_dict(), json_schema())
    for found in (*result.aspects, *result.signals):
        assert text[found.start : found.end] == found.evidence


def test_order_and_company_do_not_matter(labeler):
    texts = [case["text"] for case in CASES] + [text for text, _ in ODD.values()]
    together = list(labeler.label_many(texts))
    assert together == [labeler.label(text) for text in texts]
    assert list(labeler.label_many(reversed(texts))) == together[::-1]


def test_a_very_long_text(labeler):
    text = "De trein was weer te laat en de conducteur was onbeleefd. " * 1800
    result = labeler.label(text)
    assert len(text) > 100_000
    assert "product" in result.irritations


def test_company_does_not_change_a_bit_of_a_probability(labeler):
    texts = [case["text"] for case in CASES]
    segmenter = Segmenter()
    together = labeler.model.score(Batch.cut(texts, segmenter))
    alone = [labeler.model.score(Batch.cut([text], segmenter)) for text in texts]
    assert np.array_equal(together.texts, np.vstack([one.texts for one in alone]))
    assert np.array_equal(together.sentiments, np.vstack([one.sentiments for one in alone]))


def test_a_labeler_survives_pickling(labeler):
    again = pickle.loads(pickle.dumps(labeler.model))
    text = "Drie keer gebeld, niemand neemt op."
    assert Labeler(again).label(text) == labeler.label(text)


def test_explanation_tells_what_the_encoder_says(labeler, fast_labeler):
    text = "Ik hing een half uur in de wacht."
    by_label = {c.label: c.encoder for c in labeler.explain(text, limit=200).candidates}
    assert by_label["category:telefonie:neg"] > 2 * by_label["category:product:neg"]
    assert fast_labeler.explain(text).candidates[0].encoder is None


def test_modes_widen_and_narrow(labeler):
    texts = [case["text"] for case in CASES]
    given = {}
    for mode in MODES:
        results = Labeler(labeler.model, mode).label_many(texts)
        given[mode] = [{(a.category, a.polarity) for a in r.aspects} for r in results]
    counts = [sum(map(len, given[mode])) for mode in MODES]
    assert counts[0] > counts[1] > counts[2] > 0
    # A neutral mention may give way to praise or blame that is found as well.
    for generous, balanced in zip(given["ruim"], given["gebalanceerd"], strict=True):
        assert {a for a in balanced if a[1] != "neu"} <= generous


def test_an_unknown_mode_is_told(labeler):
    with pytest.raises(InputError, match="'mode' must be one of ruim, gebalanceerd, streng"):
        Labeler(labeler.model, "soepel")


def test_the_score_is_evidence(labeler, fast_labeler):
    for one in (labeler, fast_labeler):
        text = "Het was zoals verwacht."
        low, high = one.label(text, score=2), one.label(text, score=9)
        assert low.sentiment.score < high.sentiment.score
        assert one.label(text, score=float("nan")) == one.label(text, score=99) == one.label(text)


def test_questions_and_scores_must_match_the_texts(labeler):
    with pytest.raises(ValueError, match="shorter"):
        list(labeler.label_many(["a", "b"], scores=[1.0]))


def test_label_many_streams(labeler):
    def endless():
        while True:
            yield "goed geholpen"

    results = labeler.label_many(endless())
    assert next(results).sentiment.label == "positief"


def test_label_frame(labeler):
    frame = pd.DataFrame(
        {"antwoord": ["Veel te duur.", None, 7], "model": [1, 2, 3]}, index=[10, 20, 30]
    )
    labelled = labeler.label_frame(frame, text="antwoord")
    added = table_columns(labeler.model.taxonomy)
    assert list(labelled.columns) == ["antwoord", "model_input", *added]
    assert list(labelled.index) == [10, 20, 30]
    assert labelled.loc[10, "prijs"] == "neg"
    assert labelled.loc[10, "irritaties"] == "prijs"
    assert labelled["model_input"].tolist() == [1, 2, 3]
    assert labelled["sentiment"].notna().tolist() == [True, False, False]
    assert list(frame.columns) == ["antwoord", "model"]


def test_label_frame_reads_scores_with_a_decimal_comma(labeler):
    texts = ["Het was zoals verwacht."] * 3
    frame = pd.DataFrame({"antwoord": texts, "cijfer": ["2,5", "n.v.t.", 9]})
    score = labeler.label_frame(frame, text="antwoord", score="cijfer")["sentiment_score"]
    assert score[0] < score[1] < score[2]


def test_label_many_takes_generators(labeler):
    texts = ["Niets", "Niets"]
    questions = (q for q in ["Wat kan er beter?", None])
    scores = (s for s in [None, 2.0])
    many = list(labeler.label_many(iter(texts), questions, scores))
    assert many == [labeler.label("Niets", "Wat kan er beter?"), labeler.label("Niets", score=2.0)]


def test_label_frame_names_a_missing_column(labeler):
    with pytest.raises(InputError, match=r"No column 'tekst'. The columns are: a"):
        labeler.label_frame(pd.DataFrame({"a": ["x"]}), text="tekst")


def test_explanation_names_what_decided(labeler):
    explanation = labeler.explain("Ik hing een half uur in de wacht.")
    first = explanation.candidates[0]
    assert first.label.startswith(("leaf:wachttijd_telefoon:neg", "category:telefonie:neg"))
    assert first.probability >= first.threshold
    assert any("wacht" in term for term, weight in first.terms if weight > 0)
    assert sum(explanation.sentiments.values()) == pytest.approx(1, abs=1e-3)


def test_explanation_of_nothing(labeler):
    assert labeler.explain("").candidates == ()


def test_a_wrong_path_is_told(tmp_path):
    with pytest.raises(ModelError, match="no model there"):
        Labeler.load(tmp_path)
