"""Read and write tables of feedback: CSV, spreadsheets, JSONL, Parquet and plain lines.

Rows stream through as dictionaries, values as they stand in the file: a CSV cell stays the
text it was ("007" is not 7). Files appear whole or not at all.
"""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

from druppel.errors import InputError

STANDARD_STREAM = "-"
"""Stands for standard input or output."""

FORMATS = ("csv", "xlsx", "jsonl", "parquet", "txt")
_BY_SUFFIX = {
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
    ".xlsx": "xlsx",
    ".xlsm": "xlsx",
    ".xls": "xlsx",
    ".ods": "xlsx",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".txt": "txt",
}
_DELIMITERS = (";", "\t", ",", "|")
_EXCEL_DELIMITER = re.compile(r"sep=(.)\s*")
_NO_DELIMITER = "\x1f"  # one column: no character of the text divides cells
_EXCEL_CELL = 32_767
_EXCEL_ROWS = 1_048_576
_EXCEL_NUMBER = 10**15  # a cell keeps fifteen digits; a longer number stays whole as text
_TEN = 10  # the best grade
_GRADE = re.compile(r"\d{1,3}(?:[.,]\d+)?")
_SAMPLE_ROWS = 200
_TEXT_NAMES = re.compile(
    r"antwoord|tekst|text|opmerking|toelichting|feedback|review|bericht|comment|klacht|reactie"
    r"|omschrijving|beschrijving|verbatim|answer|message|melding|ervaring",
    re.IGNORECASE,
)
# A cell that a spreadsheet would run as a formula; plain numbers are not.
_FORMULA = re.compile(r"[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?[\d.,]+%?")

Row = dict[str, Any]
Warn = Callable[[str], None]


@dataclass
class Table:
    """A table being read.

    Attributes
    ----------
    columns : list of str
        Names of the columns in order. Of JSONL: the keys of all rows.
    rows : iterator of dict
        One dictionary a row; read once.
    format : str
        One of `FORMATS`.
    delimiter : str or None
        Of a CSV file with more than one column.
    bom : bool
        Whether a CSV file came from Excel by its looks (a byte-order mark, or Windows-1252) and
        the output should begin with a mark.
    schema : pyarrow.Schema or None
        Types of a Parquet file's columns, kept for writing Parquet.
    error_column : str or None
        Column of ours that says why a row could not be read; never holds feedback.
    """

    columns: list[str]
    rows: Iterator[Row]
    format: str
    delimiter: str | None = None
    bom: bool = False
    schema: Any = field(default=None, repr=False)
    error_column: str | None = None


def format_of(path: str | Path) -> str | None:
    """Format that a file name's suffix stands for, or None."""
    return _BY_SUFFIX.get(Path(path).suffix.lower())


@contextmanager
def open_table(
    source: str | Path,
    *,
    format: str | None = None,
    sheet: str | None = None,
    warn: Warn = lambda _: None,
) -> Iterator[Table]:
    """Open a table for reading.

    Parameters
    ----------
    source : str or Path
        A file, or ``"-"`` for standard input.
    format : str, optional
        One of `FORMATS`; otherwise by suffix, and on standard input by its first bytes, where
        anything that is not JSONL, Parquet or a workbook is read as plain lines.
    sheet : str, optional
        Sheet of a workbook; otherwise the first that holds anything.
    warn : callable, optional
        Told in one line what was amiss but not fatal, with the row.

    Raises
    ------
    InputError
        If the file is missing, empty, or not of its format.
    """
    if format is not None and format not in FORMATS:
        msg = f"'format' must be one of {', '.join(FORMATS)}, got {format!r}."
        raise InputError(msg)
    name = "standard input" if source == STANDARD_STREAM else str(source)
    with ExitStack() as opened:
        stream = opened.enter_context(_binary(source))
        start = stream.read(4096)
        stream.seek(0)
        if not start:
            msg = f"{name}: empty, there is nothing to label."
            raise InputError(msg)
        if format is None:
            format = _guess_format(source, start, name)
        if format == "xlsx":
            yield _read_workbook(stream, name, sheet)
        elif format == "parquet":
            yield _read_parquet(stream, name)
        else:
            # The text layer must live as long as the rows that read through it.
            text = opened.enter_context(_decoded(stream, name))
            # What came from Excel goes back so that Excel reads it: UTF-8 with a mark.
            bom = start.startswith(codecs.BOM_UTF8) or text.encoding in ("cp1252", "utf-16")
            if format == "csv":
                yield _read_csv(text, name, bom, warn)
            elif format == "jsonl":
                yield _read_jsonl(text, name, warn)
            else:
                yield _read_lines(text)


