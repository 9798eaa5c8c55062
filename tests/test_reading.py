import io
import json
import sys
from datetime import datetime
from decimal import Decimal

import pytest
import xlsxwriter
from hypothesis import given, settings
from hypothesis import strategies as st

from druppel.errors import InputError
from druppel.tables import (
    Layout,
    Table,
    find_text_column,
    open_table,
    parse_score,
    write_table,
)

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40)


def read(source, **options):
    with open_table(source, **options) as table:
        return table, list(table.rows)


def workbook(path, *sheets):
    book = xlsxwriter.Workbook(path)
    for rows in sheets:
        sheet = book.add_worksheet()
        for r, row in enumerate(rows):
            for c, value in enumerate(row):
                if isinstance(value, datetime):
                    sheet.write_datetime(r, c, value, book.add_format({"num_format": "yyyy-mm-dd"}))
                elif value is not None:
                    sheet.write(r, c, value)
    book.close()
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_csv_dialects(tmp_path, delimiter, encoding):
    path = tmp_path / "in.csv"
    content = f'id{delimiter}antwoord\r\n007{delimiter}"één, twee; ""drie""\tvier\r\nvijf"\r\n'
    path.write_bytes(content.encode(encoding))
    table, rows = read(path)
    assert table.delimiter == delimiter
    assert table.bom == (encoding != "utf-8")
    assert rows == [{"id": "007", "antwoord": 'één, twee; "drie"\tvier\r\nvijf'}]


def test_csv_of_one_column_keeps_its_commas_and_blank_answers(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text("antwoord\nja, graag; morgen\n\nnee\n", encoding="utf-8")
    table, rows = read(path)
    assert table.delimiter is None
    assert [row["antwoord"] for row in rows] == ["ja, graag; morgen", "", "nee"]


def test_ragged_csv_rows_are_kept_and_told(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text("id,antwoord\n1\n2,goed, maar duur\n3,top\n", encoding="utf-8")
    told = []
    _, rows = read(path, warn=told.append)
    assert rows == [
        {"id": "1", "antwoord": ""},
        {"id": "2", "antwoord": "goed, maar duur"},
        {"id": "3", "antwoord": "top"},
    ]
    assert len(told) == 1
    assert "in.csv:3:" in told[0]
    assert "goed" not in told[0]


def test_column_names_are_made_unique(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text("a,,a,\n1,2,3,4\n", encoding="utf-8")
    table, rows = read(path)
    assert table.columns == ["a", "kolom_2", "a_2", "kolom_4"]
    assert rows == [{"a": "1", "kolom_2": "2", "a_2": "3", "kolom_4": "4"}]


def test_workbook_values_keep_their_types(tmp_path):
    when = datetime(2026, 9, 1)
    path = workbook(
        tmp_path / "in.xlsx",
        [],
        [[], ["nr", "datum", "cijfer", "antwoord"], [7, when, 7.5, "=1+1"], [8], [9, None, True]],
    )
    table, rows = read(path)
    assert table.columns == ["nr", "datum", "cijfer", "antwoord"]
    assert rows[0]["nr"] == 7
    assert isinstance(rows[0]["nr"], int)
    assert rows[0]["datum"] in (when, when.date())
    assert rows[1] == {"nr": 8, "datum": None, "cijfer": None, "antwoord": None}
    assert rows[2]["cijfer"] is True


def test_a_cover_sheet_is_passed_over(tmp_path):
    path = workbook(tmp_path / "in.xlsx", [["Enquête voorjaar"]], [["antwoord"], ["twee"]])
    assert read(path)[1] == [{"antwoord": "twee"}]


def test_sheet_by_name(tmp_path):
    path = workbook(tmp_path / "in.xlsx", [["a"], ["een"]], [["b"], ["twee"]])
    assert read(path, sheet="Sheet2")[1] == [{"b": "twee"}]
    with pytest.raises(InputError, match=r"no readable sheet 'Blad1'. The sheets are: Sheet1, "):
        read(path, sheet="Blad1")


def test_jsonl_keeps_a_broken_row(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text('{"text": "goed"}\n{"text": "stuk\n[1]\n\n{"text": "top"}\n', encoding="utf-8")
    told = []
    _, rows = read(path, warn=told.append)
    assert [row.get("text") for row in rows] == ["goed", None, None, "top"]
    assert rows[1]["error"] == f"{path}:2: not a JSON object"
    assert len(told) == 2
    assert "stuk" not in "".join(told)


def test_plain_lines(tmp_path):
    path = tmp_path / "in.txt"
    path.write_bytes("één\r\n\r\ntwee".encode("cp1252"))
    assert read(path)[1] == [{"text": "één"}, {"text": ""}, {"text": "twee"}]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("weg.csv", None, "cannot be opened"),
        ("leeg.csv", b"", "empty"),
        ("leeg2.csv", b"\n \n", "empty"),
        ("leeg.jsonl", b"\n", "empty"),
        ("raar.docx", b"x", "unknown kind of file"),
        ("stuk.xlsx", b"PK\x03\x04 no zip", "not a spreadsheet"),
        ("tekst.xlsx", b"id;antwoord\n", "not a spreadsheet"),
        ("stuk.parquet", b"PAR1 cut", "not a Parquet file"),
        ("stuk.csv", b"a\x00b\n1", "binary data"),
        ("code.csv", b"a,b\n\x81\x8d,\xff\xfe", "neither UTF-8 nor Windows-1252"),
    ],
)
def test_unusable_files_are_told_in_one_line(tmp_path, name, content, words):
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read(path)
    assert words in str(caught.value)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_empty_workbook_is_told(tmp_path):
    with pytest.raises(InputError, match="no sheet holds anything"):
        read(workbook(tmp_path / "in.xlsx", [], []))


def table_of(*rows):
    return Table(list(rows[0]), iter([dict(row) for row in rows]), "csv")


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
    assert list(table.rows) == rows


@pytest.mark.parametrize("name", [None, "antwoord"])
def test_other_text_columns_are_asked_for(name):
    with pytest.raises(InputError, match="The columns are: id, nr"):
        find_text_column(table_of({"id": "1", "nr": "2"}), name)


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


@pytest.mark.parametrize(
    ("start", "format"),
    [(b'{"text": "x"}\n', "jsonl"), (b'\xef\xbb\xbf{"text": "x"}\n', "jsonl"), (b"x\n", "txt")],
)
def test_standard_input_is_recognised(monkeypatch, start, format):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(start)))
    table, rows = read("-")
    assert table.format == format
    assert rows == [{"text": "x"}]


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


