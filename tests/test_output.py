import pytest

from druppel.output import json_schema, keep_input_columns, notes, table_columns, to_row
from druppel.result import Aspect, Result, Sentiment, Signal


def aspect(category, leaf, polarity, start=0):
    return Aspect(category, leaf, polarity, 0.9, start, start + 1, "x")


@pytest.fixture
def result():
    return Result(
        Sentiment("gemengd", -0.256),
        (
            aspect("smaak", "eten", "pos"),
            aspect("smaak", "eten", "neg", 5),
            aspect("wachten", None, "neg", 9),
        ),
        (Signal("weg", 0.8, 0, 1, "x"),),
        "nl",
        True,
        "klein 0.1",
    )


def test_row_of_a_table(result, tiny_taxonomy):
    row = to_row(result, tiny_taxonomy)
    assert list(row) == table_columns(tiny_taxonomy)
    assert row == {
        "sentiment": "gemengd",
        "sentiment_score": -0.26,
        "irritaties": "smaak, wachten",
        "signalen": "weg",
        "controleren": True,
        "wachten": "neg",
        "smaak": "neg+pos",
        "aspecten": "eten:pos, eten:neg, wachten:neg",
        "bewijs": "eten: x | eten: x | wachten: x",
        "taal": "nl",
        "model": "klein 0.1",
    }


def test_row_of_an_empty_text(tiny_taxonomy):
    row = to_row(Result(None, (), (), None, False, "m"), tiny_taxonomy)
    assert row["sentiment"] is row["sentiment_score"] is row["taal"] is row["smaak"] is None
    assert row["irritaties"] == row["bewijs"] == ""


def test_dictionary_follows_the_schema(result):
    jsonschema = pytest.importorskip("jsonschema")
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(result.to_dict(), schema)
    assert set(result.to_dict()) == set(schema["required"])
    broken = {**result.to_dict(), "sentiment": {"label": "boos", "score": 0}}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, schema)


@pytest.mark.parametrize(
    ("columns", "kept"),
    [
        (["id", "tekst"], ["id", "tekst"]),
        (["taal"], ["taal_input"]),
        (["taal", "taal_input"], ["taal_input2", "taal_input"]),
    ],
)
def test_input_columns_are_never_lost(columns, kept):
    assert keep_input_columns(columns, ["taal", "model"]) == kept


def test_notes_explain_every_column_and_leaf(tiny_taxonomy):
    explained = {term for term, _ in notes(tiny_taxonomy)}
    assert set(table_columns(tiny_taxonomy)) <= explained
    assert {leaf.slug for leaf in tiny_taxonomy.leaves} <= explained
