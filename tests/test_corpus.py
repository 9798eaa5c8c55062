import json

import pytest
from tests.conftest import tiny_rows, write_jsonl

from druppel.corpus import check_corpus, groups, near_duplicates, read_corpus
from druppel.errors import CorpusError

GOOD = {
    "id": "1",
    "text": "een uur in de rij",
    "aspects": [{"leaf": "in_de_rij", "polarity": "neg", "evidence": "een uur"}],
    "sentiment": "negatief",
    "signals": ["weg"],
}


def test_reads_rows_and_where_they_stand(tmp_path, tiny_taxonomy):
    path = write_jsonl(tmp_path / "a.jsonl", [GOOD])
    (text,) = read_corpus(path, tiny_taxonomy)
    assert text.where == f"{path}:1"
    assert text.aspects[0].evidence == "een uur"
    assert text.question is None


def test_reads_a_folder_in_the_order_of_names(tmp_path, tiny_taxonomy):
    write_jsonl(tmp_path / "b.jsonl", [{**GOOD, "id": "b"}])
    write_jsonl(tmp_path / "a.jsonl", [{**GOOD, "id": "a"}])
    assert [t.id for t in read_corpus(tmp_path, tiny_taxonomy)] == ["a", "b"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"aspects": [{"leaf": "in_de_rijj", "polarity": "neg"}]}, "did you mean 'in_de_rij'"),
        ({"aspects": [{"leaf": "wachten", "polarity": "neg"}]}, "unknown leaf 'wachten'"),
        ({"aspects": [{"leaf": "eten", "polarity": "slecht"}]}, "polarity must be one of"),
        ({"aspects": [{"leaf": "eten"}]}, "must have 'leaf' and 'polarity'"),
        (
            {"aspects": [{"leaf": "eten", "polarity": "neg", "evidence": "twee uur"}]},
            "evidence of eten is not literally in the text",
        ),
        ({"aspects": [{"leaf": "eten", "polarity": "neg"}] * 2}, "stands twice"),
        ({"aspects": "eten"}, "must be lists"),
        ({"aspects": [{"leaf": ["x"], "polarity": "neg"}]}, "unknown leaf"),
        ({"signals": [["x"]]}, "unknown signal"),
        ({"sentiment": "boos"}, "sentiment must be one of"),
        ({"signals": ["wegg"]}, "did you mean 'weg'"),
        ({"text": "  "}, "'text' must be text"),
        ({"id": 3}, "'id' must be text"),
        ({"question": 3}, "'question' must be text"),
        ({"score": 11}, "'score' must be a grade from 0 to 10"),
        ({"score": "7"}, "'score' must be a grade from 0 to 10"),
        ({"score": True}, "'score' must be a grade from 0 to 10"),
    ],
)
def test_a_bad_row_is_named_with_its_line(tmp_path, tiny_taxonomy, change, words):
    path = write_jsonl(tmp_path / "a.jsonl", [GOOD, {**GOOD, "id": "2", **change}])
    with pytest.raises(CorpusError) as caught:
        read_corpus(path, tiny_taxonomy)
    assert f"{path}:2: " in str(caught.value)
    assert words in str(caught.value)
    assert GOOD["text"] not in str(caught.value)


def test_all_bad_rows_are_reported_together(tmp_path, tiny_taxonomy):
    path = tmp_path / "a.jsonl"
    lines = ["{", "[]", '{"id": "1"}', json.dumps(GOOD), json.dumps(GOOD)]
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(CorpusError) as caught:
        read_corpus(path, tiny_taxonomy)
    message = str(caught.value)
    assert "a.jsonl:1: not JSON" in message
    assert "a.jsonl:2: a line must be a JSON object" in message
    assert "a.jsonl:3: lacks text" in message
    assert f"a.jsonl:5: id '1' stands at {path}:4 too" in message


def test_nothing_there(tmp_path, tiny_taxonomy):
    with pytest.raises(CorpusError, match=r"no \.jsonl file"):
        read_corpus(tmp_path, tiny_taxonomy)


def test_near_duplicates_are_found_and_short_ones_only_when_equal():
    texts = [
        "de monteur kwam gisteren weer niet opdagen bij mij thuis",
        "De monteur kwam gisteren weer niet opdagen, bij mij thuis!",
        "de monteur kwam vandaag weer niet opdagen bij mij thuis",
        "goed geholpen",
        "Goed geholpen!",
        "goede hulp",
        "???",
        "👍",
    ]
    pairs = {(a, b) for a, b, _ in near_duplicates(texts)}
    assert pairs == {(0, 1), (0, 2), (1, 2), (3, 4)}


def test_groups_keep_authors_and_copies_together(tmp_path, tiny_taxonomy):
    rows = [
        {**GOOD, "id": "1", "author": "a", "text": "een uur in de rij gestaan bij loket vier"},
        {**GOOD, "id": "2", "author": "a", "text": "een uur, iets heel anders"},
        {**GOOD, "id": "3", "author": "b", "text": "een uur in de rij gestaan bij loket vijf"},
        {**GOOD, "id": "4", "author": "c", "text": "een uur, top"},
        {**GOOD, "id": "5", "author": "d", "text": "een uur, top"},
        {**GOOD, "id": "6", "text": "een uur zonder schrijver"},
        {**GOOD, "id": "7", "author": "b", "text": "een uur van b zelf, en alleen van b"},
    ]
    group = groups(read_corpus(write_jsonl(tmp_path / "a.jsonl", rows), tiny_taxonomy))
    assert group.tolist() == [0, 0, 0, 1, 2, 3, 4]


def test_check_counts_and_warns(tmp_path, tiny_taxonomy):
    rows = [
        *tiny_rows(),
        {**GOOD, "id": "x", "sentiment": "positief"},
        {**GOOD, "id": "y"},
    ]
    path = write_jsonl(tmp_path / "a.jsonl", rows)
    report = check_corpus(path, tiny_taxonomy, min_examples=30)
    n = len(tiny_rows())
    assert report.n_texts == n + 2
    assert report.aspects["in_de_rij", "neg"] == 38
    assert report.n_without_aspect == 18
    assert report.problems == [
        f"{path}:{n + 2}: the same text as {path}:{n + 1} with other labels. Keep one."
    ]
    assert f"{path}:{n + 1}: positief with only neg aspects; is it so?" in report.warnings
    assert "op_antwoord: 18 neg examples, 30 needed." in report.warnings