@pytest.mark.parametrize(
    ("content", "columns", "first"),
    [
        ("Wat kan er beter, denkt u?\nkoud, flauw en vies\nniets\n", 1, "koud, flauw en vies"),
        ("Wat kan beter; denkt u?\nkoud\nniets; echt\n", 1, "koud"),
        ("sep=;\nid;antwoord\n1;goed, hoor\n", 2, "goed, hoor"),
        ("id|antwoord\n1|goed, hoor\n", 2, "goed, hoor"),
        ("id, antwoord\n1, goed\n2, slecht\n", 2, " goed"),
        ("a;b\n", 2, None),
    ],
)
def test_header_and_rows_agree_on_the_delimiter(tmp_path, content, columns, first):
    path = tmp_path / "in.csv"
    path.write_text(content, encoding="utf-8")
    table, rows = read(path)
    assert len(table.columns) == columns
    assert [list(row.values())[-1] for row in rows][:1] == ([first] if first else [])


def test_a_quote_that_is_never_closed_is_told(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text('id;antwoord\n1;"koud\n2;oud\n3;rij\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"in\.csv:2: a quotation mark opened here"):
        read(path)


def test_jsonl_without_any_object_is_refused(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text("foo\n[1]\n" + "9" * 5000 + "\n", encoding="utf-8")
    with pytest.raises(InputError, match="no line is a JSON object"):
        read(path)


def test_the_error_column_is_no_text_column(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text('{"bericht": "dit is een hele zin"}\nkapotte regel van mij\n', "utf-8")
    with open_table(path) as table:
        assert table.error_column == "error"
        assert find_text_column(table, None) == "bericht"


def test_names_that_may_be_feedback_are_not_shown(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text("1;Jan belde boos en wil nu meteen zijn geld terug\n2;x\n", encoding="utf-8")
    with open_table(path) as table, pytest.raises(InputError) as caught:
        find_text_column(table, "antwoord")
    assert "Jan" not in str(caught.value)
    assert "(column 2)" in str(caught.value)


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