def find_text_column(table: Table, name: str | None) -> str:
    """Return the column that holds the feedback.

    `name` where given; otherwise the only column, the only one with a telling name, or the
    only one that holds sentences.

    Raises
    ------
    InputError
        If `name` is no column, or none stands out; the message lists the columns.
    """
    columns = [column for column in table.columns if column != table.error_column]
    names = listed(columns)
    if name is not None:
        if name not in columns:
            msg = f"No column {name!r}. The columns are: {names}."
            raise InputError(msg)
        return name
    if len(columns) == 1:
        return columns[0]
    sample = list(itertools.islice(table.rows, _SAMPLE_ROWS))
    table.rows = itertools.chain(sample, table.rows)
    wordy = [c for c in columns if _holds_sentences([row.get(c) for row in sample])]
    named = [c for c in columns if _TEXT_NAMES.search(c)]
    for candidates in ([c for c in named if c in wordy], wordy, named):
        if len(candidates) == 1:
            return candidates[0]
    msg = f"Which column holds the feedback? Name it with --text-column. The columns are: {names}."
    raise InputError(msg)


def parse_score(cell: object, scale: float) -> float | None:
    """Return a cell's number on a scale from 0 to 10; None where it holds no such number.

    Parameters
    ----------
    cell : object
        A number, or text such as ``"7,5"``.
    scale : float
        The best score that a customer could give.

    Examples
    --------
    >>> parse_score("7,5", 10), parse_score(4, 5), parse_score("n.v.t.", 10)
    (7.5, 8.0, None)
    """
    if isinstance(cell, bool) or not isinstance(cell, int | float | str | Decimal):
        return None
    if isinstance(cell, str) and not _GRADE.fullmatch(cell.strip()):
        return None
    try:
        value = float(cell.strip().replace(",", ".") if isinstance(cell, str) else cell)
    except (ValueError, OverflowError):
        return None
    return value * _TEN / scale if 0 <= value <= scale else None


def listed(columns: Sequence[str]) -> str:
    """Names for a message. A name like a sentence may be a customer's, in a file without header."""
    return ", ".join(
        name if len(name) <= 60 and len(name.split()) <= 6 else f"(column {number})"
        for number, name in enumerate(columns, start=1)
    )


@dataclass(frozen=True)
class Layout:
    """How the rows to write look.

    Attributes
    ----------
    columns : list of str
    delimiter : str
        Between CSV cells. With ``";"`` numbers get a decimal comma, as Dutch Excel expects.
    bom : bool
        Begin a CSV file with a byte-order mark.
    schema : pyarrow.Schema or None
        Types for Parquet columns where known.
    notes : list of (str, str)
        Explanations for a second sheet of a workbook: term and meaning.
    """

    columns: list[str]
    delimiter: str = ","
    bom: bool = False
    schema: Any = field(default=None, repr=False)
    notes: Sequence[tuple[str, str]] = ()


