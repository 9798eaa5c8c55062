import dataclasses
import json

import pytest
from tests.conftest import ROOT

from druppel.cases import CaseReport
from druppel.corpus import read_corpus
from druppel.evaluation import ProfileFigures, evaluate, review_curve
from druppel.labeler import Labeler
from druppel.model_card import model_card


@pytest.fixture(scope="module")
def parts(tiny_trained):
    labeler = Labeler.load(tiny_trained.folder)
    taxonomy = labeler.model.taxonomy
    texts = read_corpus(tiny_trained.folder.parent / "corpus.jsonl", taxonomy)
    results = list(labeler.label_many([text.text for text in texts]))
    evaluation = evaluate(texts, results, taxonomy)
    curve = review_curve(texts, results, [0.0] * len(texts), taxonomy)
    figures = ProfileFigures({"gebalanceerd": evaluation}, 0.0125, curve)
    metrics = {"n_train": 100, "n_test": 26, "corpus_sha256": "f" * 64, "n_seen_by_encoder": 7}
    return labeler.model, texts, figures, metrics


def test_a_card_without_encoder_and_cases(parts):
    model, texts, figures, metrics = parts
    card = model_card(model, texts, {"snel": figures}, {}, metrics)
    assert card.startswith("# klein 0.1\n")
    assert "126 texts: 100 to train on, 26 held out" in card
    assert "| calibration error of categories | 0.013 |" in card or "0.012" in card
    assert "| Wachten (`wachten`) |" in card
    assert "encoder" not in card
    assert "Challenge cases" not in card


def test_a_card_with_both_profiles_and_cases(parts):
    model, texts, figures, metrics = parts
    report = CaseReport({"rij": 1}, {"rij": 2}, {"c2": ["has wachten:neg"]})
    profiles = {"snel": figures, "nauwkeurig": dataclasses.replace(figures)}
    card = model_card(model, texts, profiles, {"snel": report, "nauwkeurig": report}, metrics)
    assert "has seen 7 texts" in card
    assert "| group | cases | snel | nauwkeurig |" in card
    assert "| rij | 2 | 50% | 50% |" in card
    assert "## Per category (nauwkeurig)" in card


def test_every_table_of_the_shipped_card_has_even_rows():
    card = (ROOT / "models" / "druppel-nl" / "README.md").read_text(encoding="utf-8")
    width = None
    for line in card.splitlines():
        if not line.startswith("|"):
            width = None
            continue
        cells = line.count("|")
        assert width in (None, cells), line
        width = cells


def test_the_shipped_card_and_metrics_agree():
    folder = ROOT / "models" / "druppel-nl"
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    card = (folder / "README.md").read_text(encoding="utf-8")
    for figures in metrics["profiles"].values():
        value, low, high = figures["modes"]["gebalanceerd"]["figures"]["leaf.micro"]
        assert f"{value:.3f} ({low:.3f} – {high:.3f})" in card
