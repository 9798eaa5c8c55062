import json
import re
import shutil

import numpy as np
import pytest
from tests.conftest import ROOT, tiny_config, tiny_rows, write_jsonl

from druppel.corpus import text_digest
from druppel.errors import ConfigError, CorpusError
from druppel.labeler import Labeler
from druppel.model import MODES
from druppel.store import load_model
from druppel.training import Config, generous_threshold, strict_threshold, train


def folder_bytes(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_same_input_and_seed_give_the_same_folder(tmp_path, tiny_trained):
    again = train(Config.load(tiny_config(tmp_path)))
    assert folder_bytes(again.folder) == folder_bytes(tiny_trained.folder)


def test_the_same_with_an_encoder(tmp_path, tiny_encoded):
    encoder = str(ROOT / "models" / "druppel-nl")
    again = train(Config.load(tiny_config(tmp_path, encoder=encoder)))
    changed = {"config.toml", "model.json"}  # they hold the path of the encoder, or its checksum
    one, other = folder_bytes(again.folder), folder_bytes(tiny_encoded.folder)
    assert {k: v for k, v in one.items() if k not in changed} == {
        k: v for k, v in other.items() if k not in changed
    }
    assert (again.folder / "encoder.onnx").is_file()


def test_a_model_with_an_encoder_has_both_profiles(tiny_encoded):
    for profile in ("nauwkeurig", "snel"):
        labeler = Labeler.load(tiny_encoded.folder, profile=profile)
        assert labeler.model.profile == profile
        assert labeler.label("lange rij bij de kassa").irritations == ("wachten",)
    card = (tiny_encoded.folder / "README.md").read_text()
    assert "multilingual-e5-small" in card


def test_the_figures_never_rest_on_texts_that_the_encoder_saw(tmp_path, tiny_encoded):
    author = {row["id"]: row["author"] for row in tiny_rows()}
    text = {row["id"]: row["text"] for row in tiny_rows()}
    first = json.loads((tiny_encoded.folder / "metrics.json").read_text())["test_ids"]
    barred = author[first[0]]
    folder = shutil.copytree(tiny_encoded.folder, tmp_path / "encoder")
    seen = [text_digest(text[i]) for i, name in author.items() if name == barred]
    (folder / "encoder-seen.txt").write_text("".join(f"{s}\n" for s in seen))
    path = tiny_config(tmp_path, encoder=str(folder))
    metrics = json.loads((train(Config.load(path)).folder / "metrics.json").read_text())
    assert barred not in {author[i] for i in metrics["test_ids"]}
    assert metrics["n_seen_by_encoder"] == len(seen)


def test_the_cases_stand_in_the_model_card(tmp_path):
    rows = [
        {"id": "c1", "group": "rij", "text": "lange rij bij de kassa", "expect": ["wachten:neg"]},
        {"id": "c2", "group": "rij", "text": "lange rij bij de kassa", "forbid": ["wachten:neg"]},
    ]
    path = tiny_config(tmp_path, cases="gevallen.jsonl")
    write_jsonl(tmp_path / "gevallen.jsonl", rows)
    folder = train(Config.load(path)).folder
    card = (folder / "README.md").read_text()
    assert "| rij | 2 | 50% |" in card
    assert "Known failures of `snel`: c2." in card
    report = json.loads((folder / "metrics.json").read_text())["cases"]["snel"]
    assert report["failures"] == {"c2": ["has wachten:neg"]}


def test_a_bad_case_is_told_before_the_work(tmp_path):
    path = tiny_config(tmp_path, cases="gevallen.jsonl")
    write_jsonl(tmp_path / "gevallen.jsonl", [{"id": "c1", "group": "rij", "text": "lange rij"}])
    told = []
    with pytest.raises(CorpusError, match="demands nothing"):
        train(Config.load(path), progress=told.append)
    assert told == []


def test_thresholds_rise_from_generous_to_strict(tiny_encoded):
    model = load_model(tiny_encoded.folder)
    for made in model.decisions.values():
        generous, balanced, strict = (made.thresholds[mode] for mode in MODES)
        assert (generous <= balanced).all()
        assert (balanced <= strict).all()


def test_a_generous_threshold_finds_nine_in_ten_and_a_strict_one_is_right_as_often():
    rng = np.random.default_rng(0)
    truth = (rng.random((4000, 1)) < 0.2).astype(int)
    probability = np.clip(0.6 * truth + rng.normal(0.2, 0.2, truth.shape), 0.001, 0.999)
    generous = generous_threshold(probability, truth)
    assert (probability[truth == 1] >= generous).mean() == pytest.approx(0.9, abs=0.01)
    strict = strict_threshold(probability, truth)
    assert truth[probability >= strict].mean() >= 0.9
    assert truth[probability >= strict - 0.02].mean() < 0.92


def test_the_model_learned_its_categories(tiny_trained):
    labeler = Labeler.load(tiny_trained.folder)
    result = labeler.label("De soep was lekker, maar lange rij bij de kassa.")
    found = {(a.leaf, a.polarity): a.evidence for a in result.aspects}
    assert found[("eten", "pos")] == "De soep was lekker,"
    assert found[("in_de_rij", "neg")] == "maar lange rij bij de kassa."
    assert result.irritations == ("wachten",)
    assert result.model == "klein 0.1"


def test_held_out_authors_are_not_trained_on(tiny_trained):
    metrics = json.loads((tiny_trained.folder / "metrics.json").read_text())
    author = {row["id"]: row["author"] for row in tiny_rows()}
    held_out = {author[i] for i in metrics["test_ids"]}
    assert len(metrics["test_ids"]) == sum(a in held_out for a in author.values())
    assert metrics["n_train"] + metrics["n_test"] == len(author)
    assert tiny_trained.n_test == metrics["n_test"] > 0


def test_the_folder_carries_its_config_figures_and_card(tiny_trained):
    folder = tiny_trained.folder
    assert 'name = "klein"' in (folder / "config.toml").read_text()
    profiles = json.loads((folder / "metrics.json").read_text())["profiles"]
    assert set(profiles) == {"snel"}
    assert set(profiles["snel"]["modes"]) == {"ruim", "gebalanceerd", "streng"}
    figures = profiles["snel"]["modes"]["gebalanceerd"]["figures"]
    value, low, high = figures["irritation.micro"]
    assert 0 <= low <= value <= high <= 1
    card = (folder / "README.md").read_text()
    assert f"| irritation.micro | {value:.3f} ({low:.3f} – {high:.3f}) |" in card


def test_texts_of_one_author_need_the_group_switched_off(tmp_path):
    config = Config.load(tiny_config(tmp_path))
    rows = [{**row, "author": "een"} for row in tiny_rows()]
    write_jsonl(tmp_path / "corpus.jsonl", rows)
    with pytest.raises(ConfigError, match="group_by_author = false"):
        train(config)
    assert not config.output.exists()
    other = tmp_path / "zonder"
    other.mkdir()
    path = tiny_config(other, group_by_author=False)
    write_jsonl(other / "corpus.jsonl", rows)
    assert train(Config.load(path)).n_test > 0


def test_an_existing_model_is_kept(tmp_path, tiny_trained):
    config = Config.load(tiny_config(tmp_path))
    config.output.mkdir()
    with pytest.raises(ConfigError, match="exists already"):
        train(config)


@pytest.mark.parametrize(
    ("pattern", "line", "words"),
    [
        (r"folds = .*", "", "lacks folds"),
        (r"folds = .*", "folds = 1", "'folds' must be at least 2, got 1"),
        (r"folds = .*", 'folds = "3"', "'folds' must be int"),
        (r"folds = .*", "folds = 3\nfoldz = 3", "unknown key 'foldz'; did you mean 'folds'"),
        (r"test_share = .*", "test_share = 2", "'test_share' must be between 0 and 0.9"),
        (r"random_state = .*", "random_state = -1", "'random_state' must be between"),
        (r"aspect_c = .*", "aspect_c = 1e308", "'aspect_c' must be above 0"),
        (r"dense_c = .*", "dense_c = 0", "'dense_c' must be above 0"),
        (r"review_share = .*", "review_share = 1", "'review_share' must be at least 0"),
        (r"encoder = .*", "encoder = 3", "'encoder' must be"),
        (r"word_ngrams = .*", "word_ngrams = [2, 1]", r"must be \[low, high\]"),
        (r"word_ngrams = .*", "word_ngrams = [1]", "'word_ngrams' must be"),
        (r"folds = .*", "folds 3", "not valid TOML"),
    ],
)
def test_a_bad_configuration_is_told(tmp_path, pattern, line, words):
    path = tiny_config(tmp_path)
    path.write_text(re.sub(pattern, line, path.read_text()), encoding="utf-8")
    with pytest.raises(ConfigError, match=words):
        Config.load(path)


def test_a_missing_configuration_is_told(tmp_path):
    with pytest.raises(ConfigError, match="cannot read the configuration"):
        Config.load(tmp_path / "weg.toml")


def test_the_shipped_model_was_made_with_the_shipped_files():
    folder = ROOT / "models" / "druppel-nl"
    for name, source in (
        ("config.toml", ROOT / "training" / "config.toml"),
        ("taxonomy.toml", ROOT / "src" / "druppel" / "resources" / "taxonomy.toml"),
    ):
        assert (folder / name).read_text() == source.read_text()


@pytest.mark.parametrize("kept", [("negatief",), ("negatief", "positief")])
def test_a_corpus_may_lack_sentiments(tmp_path, kept):
    path = tiny_config(tmp_path)
    write_jsonl(tmp_path / "corpus.jsonl", [r for r in tiny_rows() if r["sentiment"] in kept])
    labeler = Labeler.load(train(Config.load(path)).folder)
    assert labeler.label("geen reactie op mijn mail").sentiment.label == "negatief"
    if "positief" in kept:
        assert labeler.label("heerlijk gegeten, lekker").sentiment.label == "positief"


@pytest.mark.parametrize("output", [".", "..", "corpus.jsonl"])
def test_the_output_never_replaces_its_own_sources(tmp_path, output):
    folder = tmp_path / "project"
    folder.mkdir()
    config = Config.load(tiny_config(folder, output=output))
    before = {path.name for path in folder.iterdir()}
    with pytest.raises(ConfigError, match="choose another output"):
        train(config, force=True)
    assert {path.name for path in folder.iterdir()} == before


def test_no_common_term_is_told(tmp_path):
    with pytest.raises(ConfigError, match="lower 'min_texts'"):
        train(Config.load(tiny_config(tmp_path, min_texts=1000)))