def write_table(
    target: str | Path,
    rows: Iterable[Row],
    layout: Layout,
    *,
    format: str,
    warn: Warn = lambda _: None,
) -> None:
    """Write rows to a file, atomically, or to standard output for ``"-"``.

    Raises
    ------
    InputError
        If the target cannot be written, or the rows do not fit the format.
    """
    writer = {
        "csv": _write_csv,
        "xlsx": _write_workbook,
        "jsonl": _write_jsonl,
        "parquet": _write_parquet,
    }[format]
    if target == STANDARD_STREAM:
        if sys.stdout is None:
            msg = "Standard output is closed. Name a file with --output."
            raise InputError(msg)
        if format in ("csv", "jsonl"):
            writer(sys.stdout.buffer, rows, layout, warn)
        else:
            with tempfile.TemporaryFile() as spool:
                writer(spool, rows, layout, warn)
                spool.seek(0)
                shutil.copyfileobj(spool, sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return
    with atomic(Path(target)) as stream:
        writer(stream, rows, layout, warn)


@contextmanager
def atomic(path: Path) -> Iterator[IO[bytes]]:
    """Open `path` for writing so that it appears whole or, on any error, not at all.

    A link is followed. What is no regular file, such as a pipe, is written to as it comes.
    """
    if path.is_dir():
        msg = f"{path}: is a folder. Name a file."
        raise InputError(msg)
    if path.exists() and not path.is_file():
        with path.open("wb") as stream:
            yield stream
        return
    path = path.resolve()
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        msg = f"{path}: cannot write there ({error.strerror}). Check the folder."
        raise InputError(msg) from None
    try:
        with os.fdopen(handle, "w+b") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


# --- reading ------------------------------------------------------------------------------


@contextmanager
def _binary(source: str | Path) -> Iterator[IO[bytes]]:
    """Open a file, or keep standard input in a file of our own so that it can be read twice."""
    if source == STANDARD_STREAM:
        if sys.stdin is None:
            msg = "Standard input is closed. Name a file."
            raise InputError(msg)
        with tempfile.SpooledTemporaryFile(max_size=64 << 20) as spool:
            shutil.copyfileobj(sys.stdin.buffer, spool)
            spool.seek(0)
            yield spool
        return
    try:
        stream = Path(source).open("rb")  # noqa: SIM115 (closed below)
    except OSError as error:
        msg = f"{source}: cannot be opened ({error.strerror}). Check the path."
        raise InputError(msg) from None
    with stream:
        yield stream


def _guess_format(source: str | Path, start: bytes, name: str) -> str:
    if source != STANDARD_STREAM:
        known = format_of(source)
        if known is None:
            msg = (
                f"{name}: unknown kind of file. Known are {', '.join(_BY_SUFFIX)}; "
                f"or name it with --input-format {'|'.join(FORMATS)}."
            )
            raise InputError(msg)
        return known
    return sniff(start) or "txt"


def sniff(start: bytes) -> str | None:
    """Format that a file's first bytes show, or None where they could be any text."""
    if start.startswith(b"PAR1"):
        return "parquet"
    if start.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        return "xlsx"
    if start.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"{"):
        return "jsonl"
    return None


def _decoded(stream: IO[bytes], name: str) -> io.TextIOWrapper:
    """Decode a stream: by its byte-order mark, else UTF-8, else Windows-1252."""
    start = stream.read(4)
    stream.seek(0)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        candidates = ["utf-16"]
    else:
        candidates = ["utf-8-sig", "cp1252"]
    for encoding in candidates:
        decoder = codecs.getincrementaldecoder(encoding)()
        try:
            while chunk := stream.read(1 << 20):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            stream.seek(0)
            continue
        stream.seek(0)
        return io.TextIOWrapper(stream, encoding=encoding, newline="")
    msg = f"{name}: neither UTF-8 nor Windows-1252. Save it as UTF-8 and try again."
    raise InputError(msg)


def _unique(names: Iterable[Any]) -> list[str]:
    """Column names made unique; an empty one is called after its position."""
    columns: list[str] = []
    for number, value in enumerate(names, start=1):
        name = str(value).strip() if value is not None else ""
        name = name or f"kolom_{number}"
        unique, count = name, 1
        while unique in columns:
            count += 1
            unique = f"{name}_{count}"
        columns.append(unique)
    return columns


def _read_csv(text: io.TextIOWrapper, name: str, bom: bool, warn: Warn) -> Table:
    csv.field_size_limit(sys.maxsize)
    start = 0
    first = text.readline()
    declared = _EXCEL_DELIMITER.fullmatch(first)
    if declared:
        start = text.tell()
    else:
        text.seek(0)
    delimiter = declared[1] if declared else _guess_delimiter(text, name)
    text.seek(start)
    _check_quotes(csv.reader(text, delimiter=delimiter, strict=True), name)
    text.seek(start)
    reader = csv.reader(text, delimiter=delimiter)
    header = next((row for row in reader if any(cell.strip() for cell in row)), None)
    if header is None:
        msg = f"{name}: empty, there is nothing to label."
        raise InputError(msg)
    columns = _unique(header)
    rows = _csv_rows(reader, columns, delimiter, name, warn)
    shown = None if delimiter == _NO_DELIMITER else delimiter
    return Table(columns, rows, "csv", delimiter=shown, bom=bom)


