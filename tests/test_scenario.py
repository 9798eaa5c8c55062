"""The whole story of a retraining analyst, with the installed command and the shipped model."""

import csv
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import openpyxl
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import MultiLabelBinarizer
from tests.conftest import ROOT

from druppel.corrections import MEASUREMENT
from druppel.labeler import Labeler
from druppel.project import Project

EXAMPLES = ROOT / "examples" / "retraining"
NEW_LEAF = """
[[label]]
slug = "bereikbaarheid_locatie"
name_nl = "Bereikbaarheid van de locatie"
name_en = "Access to the location"
definition = "De klant kan de locatie moeilijk bereiken of er niet parkeren."
counter_definition = ""
examples = []
seeds = []

[[label]]
slug = "parkeren"
parent = "bereikbaarheid_locatie"
name_nl = "Parkeren"
name_en = "Parking"
definition = "Geen, een te dure of een onhandige plek voor auto of fiets bij de locatie."
counter_definition = "Een boete die als verhaal verteld wordt."
examples = []
seeds = []
"""


def druppel(folder, *args):
    """Run the installed command in a folder."""
    command = shutil.which("druppel", path=str(Path(sys.executable).parent)) or "druppel"
    return subprocess.run(
        [command, *map(str, args)],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONUTF8": "1"},
        check=False,
    )


def done(folder, *args):
    """Run a command that must do it, and return what it printed."""
    finished = druppel(folder, *args)
    assert finished.returncode == 0, finished.stderr
    return finished


def examples(name):
    lines = (EXAMPLES / name).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def fill_in(folder, path, rows):
    """Fill the project's empty sheet in, as an analyst would."""
    taxonomy = tomllib.loads((folder / "taxonomie.toml").read_text(encoding="utf-8"))
    parent = {label["slug"]: label.get("parent") for label in taxonomy["label"]}
    book = openpyxl.load_workbook(folder / "correcties.xlsx")
    sheet = book["Beoordelen"]
    column = {cell.value: cell.column for cell in sheet[1]}
    column["deel"] = len(column) + 1
    sheet.cell(1, column["deel"], "deel")
    for number, row in enumerate(rows, start=2):
        values = {
            "tekst": row["text"],
            "vraag": row["question"],
            "cijfer": row["score"],
            "deel": row["part"],
            "sentiment": row["sentiment"],
            "gecontroleerd": "ja",
        }
        for i, aspect in enumerate(row["aspects"], start=1):
            leaf = aspect["leaf"]
            values[f"label {i}"] = f"{parent[leaf]}/{leaf}" if leaf in parent else leaf
            values[f"polariteit {i}"] = aspect["polarity"]
            values[f"bewijs {i}"] = aspect.get("evidence")
        for i, signal in enumerate(row["signals"], start=1):
            values[f"signaal {i}"] = signal
        for heading, value in values.items():
            if value is not None:
                sheet.cell(number, column[heading], value)
    book.save(path)


def cut_held_out(folder, size):
    """Keep a part of the frozen set, where a test is not about it, to save time."""
    path = folder / "meetset" / "meegeleverd.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(lines[:: max(len(lines) // size, 1)]), encoding="utf-8")


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    """A project with a leaf of its own and the jargon of one company, trained once."""
    folder = tmp_path_factory.mktemp("verhaal") / "mijn project"
    done(folder.parent, "init", folder.name, "--name", "bronwijk")
    taxonomy = folder / "taxonomie.toml"
    taxonomy.write_text(taxonomy.read_text(encoding="utf-8") + NEW_LEAF, encoding="utf-8")
    rows = examples("nieuw_blad.jsonl") + examples("systematisch.jsonl")
    spoilt = {**rows[0], "text": "Geen plek voor de auto, alweer niet.", "part": "training"}
    spoilt["aspects"] = [{"leaf": "parkeeren", "polarity": "neg"}]
    fill_in(folder, folder / "ingevuld.xlsx", [*rows, spoilt])
    added = druppel(folder, "corrections", "add", "ingevuld.xlsx", "--analyst", "noor")
    trained = done(folder, "train", "--note", "parkeren en jargon")
    compared = json.loads(
        done(folder, "compare", "huidig", "1", "--json", "--html", "vergelijking.html").stdout
    )
    return folder, added, trained, compared


