import pytest
from tests.conftest import ROOT, write_jsonl

from druppel.cases import Case, found_labels, read_cases, run_cases
from druppel.errors import CorpusError
from druppel.labeler import Labeler
from druppel.result import Aspect, Result, Sentiment, Signal
from druppel.taxonomy import Taxonomy

GOOD = {"id": "a", "group": "g", "text": "lange rij", "expect": ["in_de_rij:neg"]}
QUEUE = Result(
    Sentiment("negatief", -0.5),
    (Aspect("wachten", "in_de_rij", "neg", 0.9, 0, 9, "lange rij"),),
    (Signal("weg", 0.9, 0, 9, "lange rij"),),
    "nl",
    False,
    "m",
)


def demand(**demands):
    chosen = {key: frozenset(demands.get(key, ())) for key in ("expect", "forbid", "sentiment")}
    return Case("a", "g", "lange rij", None, None, **chosen)


@pytest.mark.parametrize(
    ("demands", "wrong"),
    [
        ({"expect": ["in_de_rij:neg", "wachten:neg", "weg"]}, []),
        ({"expect": ["eten:neg"]}, ["lacks eten:neg"]),
        ({"forbid": ["*:neg"]}, ["has *:neg"]),
        ({"forbid": ["eten:neg", "wachten:pos"]}, []),
        ({"forbid": ["weg"], "sentiment": ["positief"]}, ["has weg", "sentiment negatief"]),
        ({"sentiment": ["negatief", "gemengd"]}, []),
    ],
)
def test_what_a_case_demands(demands, wrong):
    assert demand(**demands).failures(QUEUE) == wrong


def test_a_text_without_labels_meets_no_sentiment():
    nothing = Result(None, (), (), "en", True, "m")
    assert found_labels(nothing) == set()
    assert demand(sentiment=["neutraal"]).failures(nothing) == ["sentiment None"]


def test_the_report_counts_by_group(tiny_trained):
    labeler = Labeler.load(tiny_trained.folder)
    cases = [
        Case("1", "rij", "lange rij bij de kassa", None, None, *_sets(["in_de_rij:neg"], [])),
        Case("2", "rij", "lange rij bij de kassa", None, None, *_sets([], ["*:neg"])),
        Case("3", "niets", "geen opmerkingen", None, None, *_sets([], ["*:neg"])),
    ]
    report = run_cases(cases, labeler)
    assert report.total == {"rij": 2, "niets": 1}
    assert report.passed == {"rij": 1, "niets": 1}
    assert report.failures == {"2": ["has *:neg"]}
    assert report.share == pytest.approx(2 / 3)


def _sets(expect, forbid):
    return frozenset(expect), frozenset(forbid), frozenset()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"expect": ["in_de_rijj:neg"]}, "unknown label 'in_de_rijj:neg'; did you mean"),
        ({"expect": ["in_de_rij"]}, "unknown label 'in_de_rij'"),
        ({"expect": []}, "demands nothing"),
        ({"expect": [3]}, "'expect' must be a list of labels"),
        ({"sentiment": "boos"}, "sentiment must be one of"),
        ({"text": ""}, "'text' must be text"),
        ({"score": 12}, "'score' must be a grade"),
        ({"question": 1}, "'question' must be text"),
        ({"id": "b"}, "stands twice"),
    ],
)
def test_a_bad_case_is_named_with_its_line(tmp_path, tiny_taxonomy, change, words):
    path = write_jsonl(tmp_path / "c.jsonl", [{**GOOD, "id": "b"}, {**GOOD, **change}])
    with pytest.raises(CorpusError) as caught:
        read_cases(path, tiny_taxonomy)
    assert f"{path}:2: " in str(caught.value)
    assert words in str(caught.value)


def test_the_shipped_cases_are_enough_in_every_group():
    cases = read_cases(ROOT / "training" / "cases", Taxonomy.load())
    counts = {}
    for case in cases:
        counts[case.group] = counts.get(case.group, 0) + 1
    assert len(counts) == 11
    assert len(cases) >= 300
    assert min(counts.values()) >= 20
    tested = {label.partition(":")[0] for case in cases for label in case.expect}
    parent = Taxonomy.load().parent
    assert {parent.get(label, label) for label in tested} >= set(parent.values())
