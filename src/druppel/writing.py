"""Write tables: CSV, workbooks, JSONL, Parquet and SPSS. A file appears whole or not at all."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
import math
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

from druppel.errors import InputError
from druppel.spss import write_sav
from druppel.tables import (
    EXCEL_ROWS,
    GZIP,
    STANDARD_STREAM,
    Layout,
    Row,
    Warn,
    plain,
    pyarrow,
    whole_text,
)

_EXCEL_CELL = 32_767
_EXCEL_NUMBER = 10**15  # a cell keeps fifteen digits; a longer number stays whole as text
_ROW_GROUP = 10_000  # rows of a Parquet file held in memory
_INT64 = 1 << 63
_GZIP_LEVEL = 6
# A cell that a spreadsheet would run as a formula; plain numbers are not.
_FORMULA = re.compile(r"[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?[\d.,]+%?")

Writer = Callable[[Any, Iterable[Row], Layout, Warn], None]


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
    OSError
        If the disk is full, or fails otherwise.
    """
    writer = _WRITERS[format]
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
        if str(target).lower().endswith(GZIP):
            # No name and no time within: the same rows make the same file.
            with gzip.GzipFile("", "wb", _GZIP_LEVEL, stream, mtime=0) as zipped:
                writer(zipped, rows, layout, warn)
        else:
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
        with path.open("wb") as special:
            yield special
        return
    path = path.resolve()
    # What an earlier run that was killed left under this name is written over.
    temporary = path.with_name(f".{path.name}.druppel-new")
    try:
        stream = temporary.open("w+b")
    except OSError as error:
        msg = f"{path}: cannot write there ({error.strerror}). Check the folder."
        raise InputError(msg) from None
    try:
        with stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _csv_cell(value: Any, decimal: str) -> str:
    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        return "ja" if value else "nee"
    if isinstance(value, float):
        return str(value).replace(".", decimal)
    text = value if isinstance(value, str) else str(plain(value))
    if not text.isascii():
        text = whole_text(text)
    if _FORMULA.match(text) and not _NUMBER.fullmatch(text):
        # A spreadsheet shows a leading apostrophe's cell as text instead of running it.
        return "'" + text
    return text


class _Lines:
    """Ends lines with a line feed alone; the csv module then still quotes carriage returns."""

    def __init__(self, stream: io.TextIOWrapper) -> None:
        self._stream = stream

    def write(self, line: str) -> int:
        """Write a line that ends with a carriage return and a line feed."""
        return self._stream.write(line.removesuffix("\r\n") + "\n")


def _write_csv(stream: IO[bytes], rows: Iterable[Row], layout: Layout, warn: Warn) -> None:
    del warn
    encoding = "utf-8-sig" if layout.bom else "utf-8"
    text = io.TextIOWrapper(stream, encoding=encoding, newline="", write_through=True)
    decimal = "," if layout.delimiter == ";" else "."
    writer = csv.writer(_Lines(text), delimiter=layout.delimiter)
    writer.writerow([_csv_cell(c, decimal) for c in layout.columns])
    for row in rows:
        writer.writerow([_csv_cell(row.get(c), decimal) for c in layout.columns])
    text.detach()


def _write_jsonl(stream: IO[bytes], rows: Iterable[Row], layout: Layout, warn: Warn) -> None:
    del layout, warn
    for row in rows:
        try:
            line = json.dumps(row, ensure_ascii=False, default=str, allow_nan=False)
        except ValueError:
            row = _finite(row)
            line = json.dumps(row, ensure_ascii=False, default=str)
        try:
            stream.write(line.encode() + b"\n")
        except UnicodeEncodeError:  # half a surrogate pair: only an escape can carry it
            stream.write(json.dumps(row, default=str).encode() + b"\n")


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity: null in their place."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list) else value


# --- Parquet ------------------------------------------------------------------------------


def _write_parquet(stream: IO[bytes], rows: Iterable[Row], layout: Layout, warn: Warn) -> None:
    """Write groups of rows under types that are settled beforehand."""
    del warn
    pa, pq = pyarrow()
    known = set() if layout.schema is None else set(layout.schema.names)
    types = {
        c: layout.schema.field(c).type if c in known else _arrow_type(pa, layout.kinds.get(c, ()))
        for c in layout.columns
    }
    moments = {c for c, t in types.items() if c not in known and pa.types.is_timestamp(t)}
    as_text = {c for c, t in types.items() if c not in known and pa.types.is_string(t)}
    fields = [layout.schema.field(c) if c in known else (c, t) for c, t in types.items()]
    schema = pa.schema(fields, metadata=layout.schema.metadata if known else None)
    left = iter(rows)
    with pq.ParquetWriter(pa.PythonFile(stream, mode="w"), schema) as writer:
        while group := list(itertools.islice(left, _ROW_GROUP)):
            arrays = []
            for column, kind in types.items():
                values = [row.get(column) for row in group]
                if column in as_text:
                    values = [None if v is None else _text(v) for v in values]
                elif column in moments:
                    values = [_moment(v) for v in values]
                arrays.append(pa.array(values, type=kind))
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _arrow_type(pa: Any, kinds: Collection[type]) -> Any:
    """Type of a column whose values are of these kinds; text where no other holds them all."""
    for allowed, kind in (
        ({bool}, pa.bool_()),
        ({int}, pa.int64()),
        ({int, float}, pa.float64()),
        ({date}, pa.date32()),
        ({date, datetime}, pa.timestamp("us")),
        ({time}, pa.time64("us")),
        ({timedelta}, pa.duration("us")),
    ):
        if kinds and set(kinds) <= allowed:
            return kind
    return pa.string()


def _moment(value: Any) -> Any:
    """A day among moments is its midnight: Excel tells them apart by the time alone."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime.combine(value, time())
    return value


def _text(value: Any) -> str:
    return whole_text(str(plain(value)))


# --- workbook -----------------------------------------------------------------------------


def _write_workbook(stream: IO[bytes], rows: Iterable[Row], layout: Layout, warn: Warn) -> None:
    """Write through a file of its own: on a full disk the library would not let go of ours."""
    import xlsxwriter
    from xlsxwriter.exceptions import FileCreateError

    with tempfile.TemporaryFile() as spool:
        workbook = xlsxwriter.Workbook(
            spool,
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
            try:
                workbook.close()
            except FileCreateError as error:
                cause = error.args[0] if error.args else None
                raise (cause if isinstance(cause, OSError) else OSError(str(error))) from None
        spool.seek(0)
        shutil.copyfileobj(spool, stream)


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
        if count >= EXCEL_ROWS:
            msg = f"More rows than a sheet holds ({EXCEL_ROWS:,}). Write CSV or Parquet instead."
            raise InputError(msg)
        for number, column in enumerate(layout.columns):
            value = plain(row.get(column))
            if value is None or value == "":
                continue
            if isinstance(value, str):
                value = whole_text(value)
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
            elif isinstance(value, int | float | Decimal) and abs(float(value)) < _EXCEL_NUMBER:
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


def _write_spss(stream: IO[bytes], rows: Iterable[Row], layout: Layout, warn: Warn) -> None:
    """Write through a file of its own: the library takes only a path."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "uitvoer.sav"
        write_sav(path, rows, layout, warn)
        with path.open("rb") as written:
            shutil.copyfileobj(written, stream)


_WRITERS: dict[str, Writer] = {
    "csv": _write_csv,
    "xlsx": _write_workbook,
    "jsonl": _write_jsonl,
    "parquet": _write_parquet,
    "sav": _write_spss,
}