def by_label(compared, view):
    return compared["together"]["labels"][view]


def test_a_wrong_cell_is_named_and_costs_only_its_row(story):
    folder, added, _, _ = story
    assert added.returncode == 1
    assert "parkeeren" in added.stderr
    assert "did you mean" in added.stderr
    assert "alweer niet" not in added.stderr
    listed = json.loads(done(folder, "corrections", "list", "--json").stdout)
    assert (listed["training"], listed["measurement"]) == (270, 240)


def test_a_new_leaf_is_found_and_nothing_else_suffers(story):
    folder, _, trained, compared = story
    assert "version 1 made from 270 decisions" in trained.stderr
    leaves, categories = by_label(compared, "leaf"), by_label(compared, "irritation")
    assert leaves["parkeren"]["new"] >= 0.6
    for label, row in categories.items():
        if row["old"] is not None and row["support"] >= 10:
            assert row["new"] - row["old"] > -0.02, label
    project = Project.load(folder)
    texts = next(one.texts for one in project.held_out() if one.name == "eigen meetset")
    bears = [any(a.leaf == "parkeren" for a in text.aspects) for text in texts]
    labeler = Labeler.load(project.registry.version(1).folder)
    found = [
        any(a.leaf == "parkeren" for a in result.aspects)
        for result in labeler.label_many(
            [t.text for t in texts], [t.question for t in texts], [t.score for t in texts]
        )
    ]
    assert f1_score(bears, found) >= 0.6


def test_jargon_raises_its_category(story):
    row = by_label(story[3], "irritation")["afspraken"]
    assert row["new"] - row["old"] > 0.05
    own = next(one for one in story[3]["sets"] if one["name"] == "eigen meetset")
    afspraken = own["labels"]["irritation"]["afspraken"]
    assert afspraken["new"] - afspraken["old"] > 0.3


def test_promote_label_refuse_and_roll_back(story):
    folder, _, _, compared = story
    assert compared["verdict"] == "beter"
    assert "<html" in (folder / "vergelijking.html").read_text(encoding="utf-8")
    cut_held_out(folder, 60)
    done(folder, "promote", "1", "--reason", "beter op ons jargon")
    text = "Alweer een blinde rit, niemand gezien.\n"
    (folder / "nieuw.txt").write_text(text, encoding="utf-8")
    result = json.loads(done(folder, "label", "nieuw.txt", "--model", ".", "-q").stdout)
    assert result["model"] == "bronwijk 1"
    assert "afspraken" in result["irritations"]
    refused = druppel(folder, "promote", "0")
    assert refused.returncode == 1
    assert "significantly worse" in refused.stderr
    assert "--force" in refused.stderr
    done(folder, "promote", "0", "--force")
    done(folder, "rollback")
    done(folder, "rollback")
    listed = json.loads(done(folder, "models", "list", "--json").stdout)
    assert [v["number"] for v in listed["versions"] if v["current"]] == [0]
    assert druppel(folder, "rollback").returncode == 1


