import gzip
import io
import sys
from datetime import datetime

import pytest
import xlsxwriter
from hypothesis import given, settings
from hypothesis import strategies as st

from druppel.errors import InputError
from druppel.reading import Opening, open_table
from druppel.tables import find_text_column


def read(source, *, warn=lambda _: None, **options):
    with open_table(source, Opening(**options), warn=warn) as table:
        return table, list(table.read())


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
    assert [message.split(":")[1] for message in told] == ["2", "3"]
    assert "goed" not in "".join(told)


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


@pytest.mark.parametrize(
    ("start", "format"),
    [(b'{"text": "x"}\n', "jsonl"), (b'\xef\xbb\xbf{"text": "x"}\n', "jsonl"), (b"x\n", "txt")],
)
def test_standard_input_is_recognised(monkeypatch, start, format):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(start)))
    table, rows = read("-")
    assert table.format == format
    assert rows == [{"text": "x"}]


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


@pytest.mark.parametrize(
    ("content", "expected", "line"),
    [
        # never closed, up to the end of the file
        ('1;"koud\n2;oud\n3;rij\n', ["koud", "oud", "rij"], 2),
        # closed by the quotation mark of a later row
        ('1;a\n2;"koud\n3;"oud"\n4;"rij"\n', ["a", "koud", "oud", "rij"], 3),
        ('1;"koud\n2;"nat; en oud"\n3;x\n', ["koud", "nat; en oud", "x"], 2),
        # sloppy, but whole
        ('1;"hij zei "nee" en weg"\n2;b\n', ['hij zei "nee" en weg', "b"], None),
        ('1;"eerste regel\ntweede regel"\n2;b\n', ["eerste regel\ntweede regel", "b"], None),
        ('1;pijp van 2" dik\n2;b\n', ['pijp van 2" dik', "b"], None),
    ],
)
def test_a_quote_that_is_never_closed_costs_no_other_row(tmp_path, content, expected, line):
    path = tmp_path / "in.csv"
    path.write_text("id;antwoord\n" + content, encoding="utf-8")
    told = []
    _, rows = read(path, warn=told.append)
    assert [row["antwoord"] for row in rows] == expected
    assert [row["id"] for row in rows] == [str(i + 1) for i in range(len(expected))]
    assert [message.split(":")[1] for message in told] == ([str(line)] if line else [])


def test_an_endless_cell_is_given_up_soon(tmp_path):
    path = tmp_path / "in.csv"
    rows = "".join(f"{i};regel {i}\n" for i in range(30_000))
    path.write_text(f'id;antwoord\n0;"open\n{rows}', encoding="utf-8")
    _, found = read(path)
    assert len(found) == 30_001
    assert found[-1] == {"id": "29999", "antwoord": "regel 29999"}


def test_jsonl_without_any_object_is_refused(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text("foo\n[1]\n" + "9" * 5000 + "\n", encoding="utf-8")
    with pytest.raises(InputError, match="no line is a JSON object"):
        read(path)


def test_the_error_column_is_no_text_column(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text('{"bericht": "dit is een hele zin"}\nkapotte regel van mij\n', "utf-8")
    with open_table(path) as table:
        assert table.error_key == "error"
        assert find_text_column(table, None) == "bericht"


def test_names_that_may_be_feedback_are_not_shown(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text("1;Jan belde boos en wil nu meteen zijn geld terug\n2;x\n", encoding="utf-8")
    with open_table(path) as table, pytest.raises(InputError) as caught:
        find_text_column(table, "antwoord")
    assert "Jan" not in str(caught.value)
    assert "(column 2)" in str(caught.value)


# --- what real files are like -------------------------------------------------------------


def test_lines_of_two_encodings_are_each_read_as_what_they_are(tmp_path):
    path = tmp_path / "in.csv"
    lines = [b"id;antwoord", "1;café".encode(), "2;reünie".encode("cp1252"), b"3;top"]
    path.write_bytes(b"\n".join([*lines, "4;één €".encode("cp1252")]) + b"\n")
    told = []
    table, rows = read(path, warn=told.append)
    assert [row["antwoord"] for row in rows] == ["café", "reünie", "top", "één €"]
    assert table.encoding == "mixed"
    assert len(told) == 1
    assert "in.csv:3: some lines are UTF-8 and some" in told[0]


def test_a_named_encoding_and_delimiter_go_before_what_shows(tmp_path):
    path = tmp_path / "in.csv"
    path.write_bytes("id#antwoord\n1#één; twee, drie\n".encode("cp850"))
    _, rows = read(path, encoding="cp850", delimiter="#")
    assert rows == [{"id": "1", "antwoord": "één; twee, drie"}]
    with pytest.raises(InputError, match="not in ascii"):
        read(path, encoding="ascii")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"format": "doc"}, "'format' must be one of csv, xlsx"),
        ({"delimiter": "ab"}, "one character"),
        ({"encoding": "utf-88"}, "such as utf-8"),
        ({"header_rows": 0}, "1 or more"),
    ],
)
def test_impossible_options_are_told(options, words):
    with pytest.raises(InputError, match=words):
        Opening(**options)


