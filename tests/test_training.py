import json
import re

import pytest
from tests.conftest import ROOT, tiny_config, tiny_rows, write_jsonl

from druppel.errors import ConfigError
from druppel.labeler import Labeler
from druppel.training import Config, train


def folder_bytes(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_same_input_and_seed_give_the_same_folder(tmp_path, tiny_trained):
    again = train(Config.load(tiny_config(tmp_path)))
    assert folder_bytes(again.folder) == folder_bytes(tiny_trained.folder)


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
    figures = json.loads((folder / "metrics.json").read_text())["held_out"]["figures"]
    value, low, high = figures["irritation.micro"]
    assert 0 <= low <= value <= high <= 1
    card = (folder / "README.md").read_text()
    assert f"| irritation.micro | {value:.3f} |" in card


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
