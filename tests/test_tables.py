from decimal import Decimal

import pytest

from druppel.errors import InputError
from druppel.tables import Table, find_text_column, parse_score


def table_of(*rows):
    return Table("in.csv", list(rows[0]), "csv", lambda: iter([dict(row) for row in rows]))


@pytest.mark.parametrize(
    ("rows", "column"),
    [
        ([{"x": "1"}], "x"),
        ([{"id": "1", "Toelichting": "ja"}], "Toelichting"),
        ([{"nr": "1", "wat vindt u": "het duurde mij allemaal veel te lang"}], "wat vindt u"),
        ([{"reactie": "ok", "opmerking": "dit is een hele zin van mij"}], "opmerking"),
    ],
)
def test_obvious_text_column(rows, column):
    table = table_of(*rows)
    assert find_text_column(table, None) == column
    assert list(table.read()) == rows


@pytest.mark.parametrize("name", [None, "antwoord"])
def test_other_text_columns_are_asked_for(name):
    with pytest.raises(InputError, match="The columns are: id, nr"):
        find_text_column(table_of({"id": "1", "nr": "2"}), name)


@pytest.mark.parametrize(
    ("cell", "scale", "score"),
    [
        (7, 10, 7.0),
        ("7,5", 10, 7.5),
        (" 4.0 ", 5, 8.0),
        (Decimal("3.5"), 5, 7.0),
        (0, 10, 0.0),
        (11, 10, None),
        (-1, 10, None),
        ("1_0", 10, None),
        ("acht", 10, None),
        ("", 10, None),
        (None, 10, None),
        (True, 10, None),
        (10**400, 10, None),
        (float("nan"), 10, None),
    ],
)
def test_parse_score(cell, scale, score):
    assert parse_score(cell, scale) == score