def _guess_delimiter(text: io.TextIOWrapper, name: str) -> str:
    """Find what divides the cells: header and rows must agree.

    A survey question as the only header may hold a comma, and its answers too. So a mark counts
    when every sampled row has exactly the header's width; or when most have at least that, and
    the header does not use the mark as prose does, always with a space behind it.
    """
    best, most = _NO_DELIMITER, 1
    for delimiter in _DELIMITERS:
        text.seek(0)
        try:
            filled = (row for row in csv.reader(text, delimiter=delimiter) if any(row))
            sample = list(itertools.islice(filled, 100))
        except csv.Error as error:
            msg = f"{name}: not a CSV file ({error})."
            raise InputError(msg) from None
        if not sample:
            continue
        header, *rows = sample
        if any("\0" in cell for cell in header):
            msg = f"{name}: not a CSV file (it holds binary data)."
            raise InputError(msg)
        width = len(header)
        exact = all(len(row) == width for row in rows)
        most_wide = sum(len(row) >= width for row in rows) > len(rows) / 2
        as_prose = all(cell.startswith(" ") for cell in header[1:])
        if width > most and (exact or (most_wide and not as_prose)):
            best, most = delimiter, width
    return best


def _check_quotes(reader: Any, name: str) -> None:
    """Refuse a file in which a quotation mark swallows all that follows."""
    begin = 1
    try:
        for _ in reader:
            begin = reader.line_num + 1
    except csv.Error as error:
        if "unexpected end of data" in str(error):
            msg = f"{name}:{begin}: a quotation mark opened here is never closed. Mend that row."
            raise InputError(msg) from None
        # Sloppy quoting further on is read as well as it can be.


def _csv_rows(
    reader: Any, columns: list[str], delimiter: str, name: str, warn: Warn
) -> Iterator[Row]:
    width = len(columns)
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            warn(f"{name}:{reader.line_num}: row skipped, not readable as CSV ({error}).")
            continue
        if not cells:
            # The csv module gives a blank line as no cells; in a one-column file it is an
            # empty answer, elsewhere it is nothing.
            if width > 1:
                continue
            cells = [""]
        if len(cells) > width:
            warn(
                f"{name}:{reader.line_num}: {len(cells)} cells under {width} columns; what is "
                "too much was added to the last column."
            )
            cells = [*cells[: width - 1], delimiter.join(cells[width - 1 :])]
        yield dict(itertools.zip_longest(columns, cells, fillvalue=""))


def _read_workbook(stream: IO[bytes], name: str, sheet: str | None) -> Table:
    from python_calamine import (
        CalamineError,
        CalamineWorkbook,
        PasswordError,
        WorksheetNotFound,
    )

    try:
        workbook = CalamineWorkbook.from_filelike(io.BytesIO(stream.read()))
    except PasswordError:
        msg = f"{name}: protected with a password. Save it without one and try again."
        raise InputError(msg) from None
    except CalamineError:
        msg = f"{name}: not a spreadsheet, or damaged. Open it in Excel and save it again as xlsx."
        raise InputError(msg) from None
    names = [sheet] if sheet is not None else workbook.sheet_names
    for title in names:
        try:
            cells = workbook.get_sheet_by_name(title).to_python(skip_empty_area=False)
        except (CalamineError, WorksheetNotFound):
            titles = ", ".join(workbook.sheet_names)
            msg = f"{name}: no readable sheet {title!r}. The sheets are: {titles}."
            raise InputError(msg) from None
        filled = [i for i, row in enumerate(cells) if any(v not in ("", None) for v in row)]
        # A cover sheet has a title and no rows under it.
        if not filled or (len(filled) == 1 and title != names[-1]):
            continue
        # Columns and rows around the data that hold nothing are no part of the table.
        width = 1 + max(
            i for row in cells for i, value in enumerate(row) if value not in ("", None)
        )
        header, body = cells[filled[0]][:width], cells[filled[0] + 1 : filled[-1] + 1]
        columns = _unique(map(_cell, header))
        rows = (dict(zip(columns, map(_cell, row[:width]), strict=True)) for row in body)
        return Table(columns, rows, "xlsx")
    msg = f"{name}: no sheet holds anything, there is nothing to label."
    raise InputError(msg)


def _cell(value: Any) -> Any:
    """Value of a spreadsheet cell: whole numbers without a decimal part, empty as None."""
    if value == "":
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return int(value)
    return value