def test_review_doctor_and_migrate(story, tmp_path):
    folder = story[0]
    answers = [
        {"antwoord": row["text"]} for row in examples("systematisch.jsonl") if row["id"] < "sy-t050"
    ]
    with (tmp_path / "antwoorden.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["antwoord"])
        writer.writeheader()
        writer.writerows([*answers, *({"antwoord": f"{text} {i}"} for i, text in _answers())])
    picked = done(folder, "review", tmp_path / "antwoorden.csv", "--size", "8", "-o", "kijk.xlsx")
    assert "8 answers to look at" in picked.stderr
    sheet = openpyxl.load_workbook(folder / "kijk.xlsx")["Beoordelen"]
    heading = [cell.value for cell in sheet[1]]
    parts = [row[heading.index("deel")] for row in sheet.iter_rows(2, 9, values_only=True)]
    assert parts.count(MEASUREMENT) == 2
    again = druppel(folder, "review", tmp_path / "antwoorden.csv", "-o", "kijk.xlsx")
    assert "exists already" in again.stderr
    for row in range(2, 6):
        sheet.cell(row, heading.index("gecontroleerd") + 1, "ja")
        sheet.cell(row, heading.index("sentiment") + 1, "neutraal")
        for name in heading:
            if name and name.startswith(("label", "polariteit", "bewijs", "signaal")):
                sheet.cell(row, heading.index(name) + 1).value = None
    sheet.parent.save(folder / "kijk.xlsx")
    added = done(folder, "corrections", "add", "kijk.xlsx", "--analyst", "noor")
    assert "4 decisions as batch 2" in added.stderr
    done(folder, "corrections", "withdraw", "2")
    (folder / "plan.toml").write_text(
        '[[rename]]\nfrom = "parkeren"\nto = "parkeerplek"\n', encoding="utf-8"
    )
    before = (folder / "taxonomie.toml").read_text(encoding="utf-8")
    done(folder, "taxonomy", "migrate", "plan.toml", "--dry-run")
    assert (folder / "taxonomie.toml").read_text(encoding="utf-8") == before
    done(folder, "taxonomy", "migrate", "plan.toml")
    project = Project.load(folder)
    assert project.counts()["parkeerplek"] == 30
    assert project.renamed == {}


def _answers():
    places = ["in de hal", "bij de balie", "aan de telefoon", "op de site", "in de app"]
    for i in range(30):
        yield i, f"Het duurde {places[i % 5]} langer dan afgesproken, keer"


def test_a_taxonomy_of_ones_own_beats_words_alone(tmp_path):
    """A two-level taxonomy of another domain, from a table of 640 labelled texts."""
    source = ROOT / "examples" / "servicedesk.csv"
    begun = done(tmp_path, "init", "desk", "--examples", source, "--text-column", "tekst")
    assert "8 categories and 27 leaves" in begun.stderr
    folder = tmp_path / "desk"
    done(folder, "train")
    project = Project.load(folder)
    (held_out,) = project.held_out()
    labeler = Labeler.load(project.registry.version(1).folder)
    results = labeler.label_many(text.text for text in held_out.texts)
    found = [{a.leaf for a in result.aspects if a.leaf} for result in results]
    leaves = [leaf.slug for leaf in project.taxonomy.leaves]
    binarizer = MultiLabelBinarizer(classes=leaves)
    truth = binarizer.fit_transform([{a.leaf for a in t.aspects} for t in held_out.texts])
    ours = f1_score(truth, binarizer.transform(found), average="macro", zero_division=0)
    assert ours >= _words_alone(project, binarizer, held_out, truth) + 0.05


def _words_alone(project, binarizer, held_out, truth):
    """Macro F1 of TF-IDF of words with the best threshold by cross-validation."""
    own = project.material().own
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    X = vectorizer.fit_transform([text.text for text in own])
    Y = binarizer.transform([{a.leaf for a in text.aspects} for text in own])
    folds = KFold(3, shuffle=True, random_state=0)
    best = 0.0, 0.5, 1.0
    for C in (1.0, 10.0, 100.0):
        classifier = OneVsRestClassifier(LogisticRegression(C=C))
        odds = cross_val_predict(classifier, X, Y, cv=folds, method="predict_proba")
        for threshold in np.arange(0.05, 0.55, 0.05):
            f1 = f1_score(Y, odds >= threshold, average="macro", zero_division=0)
            best = max(best, (f1, threshold, C))
    _, threshold, C = best
    classifier = OneVsRestClassifier(LogisticRegression(C=C)).fit(X, Y)
    guess = classifier.predict_proba(vectorizer.transform([t.text for t in held_out.texts]))
    return f1_score(truth, guess >= threshold, average="macro", zero_division=0)