@pytest.mark.parametrize("name", ["in.csv.gz", "in.csv"])
def test_gzip_is_recognised_by_its_content(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(gzip.compress("id;antwoord\n1;één\n".encode()))
    assert read(path)[1] == [{"id": "1", "antwoord": "één"}]


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
def test_a_cut_off_gzip_file_gives_what_comes_before(tmp_path, kept):
    lines = [f"{i};antwoord nummer {i * 7919 % 10007}" for i in range(20_000)]
    data = gzip.compress(("id;antwoord\n" + "\n".join(lines) + "\n").encode())
    (tmp_path / "in.csv.gz").write_bytes(data[: int(len(data) * kept)])
    told = []
    with open_table(tmp_path / "in.csv.gz", warn=told.append) as table:
        first, second = list(table.read()), list(table.read())
    assert first == second
    assert table.cut_off
    assert 0 < len(first) < 20_000
    assert first[-2] == {"id": str(len(first) - 2), "antwoord": lines[len(first) - 2].split(";")[1]}
    assert sum("cut off" in message for message in told) == 1


def test_a_gzip_file_without_content_is_refused(tmp_path):
    (tmp_path / "in.csv.gz").write_bytes(gzip.compress(b"id;antwoord\n1;x\n")[:10])
    with pytest.raises(InputError, match="damaged from its start"):
        read(tmp_path / "in.csv.gz")


def test_a_truncated_parquet_file_is_refused(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"t": ["a"] * 1000}), tmp_path / "heel.parquet")
    data = (tmp_path / "heel.parquet").read_bytes()
    (tmp_path / "in.parquet").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="not a Parquet file, or cut off"):
        read(tmp_path / "in.parquet")