def _read_jsonl(text: io.TextIOWrapper, name: str, warn: Warn) -> Table:
    columns: dict[str, None] = {}
    good = bad = 0
    for line in filter(str.strip, text):
        row = _json_object(line)
        good, bad = good + (row is not None), bad + (row is None)
        columns.update(dict.fromkeys(row or ()))
    if not columns:
        msg = (
            f"{name}: no line is a JSON object. JSONL has one object a line, such as "
            '{"text": "…"}.'
            if bad
            else f"{name}: empty, there is nothing to label."
        )
        raise InputError(msg)
    error_column = None
    if bad:
        (error_column,) = _unique([*columns, "error"])[len(columns) :]
        columns[error_column] = None
    text.seek(0)
    rows = _jsonl_rows(text, name, error_column, warn)
    return Table(list(columns), rows, "jsonl", error_column=error_column)


def _jsonl_rows(
    text: io.TextIOWrapper, name: str, error_column: str | None, warn: Warn
) -> Iterator[Row]:
    for number, line in enumerate(text, start=1):
        if not line.strip():
            continue
        row = _json_object(line)
        if row is None:
            problem = f"{name}:{number}: not a JSON object"
            warn(f"{problem}; the row is kept without labels.")
            row = {error_column or "error": problem}
        yield row


