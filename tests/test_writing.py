import json
from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.test_reading import read

from druppel.errors import InputError
from druppel.tables import Layout
from druppel.writing import write_table

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40)


@pytest.mark.parametrize("cell", ["=1+1", "+31 6", "-geen", "@jan", "\tx"])
def test_formulas_stay_text_in_csv(tmp_path, cell):
    path = tmp_path / "uit.csv"
    write_table(path, [{"a": cell}], Layout(["a"]), format="csv")
    assert read(path)[1][0]["a"][0] == "'"


@pytest.mark.parametrize("cell", ["-5", "+3,5", "-1.000,00", "gewoon"])
def test_numbers_and_words_are_untouched_in_csv(tmp_path, cell):
    path = tmp_path / "uit.csv"
    write_table(path, [{"a": cell}], Layout(["a"]), format="csv")
    assert read(path)[1] == [{"a": cell}]


def test_formulas_stay_text_in_a_workbook(tmp_path):
    path = tmp_path / "uit.xlsx"
    write_table(path, [{"a": "=1+1", "b": "http://x.nl"}], Layout(["a", "b"]), format="xlsx")
    assert read(path)[1] == [{"a": "=1+1", "b": "http://x.nl"}]


def test_a_cell_that_is_too_long_for_excel_is_cut_and_told(tmp_path):
    path = tmp_path / "uit.xlsx"
    told = []
    write_table(path, [{"a": "x" * 40_000}], Layout(["a"]), format="xlsx", warn=told.append)
    assert len(read(path)[1][0]["a"]) == 32_767
    assert "row 1, column 'a'" in told[0]


def test_decimal_comma_goes_with_the_semicolon(tmp_path):
    path = tmp_path / "uit.csv"
    write_table(path, [{"a": -0.5}], Layout(["a"], delimiter=";", bom=True), format="csv")
    assert path.read_bytes() == b"\xef\xbb\xbfa\n-0,5\n"


@pytest.mark.parametrize("format", ["csv", "jsonl", "xlsx", "parquet"])
def test_a_failure_leaves_nothing_behind(tmp_path, format):
    if format == "parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"uit.{format}"
    path.write_text("van vroeger")

    def rows():
        yield {"a": "1"}
        msg = "kapot"
        raise RuntimeError(msg)

    with pytest.raises(RuntimeError, match="kapot"):
        write_table(path, rows(), Layout(["a"]), format=format)
    assert path.read_text() == "van vroeger"
    assert list(tmp_path.iterdir()) == [path]


def test_an_unwritable_folder_is_told(tmp_path):
    with pytest.raises(InputError, match="cannot write there"):
        write_table(tmp_path / "weg" / "uit.csv", [], Layout(["a"]), format="csv")


@pytest.mark.parametrize("format", ["csv", "jsonl", "xlsx", "parquet"])
@settings(max_examples=25, deadline=None)
@given(rows=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=5))
def test_round_trip(tmp_path_factory, format, rows):
    if format == "parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path_factory.mktemp("rond") / f"uit.{format}"
    written = [{"id": f"x{i}", "a": a, "b": f"b {b}"} for i, (a, b) in enumerate(rows)]
    write_table(path, written, Layout(["id", "a", "b"]), format=format)
    _, back = read(path)
    assert len(back) == len(written)
    for old, new in zip(written, back, strict=True):
        for key, value in old.items():
            found = new[key] if new[key] is not None else ""
            assert found in (value, "'" + value), (format, key)


def test_half_a_surrogate_pair_does_not_break_the_output(tmp_path):
    for format in ("csv", "jsonl", "xlsx"):
        path = tmp_path / f"uit.{format}"
        write_table(path, [{"a": "x\ud83dy"}], Layout(["a"]), format=format)
        assert read(path)[1][0]["a"] in ("x\ufffdy", "x\ud83dy")


def test_parquet_types_survive(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    table = pa.table({"id": pa.array([1, 2], pa.int16()), "text": ["a", None]})
    pq.write_table(table, tmp_path / "in.parquet")
    opened, rows = read(tmp_path / "in.parquet")
    layout = Layout(["id", "text", "nieuw"], schema=opened.schema)
    written = [{**row, "nieuw": [1, {"a": None}]} for row in rows]
    write_table(tmp_path / "uit.parquet", written, layout, format="parquet")
    back = pq.read_table(tmp_path / "uit.parquet")
    assert back.schema.field("id").type == pa.int16()
    assert back["text"].to_pylist() == ["a", None]
    assert json.loads(back["nieuw"][0].as_py()) == [1, {"a": None}]


def test_values_that_excel_cannot_hold_stay_whole(tmp_path):
    path = tmp_path / "uit.xlsx"
    values = {
        "lang": 123456789012345678,
        "oud": datetime(1850, 5, 1),
        "bytes": b"abc",
        "moment": datetime(2026, 9, 1, 14, 30),
        "jaar": 2024,
    }
    write_table(path, [values], Layout([*values]), format="xlsx")
    (row,) = read(path)[1]
    assert row["lang"] == "123456789012345678"
    assert row["oud"].startswith("1850-05-01")
    assert row["bytes"] == "abc"
    assert row["moment"] == datetime(2026, 9, 1, 14, 30)
    assert row["jaar"] == 2024


def test_a_folder_is_no_target(tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        write_table(tmp_path, [], Layout(["a"]), format="csv")


def test_a_carriage_return_stays_within_its_cell(tmp_path):
    path = tmp_path / "uit.csv"
    write_table(path, [{"a": "prima\rgoed", "b": "x"}], Layout(["a", "b"]), format="csv")
    assert path.read_bytes() == b'a,b\n"prima\rgoed",x\n'
    assert read(path)[1] == [{"a": "prima\rgoed", "b": "x"}]


def test_json_lines_hold_no_nan(tmp_path):
    path = tmp_path / "uit.jsonl"
    row = {"a": float("nan"), "b": [float("inf"), {"c": 1.5}]}
    write_table(path, [row], Layout([]), format="jsonl")
    assert json.loads(path.read_text(), parse_constant=lambda _: 1 / 0) == {
        "a": None,
        "b": [None, {"c": 1.5}],
    }


def test_days_and_moments_in_one_column(tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    pyreadstat = pytest.importorskip("pyreadstat")
    rows = [{"m": date(2026, 1, 1)}, {"m": datetime(2026, 1, 2, 13, 5)}, {"m": None}]
    layout = Layout(["m"], kinds={"m": {date, datetime}})
    write_table(tmp_path / "uit.parquet", rows, layout, format="parquet")
    moments = [datetime(2026, 1, 1), datetime(2026, 1, 2, 13, 5), None]
    assert pq.read_table(tmp_path / "uit.parquet")["m"].to_pylist() == moments
    write_table(tmp_path / "uit.sav", rows, layout, format="sav")
    cells, meta = pyreadstat.read_sav(str(tmp_path / "uit.sav"), output_format="dict")
    assert cells["m"] == moments
    assert meta.original_variable_types["m"].startswith("DATETIME")


def test_amounts_and_durations_are_numbers_in_spss(tmp_path):
    pyreadstat = pytest.importorskip("pyreadstat")
    row = {"bedrag": Decimal("12.50"), "duur": timedelta(hours=36)}
    write_table(tmp_path / "uit.sav", [row], Layout(["bedrag", "duur"]), format="sav")
    cells, meta = pyreadstat.read_sav(
        str(tmp_path / "uit.sav"), output_format="dict", disable_datetime_conversion=True
    )
    assert (cells["bedrag"], cells["duur"]) == ([12.5], [129_600.0])
    assert meta.original_variable_types["duur"].startswith("TIME")