def test_a_parquet_file_that_is_damaged_inside_gives_what_comes_before(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    table = pa.table({"t": [f"antwoord {i * 7919 % 10007}" for i in range(20_000)]})
    path = tmp_path / "in.parquet"
    pq.write_table(table, path, row_group_size=10_000, compression="gzip", use_dictionary=False)
    data = bytearray(path.read_bytes())
    middle = pq.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    data[middle + 200 : middle + 4000] = bytes(3800)
    path.write_bytes(data)
    told = []
    opened, rows = read(path, warn=told.append)
    assert opened.cut_off
    assert [row["t"] for row in rows] == table["t"].to_pylist()[: len(rows)]
    assert "damaged from here on" in told[0]


def test_two_parquet_columns_of_one_name_are_both_kept(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    table = pa.Table.from_arrays([pa.array(["a"]), pa.array([1])], ["x", "x"])
    pq.write_table(table, tmp_path / "in.parquet")
    assert read(tmp_path / "in.parquet")[1] == [{"x": "a", "x_2": 1}]


def test_a_table_can_be_read_again(tmp_path):
    (tmp_path / "in.csv").write_text("sep=;\nid;t\n1;a\n2;b\n", encoding="utf-8")
    (tmp_path / "in.jsonl").write_text('{"id": "1", "t": "a"}\n{"id": "2", "t": "b"}\n', "utf-8")
    workbook(tmp_path / "in.xlsx", [["id", "t"], ["1", "a"], ["2", "b"]])
    for name in ("in.csv", "in.jsonl", "in.xlsx"):
        with open_table(tmp_path / name) as table:
            assert next(table.read())["t"] == "a"
            assert [row["t"] for row in table.read()] == ["a", "b"]
            assert table.count() == 2


def test_a_second_header_row_is_told_and_taken_when_asked(tmp_path):
    rows = [["", "Wat vond u?", ""], ["Nr", "Cijfer", "Toelichting"]]
    rows += [[i, 7 + i % 3, f"dit is antwoord {i}"] for i in range(6)]
    told = []
    one, _ = read(workbook(tmp_path / "in.xlsx", rows), warn=told.append)
    assert any("--header-rows 2" in message for message in told)
    assert one.columns == ["kolom_1", "Wat vond u?", "kolom_3"]
    two, body = read(tmp_path / "in.xlsx", header_rows=2)
    assert two.columns == ["Nr", "Wat vond u? – Cijfer", "Toelichting"]
    assert len(body) == 6
    (tmp_path / "in.csv").write_text(
        "nr;datum;open\nNummer;Datum;Open vraag\n"
        + "".join(f"{i};2026-01-0{i};best goed {i}\n" for i in range(1, 6)),
        encoding="utf-8",
    )
    told.clear()
    read(tmp_path / "in.csv", warn=told.append)
    assert any("--header-rows 2" in message for message in told)
    assert len(read(tmp_path / "in.csv", header_rows=2)[1]) == 5


@pytest.mark.parametrize(
    "rows",
    [
        [["nr", "antwoord"], *[[i, f"gewoon antwoord {i}"] for i in range(8)]],
        [["id", "cijfer", "antwoord"], *[[f"r{i}", i, "goed"] for i in range(8)]],
        [["antwoord"], ["eerste"], ["tweede"], ["3"], ["4"]],
    ],
)
def test_an_ordinary_first_row_is_no_second_header(tmp_path, rows):
    told = []
    read(workbook(tmp_path / "in.xlsx", rows), warn=told.append)
    assert told == []


def test_merged_cells_are_told_and_a_merged_header_names_all_its_columns(tmp_path):
    book = xlsxwriter.Workbook(tmp_path / "in.xlsx")
    sheet = book.add_worksheet()
    sheet.merge_range(0, 1, 0, 2, "Open vragen")
    sheet.write_row(1, 0, ["Nr", "goed", "beter"])
    sheet.write_row(2, 0, [1, "het eten was lekker", "de bediening mag sneller"])
    sheet.merge_range(3, 1, 4, 1, "een antwoord over twee rijen")
    sheet.write(3, 0, 2)
    sheet.write(4, 0, 3)
    book.close()
    told = []
    table, rows = read(tmp_path / "in.xlsx", header_rows=2, warn=told.append)
    assert table.columns == ["Nr", "Open vragen – goed", "Open vragen – beter"]
    assert [row["Open vragen – goed"] for row in rows][1:] == ["een antwoord over twee rijen", None]
    assert "in.xlsx:4: cells of column 'Open vragen – goed' are merged down to row 5" in told[0]


def test_formulas_give_their_outcome_or_are_told(tmp_path):
    book = xlsxwriter.Workbook(tmp_path / "in.xlsx")
    sheet = book.add_worksheet()
    sheet.write_row(0, 0, ["nr", "antwoord"])
    sheet.write_row(1, 0, [1, "gewoon"])
    sheet.write_formula(2, 1, '="zeer "&"goed"', None, "zeer goed")
    sheet.write(3, 0, 3)
    sheet.write_formula(3, 1, '="niet "&"berekend"', None, "")
    book.close()
    told = []
    _, rows = read(tmp_path / "in.xlsx", warn=told.append)
    assert [row["antwoord"] for row in rows] == ["gewoon", "zeer goed", None]
    assert len(told) == 1
    assert "in.xlsx:B4: holds a formula whose outcome was never stored" in told[0]


def test_a_workbook_with_a_password_is_told(tmp_path):
    # The container that Excel writes: only its signature and the name of its stream matter here.
    name = "EncryptedPackage".encode("utf-16-le")
    (tmp_path / "in.xlsx").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(1024) + name)
    with pytest.raises(InputError, match="protected with a password"):
        read(tmp_path / "in.xlsx")


def test_old_and_open_spreadsheets(tmp_path):
    odf = pytest.importorskip("odf.opendocument")
    from odf.table import Table as OdfTable
    from odf.table import TableCell, TableRow
    from odf.text import P

    document = odf.OpenDocumentSpreadsheet()
    sheet = OdfTable(name="Blad1")
    for line in (["nr", "antwoord"], ["1", "lekker gegeten"]):
        row = TableRow()
        for value in line:
            cell = TableCell(valuetype="string")
            cell.addElement(P(text=value))
            row.addElement(cell)
        sheet.addElement(row)
    document.spreadsheet.addElement(sheet)
    document.save(str(tmp_path / "in.ods"))
    assert read(tmp_path / "in.ods")[1] == [{"nr": "1", "antwoord": "lekker gegeten"}]


def test_spss_values_keep_their_codes(tmp_path):
    pyreadstat = pytest.importorskip("pyreadstat")
    import pandas as pd

    frame = pd.DataFrame({"v1": [1.0, None, 99.0], "open": ["goed", "", "slecht"]})
    pyreadstat.write_sav(
        frame,
        str(tmp_path / "in.sav"),
        column_labels={"open": "Toelichting"},
        variable_value_labels={"v1": {1: "ja", 99: "weet niet"}},
        missing_ranges={"v1": [99]},
    )
    table, rows = read(tmp_path / "in.sav")
    assert [row["v1"] for row in rows] == [1, None, 99]
    assert table.labels["open"] == "Toelichting"
    assert table.count() == 3
    (tmp_path / "stuk.sav").write_bytes((tmp_path / "in.sav").read_bytes()[:100])
    with pytest.raises(InputError, match="not an SPSS file, or damaged"):
        read(tmp_path / "stuk.sav")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(st.text('ab";\n\r ', max_size=8), min_size=2, max_size=3), min_size=1, max_size=6
    )
)
def test_any_csv_is_read_without_losing_letters(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("csv") / "in.csv"
    body = "\n".join(";".join(cells) for cells in rows)
    path.write_text(f"id;antwoord\n{body}\n", encoding="utf-8", newline="")
    _, found = read(path)
    kept = "".join(value for row in found for value in row.values())
    for letter in "ab":
        assert kept.count(letter) == body.count(letter)


def test_a_title_above_the_header_is_passed_over(tmp_path):
    rows = [["Rapport klanttevredenheid"], [], [None, None, "nr", "opmerking"]]
    rows += [[None, None, i, f"dit is antwoord {i}"] for i in range(4)]
    told = []
    table, body = read(workbook(tmp_path / "in.xlsx", rows), warn=told.append)
    assert table.columns[2:] == ["nr", "opmerking"]
    assert [row["nr"] for row in body] == [0, 1, 2, 3]
    assert "in.xlsx:3: taken for the row with the column names" in told[0]


def test_other_sheets_are_told(tmp_path):
    path = workbook(tmp_path / "in.xlsx", [["antwoord"], ["een"]], [["legenda"], ["twee"]])
    told = []
    read(path, warn=told.append)
    assert "Sheet1: this sheet was labelled; the others are not in the output" in told[0]


def test_quotation_marks_within_a_cell_keep_the_text_whole(tmp_path):
    (tmp_path / "in.csv").write_text(
        'nr,antwoord,x\n1,"Hij zei "nee" tegen mij, schande",a\n2,"a"",b",c\n', encoding="utf-8"
    )
    told = []
    _, rows = read(tmp_path / "in.csv", warn=told.append)
    assert rows[0] == {"nr": "1", "antwoord": 'Hij zei "nee" tegen mij, schande', "x": "a"}
    assert rows[1] == {"nr": "2", "antwoord": 'a",b', "x": "c"}
    assert told == []


def test_two_encodings_on_one_line(tmp_path):
    (tmp_path / "in.csv").write_bytes("a;é en ".encode() + "é\n1;caf\xe9\n".encode("cp1252"))
    table, rows = read(tmp_path / "in.csv")
    assert table.columns == ["a", "é en é"]
    assert rows == [{"a": "1", "é en é": "café"}]


@pytest.mark.parametrize("encoding", ["utf-32", "utf-16-le"])
def test_wide_encodings(tmp_path, encoding):
    (tmp_path / "in.csv").write_bytes("nr;antwoord\n1;één\n".encode(encoding))
    named = {} if encoding == "utf-32" else {"encoding": encoding}
    assert read(tmp_path / "in.csv", **named)[1] == [{"nr": "1", "antwoord": "één"}]