def _json_object(line: str) -> Row | None:
    """Parse a line; None where it is no JSON object that can be held."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _read_parquet(stream: IO[bytes], name: str) -> Table:
    pa, pq = _pyarrow()
    try:
        file = pq.ParquetFile(pa.PythonFile(stream, mode="r"))
    except pa.ArrowInvalid:
        msg = f"{name}: not a Parquet file, or cut off."
        raise InputError(msg) from None
    rows = (row for batch in file.iter_batches(batch_size=8192) for row in batch.to_pylist())
    schema = file.schema_arrow
    return Table(list(schema.names), rows, "parquet", schema=schema)


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        msg = "Parquet needs pyarrow. Install it with: pip install 'druppel[parquet]'"
        raise InputError(msg) from None
    return pa, pq


def _read_lines(text: io.TextIOWrapper) -> Table:
    rows = ({"text": line.rstrip("\r\n")} for line in text)
    return Table(["text"], rows, "txt")


def _holds_sentences(values: list[Any]) -> bool:
    """Whether most filled cells are text, and on the whole longer than two words."""
    filled = [v for v in values if v not in ("", None)]
    words = [len(v.split()) for v in filled if isinstance(v, str)]
    return bool(words) and len(words) > len(filled) / 2 and sum(words) / len(words) > 2.5


# --- writing ------------------------------------------------------------------------------


def _plain(value: Any) -> Any:
    """A value that fits in one cell: nested data as JSON, dates in ISO form."""
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=str)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value


def _whole_text(value: str) -> str:
    """Text that can be encoded: half a surrogate pair becomes U+FFFD."""
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _csv_cell(value: Any, decimal: str) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "ja" if value else "nee"
    if isinstance(value, float):
        return str(value).replace(".", decimal)
    text = _whole_text(str(_plain(value)))
    if text and _FORMULA.match(text) and not _NUMBER.fullmatch(text):
        # A spreadsheet shows a leading apostrophe's cell as text instead of running it.
        return "'" + text
    return text


def _write_csv(stream: IO[bytes], rows: Iterable[Row], layout: Layout, warn: Warn) -> None:
    del warn
    encoding = "utf-8-sig" if layout.bom else "utf-8"
    text = io.TextIOWrapper(stream, encoding=encoding, newline="", write_through=True)
    decimal = "," if layout.delimiter == ";" else "."
    writer = csv.writer(text, delimiter=layout.delimiter, lineterminator="\n")
    writer.writerow([_csv_cell(c, decimal) for c in layout.columns])
    for row in rows:
        writer.writerow([_csv_cell(row.get(c), decimal) for c in layout.columns])
    text.detach()


def _write_jsonl(stream: IO[bytes], rows: Iterable[Row], layout: Layout, warn: Warn) -> None:
    del layout, warn
    for row in rows:
        line = json.dumps(row, ensure_ascii=False, default=str)
        try:
            stream.write(line.encode() + b"\n")
        except UnicodeEncodeError:  # half a surrogate pair: only an escape can carry it
            stream.write(json.dumps(row, default=str).encode() + b"\n")


def _write_parquet(stream: IO[bytes], rows: Iterable[Row], layout: Layout, warn: Warn) -> None:
    del warn
    pa, pq = _pyarrow()
    kept = list(rows)
    arrays = {}
    for column in layout.columns:
        values = [row.get(column) for row in kept]
        if layout.schema is not None and column in layout.schema.names:
            arrays[column] = pa.array(values, type=layout.schema.field(column).type)
            continue
        kinds = {type(v) for v in values if v is not None}
        if (kinds - {bool} and kinds - {int, float} and len(kinds) > 1) or kinds & {dict, list}:
            values = [None if v is None else str(_plain(v)) for v in values]
        values = [_whole_text(v) if isinstance(v, str) else v for v in values]
        try:
            arrays[column] = pa.array(values) if kinds else pa.array(values, type=pa.string())
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
            arrays[column] = pa.array([None if v is None else str(v) for v in values])
    pq.write_table(pa.table(arrays), pa.PythonFile(stream, mode="w"))


def _write_workbook(stream: IO[bytes], rows: Iterable[Row], layout: Layout, warn: Warn) -> None:
    import xlsxwriter

    workbook = xlsxwriter.Workbook(
        stream,
        {
            "constant_memory": True,
            "strings_to_formulas": False,
            "strings_to_urls": False,
            "strings_to_numbers": False,
            "remove_timezone": True,
            "nan_inf_to_errors": True,
        },
    )
    try:
        _fill_workbook(workbook, rows, layout, warn)
    finally:
        # Also after a failure: the workbook keeps open files of its own.
        workbook.close()


def _fill_workbook(workbook: Any, rows: Iterable[Row], layout: Layout, warn: Warn) -> None:
    bold = workbook.add_format({"bold": True, "text_wrap": True, "valign": "top"})
    moments = {
        datetime: workbook.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"}),
        date: workbook.add_format({"num_format": "yyyy-mm-dd"}),
        time: workbook.add_format({"num_format": "hh:mm:ss"}),
        timedelta: workbook.add_format({"num_format": "[h]:mm:ss"}),
    }
    sheet = workbook.add_worksheet("Antwoorden")
    sheet.freeze_panes(1, 0)
    sheet.set_column(0, max(len(layout.columns) - 1, 0), 16)
    for number, column in enumerate(layout.columns):
        sheet.write_string(0, number, column, bold)
    count = 0
    for count, row in enumerate(rows, start=1):
        if count >= _EXCEL_ROWS:
            msg = f"More rows than a sheet holds ({_EXCEL_ROWS}). Write CSV or Parquet instead."
            raise InputError(msg)
        for number, column in enumerate(layout.columns):
            value = _plain(row.get(column))
            if value is None or value == "":
                continue
            if isinstance(value, str):
                value = _whole_text(value)
                if len(value) > _EXCEL_CELL:
                    warn(
                        f"row {count}, column {column!r}: cut to the {_EXCEL_CELL} characters "
                        "that a cell holds. CSV or JSONL keeps all."
                    )
                    value = value[: _EXCEL_CELL - 1] + "…"
                sheet.write_string(count, number, value)
            elif isinstance(value, bool):
                sheet.write_string(count, number, "ja" if value else "nee")
            elif isinstance(value, datetime | date | time | timedelta):
                _write_moment(sheet, count, number, value, moments)
            elif isinstance(value, int | float) and abs(value) < _EXCEL_NUMBER:
                sheet.write_number(count, number, value)
            else:
                sheet.write_string(count, number, str(value))
    if layout.columns and count:
        sheet.autofilter(0, 0, count, len(layout.columns) - 1)
    if layout.notes:
        notes = workbook.add_worksheet("Toelichting")
        notes.set_column(0, 0, 28)
        notes.set_column(1, 1, 110)
        for number, (term, meaning) in enumerate(layout.notes):
            notes.write_string(number, 0, term, bold)
            notes.write_string(number, 1, meaning)


def _write_moment(sheet: Any, row: int, column: int, value: Any, formats: dict[type, Any]) -> None:
    """Write a date, time or duration; one before 1900, which Excel cannot hold, as text."""
    kind = next(k for k in (datetime, date, time, timedelta) if isinstance(value, k))
    if isinstance(value, date) and value.year < 1900:
        sheet.write_string(row, column, value.isoformat())
    else:
        sheet.write_datetime(row, column, value, formats[kind])
