"""Open tables of feedback: CSV, spreadsheets, JSONL, Parquet, SPSS and plain lines.

What can be read is read; what is amiss is told with file and row. A table is read as often as
its user likes, a few rows at a time.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import itertools
import json
import re
import shutil
import sys
import tempfile
import zipfile
import zlib
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date, time, timedelta
from pathlib import Path
from typing import IO, Any

from druppel.errors import InputError
from druppel.spss import read_sav
from druppel.tables import (
    FORMATS,
    GZIP,
    STANDARD_STREAM,
    SUFFIXES,
    Row,
    Table,
    Warn,
    format_of,
    kind_of,
    pyarrow,
    unique_names,
)

_DELIMITERS = (";", "\t", ",", "|")
_EXCEL_DELIMITER = re.compile(r"sep=(.)\s*")
_NO_DELIMITER = "\x1f"  # one column: no character of the text divides cells
_SPOOL = 64 << 20  # bytes of standard input kept in memory
_CHUNK = 1 << 20
_MAX_LINES = 10_000  # of one cell: more means that a quotation mark was never closed
_HEADERS_SEEN = 20  # rows looked at to recognise a second header row
_MANY_TOLD = 20  # messages of one kind before the rest is only counted
_FALLBACK = "druppel-cp1252"
# A formula whose outcome was never stored: the cell has no value of its own.
_BARE_FORMULA = re.compile(
    rb'<c r="([A-Z]+\d+)"[^>]*>\s*<f[^>]*(?:/>|>[^<]*</f>)\s*(?:<v\s*/>|<v></v>)?\s*</c>'
)


@dataclass(frozen=True)
class Opening:
    """How to read a file, where it does not show by itself.

    Attributes
    ----------
    format : str, optional
        One of `druppel.tables.FORMATS`.
    sheet : str, optional
        Sheet of a workbook; otherwise the first that holds anything.
    delimiter : str, optional
        Between CSV cells.
    encoding : str, optional
        Of a file of lines, by any name that Python knows.
    header_rows : int, default=1
        Rows of a CSV file or workbook that together make the column names.

    Raises
    ------
    InputError
        If there is no such format or encoding, or the delimiter is not one character.
    """

    format: str | None = None
    sheet: str | None = None
    delimiter: str | None = None
    encoding: str | None = None
    header_rows: int = 1

    def __post_init__(self) -> None:
        if self.format is not None and self.format not in FORMATS:
            msg = f"'format' must be one of {', '.join(FORMATS)}, got {self.format!r}."
            raise InputError(msg)
        if self.delimiter is not None and len(self.delimiter) != 1:
            msg = f"'delimiter' must be one character, got {self.delimiter!r}."
            raise InputError(msg)
        if self.header_rows < 1:
            msg = f"'header_rows' must be 1 or more, got {self.header_rows}."
            raise InputError(msg)
        if self.encoding is not None:
            try:
                codecs.lookup(self.encoding)
            except LookupError:
                msg = f"'encoding' must be one that exists, such as utf-8, got {self.encoding!r}."
                raise InputError(msg) from None


@contextmanager
def open_table(
    source: str | Path, opening: Opening | None = None, *, warn: Warn = lambda _: None
) -> Iterator[Table]:
    """Open a table for reading.

    Parameters
    ----------
    source : str or Path
        A file, or ``"-"`` for standard input. The format follows from the suffix, and on
        standard input from the first bytes, where anything that is not recognised is read as
        plain lines. Gzip is recognised by itself.
    opening : Opening, optional
    warn : callable, optional
        Told in one line what was amiss but not fatal, with the row.

    Raises
    ------
    InputError
        If the file is missing, empty, or not of its format. Also while rows are read, from a
        file that turns out to be damaged further on.
    """
    opening = opening or Opening()
    name = "standard input" if source == STANDARD_STREAM else str(source)
    with ExitStack() as opened:
        stream = opened.enter_context(_binary(source))
        stream, cut_off = _unzipped(stream, name)
        start = stream.read(4096)
        stream.seek(0)
        if not start:
            msg = f"{name}: empty, there is nothing to label."
            raise InputError(msg)
        format = opening.format or _guess_format(source, start, name)
        told = _Told(name, warn)
        if format == "xlsx":
            table = _read_workbook(stream, name, opening, told)
        elif format == "parquet":
            table = _read_parquet(stream, name, told)
        elif format == "sav":
            table = read_sav(opened.enter_context(_on_disk(source, stream)), name)
        else:
            if b"\0" in start and not opening.encoding and not start.startswith(_WIDE_MARKS):
                msg = f"{name}: not a {format} file (it holds binary data)."
                raise InputError(msg)
            text, mixed = _decoded(stream, name, opening.encoding)
            opened.enter_context(text)
            if mixed:
                told.row(
                    mixed,
                    "some lines are UTF-8 and some, from here on, Windows-1252; each was "
                    "read as what it is",
                )
            # What came from Excel goes back so that Excel reads it: UTF-8 with a mark.
            bom = start.startswith(codecs.BOM_UTF8) or text.encoding in ("cp1252", "utf-16")
            if format == "csv":
                table = _read_csv(text, name, opening, told)
            elif format == "jsonl":
                table = _read_jsonl(text, name, told)
            else:
                table = _read_lines(text, name)
            table.bom = bom
            table.encoding = "mixed" if mixed else text.encoding.removesuffix("-sig")
        if cut_off:
            table.cut_off = True
            warn(
                f"{name}: the compressed file is cut off; the rows up to there are labelled, the "
                "rest is missing. Fetch the file again."
            )
        yield table


_WIDE_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)
# An accented letter in UTF-8; as Windows-1252 it would be two letters that never follow each other.
_UTF8_LETTER = re.compile(rb"\xc3[\x80-\xbf]")


class _Told:
    """Tells of rows that are amiss: each once, however often the table is read."""

    def __init__(self, name: str, warn: Warn) -> None:
        self._name, self._warn = name, warn
        self._seen: set[str] = set()
        self._left = _MANY_TOLD

    def row(self, number: int | str, problem: str) -> None:
        """Tell what is wrong with a row or line."""
        message = f"{self._name}:{number}: {problem}."
        if message in self._seen or self._left < 0:
            return
        if self._left == 0:
            message = f"{self._name}: more rows like these; they are not told one by one."
        self._left -= 1
        self._seen.add(message)
        self._warn(message)


# --- streams ------------------------------------------------------------------------------


@contextmanager
def _binary(source: str | Path) -> Iterator[IO[bytes]]:
    """Open a file, or keep standard input in a file of our own so that it can be read twice."""
    if source == STANDARD_STREAM:
        if sys.stdin is None:
            msg = "Standard input is closed. Name a file."
            raise InputError(msg)
        with tempfile.SpooledTemporaryFile(max_size=_SPOOL) as spool:
            shutil.copyfileobj(sys.stdin.buffer, spool)
            spool.seek(0)
            yield spool
        return
    try:
        stream = Path(source).open("rb")  # noqa: SIM115 (closed below)
        stream.peek(1)
    except OSError as error:
        msg = f"{source}: cannot be opened ({error.strerror}). Check the path."
        raise InputError(msg) from None
    with stream:
        if stream.seekable():
            yield stream
            return
        # A pipe by name, as in <(command).
        with tempfile.SpooledTemporaryFile(max_size=_SPOOL) as spool:
            shutil.copyfileobj(stream, spool)
            spool.seek(0)
            yield spool


@contextmanager
def _on_disk(source: str | Path, stream: IO[bytes]) -> Iterator[Path]:
    """Path of a file with the content of a stream, for a library that wants a path."""
    if source != STANDARD_STREAM and Path(source).is_file():
        yield Path(source)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "invoer"
        with path.open("wb") as copy:
            shutil.copyfileobj(stream, copy)
        yield path


class _Unzipped(io.RawIOBase):
    """The content of a gzip file; one that is cut off or damaged just ends there."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._gzip = gzip.GzipFile(fileobj=stream, mode="rb")
        self.cut_off = False

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._gzip.read1(len(buffer))
        except (EOFError, zlib.error, gzip.BadGzipFile):
            self.cut_off = True
            return 0
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if (offset, whence) == (0, io.SEEK_SET) and self.cut_off:
            # After an error the state of the decompressor is lost.
            self._stream.seek(0)
            self._gzip = gzip.GzipFile(fileobj=self._stream, mode="rb")
            return 0
        return self._gzip.seek(offset, whence)

    def tell(self) -> int:
        return self._gzip.tell()


def _unzipped(stream: IO[bytes], name: str) -> tuple[IO[bytes], bool]:
    """Look through gzip; also say whether it is cut off."""
    compressed = stream.read(2) == b"\x1f\x8b"
    stream.seek(0)
    if not compressed:
        return stream, False
    raw = _Unzipped(stream)
    buffered = io.BufferedReader(raw, buffer_size=_CHUNK)
    found = 0
    while chunk := buffered.read(_CHUNK):
        found += len(chunk)
    if raw.cut_off and not found:
        msg = f"{name}: the compressed file is damaged from its start. Fetch it again."
        raise InputError(msg)
    buffered.seek(0)
    return buffered, raw.cut_off


def _guess_format(source: str | Path, start: bytes, name: str) -> str:
    if source != STANDARD_STREAM:
        known = format_of(source)
        if known is None:
            msg = (
                f"{name}: unknown kind of file. Known are {', '.join(SUFFIXES)}, and those of "
                f"lines with {GZIP} behind; or name it with --input-format {'|'.join(FORMATS)}."
            )
            raise InputError(msg)
        return known
    return sniff(start) or "txt"


def sniff(start: bytes) -> str | None:
    """Format that a file's first bytes show, or None where they could be any text."""
    if start.startswith(b"PAR1"):
        return "parquet"
    if start.startswith((b"$FL2", b"$FL3")):
        return "sav"
    if start.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        return "xlsx"
    if start.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"{"):
        return "jsonl"
    return None


def _decoded(
    stream: IO[bytes], name: str, encoding: str | None
) -> tuple[io.TextIOWrapper, int | None]:
    """Decode a stream; also return the first line that is not what the others are.

    By the name given, else its byte-order mark, else UTF-8, else Windows-1252. Where lines of
    both stand in one file, as when exports were pasted together, each is read as what it is.
    """
    start = stream.read(4)
    stream.seek(0)
    if encoding is not None:
        if codecs.lookup(encoding).name == "utf-8":
            encoding = "utf-8-sig"
        if not _decodes(stream, encoding):
            msg = f"{name}: not in {encoding}. Name another with --encoding, or leave it out."
            raise InputError(msg)
        return io.TextIOWrapper(stream, encoding=encoding, newline=""), None
    if start.startswith(_WIDE_MARKS):
        wide_marks = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
        wide_name = "utf-32" if start.startswith(wide_marks) else "utf-16"
        if not _decodes(stream, wide_name):
            msg = f"{name}: begins as {wide_name} and goes on otherwise. Save it as UTF-8."
            raise InputError(msg)
        return io.TextIOWrapper(stream, encoding=wide_name, newline=""), None
    if _decodes(stream, "utf-8-sig"):
        return io.TextIOWrapper(stream, encoding="utf-8-sig", newline=""), None
    # Not UTF-8 throughout. Lines with letters beyond ASCII that are UTF-8 cannot be chance.
    other, wide, first = 0, 0, None
    for number, line in enumerate(stream, start=1):
        if line.isascii():
            continue
        try:
            line.decode("utf-8")
            wide += 1
        except UnicodeDecodeError:
            other += 1
            wide += bool(_UTF8_LETTER.search(line))
            first = first or number
    stream.seek(0)
    if wide and other:
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors=_FALLBACK, newline="")
        return text, first
    if _decodes(stream, "cp1252"):
        return io.TextIOWrapper(stream, encoding="cp1252", newline=""), None
    msg = (
        f"{name}: neither UTF-8 nor Windows-1252. Save it as UTF-8, or name its encoding with "
        "--encoding."
    )
    raise InputError(msg)


def _decodes(stream: IO[bytes], encoding: str) -> bool:
    """Whether all of a stream can be decoded; it stands at its start afterwards."""
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        while chunk := stream.read(_CHUNK):
            decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeError:
        return False
    finally:
        stream.seek(0)
    return True


def _as_cp1252(error: UnicodeError) -> tuple[str, int]:
    """Decode by Windows-1252 what is not UTF-8."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return error.object[error.start : error.end].decode("cp1252", "replace"), error.end


codecs.register_error(_FALLBACK, _as_cp1252)


# --- CSV ----------------------------------------------------------------------------------


class _TooLongError(Exception):
    """A cell runs on over more lines than any answer has."""


class _Lines:
    """Lines of a file; those of the record at hand can be given back."""

    def __init__(self, text: Iterable[str]) -> None:
        self._text = iter(text)
        self._back: deque[str] = deque()
        self.taken: list[str] = []
        self.number = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        if len(self.taken) >= _MAX_LINES:
            raise _TooLongError
        line = self._back.popleft() if self._back else next(self._text)
        self.number += 1
        self.taken.append(line)
        return line

    def give_back(self, keep: int) -> list[str]:
        """Give back all lines of the record but the first few; return those."""
        kept, rest = self.taken[:keep], self.taken[keep:]
        self._back.extendleft(reversed(rest))
        self.number -= len(rest)
        self.taken = kept
        return kept


def _read_csv(text: io.TextIOWrapper, name: str, opening: Opening, told: _Told) -> Table:
    csv.field_size_limit(sys.maxsize)
    first = text.readline()
    declared = _EXCEL_DELIMITER.fullmatch(first)
    skipped = 1 if declared else 0
    if opening.delimiter is not None:
        delimiter = opening.delimiter
    else:
        delimiter = declared[1] if declared else _guess_delimiter(text)

    def records() -> Iterator[tuple[int, list[str]]]:
        text.seek(0)
        lines = _Lines(text)
        for _ in range(skipped):
            next(lines)
        yield from _records(lines, delimiter, told)

    headers: list[list[str]] = []
    filled = (row for _, row in records() if any(cell.strip() for cell in row))
    headers = list(itertools.islice(filled, opening.header_rows))
    if not headers:
        msg = f"{name}: empty, there is nothing to label."
        raise InputError(msg)
    columns = _header(headers)
    _tell_second_header(columns, list(itertools.islice(filled, _HEADERS_SEEN)), told)

    def read() -> Iterator[Row]:
        rows = records()
        left = opening.header_rows
        for number, cells in rows:
            if left:
                left -= any(cell.strip() for cell in cells)
                continue
            row = _csv_row(number, cells, columns, delimiter, told)
            if row is not None:
                yield row

    shown = None if delimiter == _NO_DELIMITER else delimiter
    return Table(name, columns, "csv", read, delimiter=shown)


def _records(
    lines: _Lines, delimiter: str, told: _Told | None = None
) -> Iterator[tuple[int, list[str]]]:
    """Cells of each record with the number of its first line.

    A quotation mark that is never closed would swallow what follows. So each record is read
    strictly first; where that fails, its first line is read by itself, and reading goes on at
    the next.
    """
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    width = 0
    while True:
        lines.taken.clear()
        begin = lines.number + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except (csv.Error, _TooLongError) as error:
            endless = isinstance(error, _TooLongError) or "unexpected end" in str(error)
            mended = _tolerant(lines.taken[0], delimiter) if lines.taken else None
            if mended is not None and width and len(mended) == width:
                lines.give_back(1)
            else:
                mended = None if endless else _mend(lines, delimiter, width)
            if mended is not None:
                cells = mended
            else:
                (line,) = lines.give_back(1)
                cells = _without_quotes(line, delimiter, width)
                if told is not None:
                    told.row(
                        begin,
                        "a quotation mark opened in this row is never closed; the row was read "
                        "up to the end of its line",
                    )
            reader = csv.reader(lines, delimiter=delimiter, strict=True)
        width = width or len(cells)
        yield begin, cells


def _tolerant(line: str, delimiter: str) -> list[str] | None:
    """Cells of a line in which a quotation mark ends a cell only before the next or the end.

    None where one is never closed.
    """
    line = line.rstrip("\r\n")
    cells, at = [], 0
    while True:
        if line[at : at + 1] == '"':
            end = line.find('"', at + 1)
            while end >= 0 and line[end + 1 : end + 2] not in ("", delimiter):
                skip = 2 if line[end + 1] == '"' else 1
                end = line.find('"', end + skip)
            if end < 0:
                return None
            cells.append(line[at + 1 : end].replace('""', '"'))
            end += 1
        else:
            end = line.find(delimiter, at)
            end = len(line) if end < 0 else end
            cells.append(line[at:end])
        if end >= len(line):
            return cells
        at = end + 1


def _mend(lines: _Lines, delimiter: str, width: int) -> list[str] | None:
    """Read a record with sloppy quotation marks; None where its first line must do alone."""
    lines.give_back(0)
    try:
        cells = next(csv.reader(lines, delimiter=delimiter))
    except (csv.Error, _TooLongError, StopIteration):
        return None
    # A line within it that has the file's width by itself is a row that would be swallowed.
    swallowed = any(
        width > 1 and width in (len(_split(line, delimiter)), len(_quoted(line, delimiter)))
        for line in lines.taken[1:]
    )
    return None if swallowed else cells


def _without_quotes(line: str, delimiter: str, width: int) -> list[str]:
    """Cells of one line, by quotation marks if that gives the right number, else without."""
    quoted = _quoted(line, delimiter)
    return quoted if len(quoted) == width else _split(line, delimiter)


def _quoted(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([line.rstrip("\r\n")], delimiter=delimiter), [])


def _split(line: str, delimiter: str) -> list[str]:
    return [cell.strip('"') for cell in line.rstrip("\r\n").split(delimiter)]


def _guess_delimiter(text: io.TextIOWrapper) -> str:
    """Find what divides the cells: header and rows must agree.

    A survey question as the only header may hold a comma, and its answers too. So a mark counts
    when every sampled row has exactly the header's width; or when most have at least that, and
    the header does not use the mark as prose does, always with a space behind it.
    """
    best, most = _NO_DELIMITER, 1
    for delimiter in _DELIMITERS:
        text.seek(0)
        filled = (row for _, row in _records(_Lines(text), delimiter) if any(row))
        sample = list(itertools.islice(filled, 100))
        if not sample:
            continue
        header, *rows = sample
        width = len(header)
        exact = all(len(row) == width for row in rows)
        most_wide = sum(len(row) >= width for row in rows) > len(rows) / 2
        as_prose = all(cell.startswith(" ") for cell in header[1:])
        if width > most and (exact or (most_wide and not as_prose)):
            best, most = delimiter, width
    return best


def _csv_row(
    number: int, cells: list[str], columns: list[str], delimiter: str, told: _Told
) -> Row | None:
    width = len(columns)
    if not cells:
        # The csv module gives a blank line as no cells; in a one-column file it is an empty
        # answer, elsewhere it is nothing.
        if width > 1:
            return None
        cells = [""]
    if len(cells) > width:
        told.row(
            number,
            f"{len(cells)} cells under {width} columns; what is too much was added to the last "
            "column",
        )
        cells = [*cells[: width - 1], delimiter.join(cells[width - 1 :])]
    elif len(cells) < width:
        told.row(number, f"{len(cells)} cells under {width} columns; those that miss are empty")
    return dict(itertools.zip_longest(columns, cells, fillvalue=""))


def _header(rows: Sequence[Sequence[Any]]) -> list[str]:
    """Column names from one or more header rows: what stands above each other, joined."""
    width = max(map(len, rows))
    names = []
    for column in range(width):
        parts = [str(row[column]).strip() for row in rows if column < len(row) and row[column]]
        names.append(" – ".join(dict.fromkeys(filter(None, parts))))
    return unique_names(names)


def _tell_second_header(columns: list[str], body: Sequence[Sequence[Any]], told: _Told) -> None:
    """Tell of a first row that looks like a second header, as survey tools export.

    Its cell is text above numbers or dates in some column, or it names a column that has no name.
    """
    if len(columns) < 2 or len(body) < 3:
        return
    first, *rest = body

    def word(value: Any) -> bool:
        return isinstance(value, str) and bool(value.strip()) and not _is_value(value)

    def above_values(column: int) -> bool:
        cells = [row[column] for row in rest if column < len(row) and row[column] not in ("", None)]
        return word(first[column]) and len(cells) > 1 and all(map(_is_value, cells))

    width = min(len(first), len(columns))
    unnamed = [c for c in range(width) if columns[c] == f"kolom_{c + 1}" and word(first[c])]
    if unnamed or any(map(above_values, range(width))):
        told.row(
            "first row",
            "looks like a second header and was read as an answer. If it is one, add "
            "--header-rows 2",
        )


def _is_value(value: Any) -> bool:
    """Whether a cell is a number or date rather than words."""
    if not isinstance(value, str):
        return isinstance(value, int | float | date | time | timedelta)
    return bool(re.fullmatch(r"[\d.,:/ €%+-]+|\d[\d-]*T[\d:.]+Z?", value.strip()))


# --- other formats ------------------------------------------------------------------------


def _read_workbook(stream: IO[bytes], name: str, opening: Opening, told: _Told) -> Table:
    from python_calamine import CalamineError, CalamineWorkbook, PasswordError, WorksheetNotFound

    data = stream.read()
    try:
        workbook = CalamineWorkbook.from_filelike(io.BytesIO(data))
    except PasswordError:
        msg = f"{name}: protected with a password. Save it without one and try again."
        raise InputError(msg) from None
    except CalamineError:
        if b"E\x00n\x00c\x00r\x00y\x00p\x00t\x00" in data:  # "Encrypt…" in the container's index
            msg = f"{name}: protected with a password. Save it without one and try again."
        else:
            msg = (
                f"{name}: not a spreadsheet, or damaged. Open it in Excel and save it again as "
                "xlsx."
            )
        raise InputError(msg) from None
    names = [opening.sheet] if opening.sheet is not None else workbook.sheet_names
    for title in names:
        try:
            sheet = workbook.get_sheet_by_name(title)
            cells = sheet.to_python(skip_empty_area=False)
        except (CalamineError, WorksheetNotFound):
            titles = ", ".join(workbook.sheet_names)
            msg = f"{name}: no readable sheet {title!r}. The sheets are: {titles}."
            raise InputError(msg) from None
        filled = [i for i, row in enumerate(cells) if any(v not in ("", None) for v in row)]
        # A cover sheet has a title and no rows under it.
        if not filled or (len(filled) == 1 and title != names[-1]):
            continue
        break
    else:
        msg = f"{name}: no sheet holds anything, there is nothing to label."
        raise InputError(msg)
    if opening.sheet is None and len(workbook.sheet_names) > 1:
        told.row(f"sheet {title}", "this sheet was labelled; the others are not in the output")
    filled = _below_title(cells, filled, told)
    # Columns and rows around the data that hold nothing are no part of the table.
    width = 1 + max(i for row in cells for i, value in enumerate(row) if value not in ("", None))
    heads = [list(map(_cell, cells[i][:width])) for i in filled[: opening.header_rows]]
    merged = sheet.merged_cell_ranges or []
    _spread_header(heads, filled[: opening.header_rows], merged)
    columns = _header(heads)
    begin = filled[: opening.header_rows][-1] + 1
    body = cells[begin : filled[-1] + 1]
    del cells
    for (top, left), (bottom, _) in merged:
        if top >= begin and bottom > top and left < width:
            told.row(
                top + 1,
                f"cells of column {columns[left]!r} are merged down to row {bottom + 1}; the value "
                "counts for the first row only"
                if len(columns[left]) <= 60
                else f"cells are merged down to row {bottom + 1}; the value counts for the first "
                "row only",
            )
    _tell_second_header(columns, [row[:width] for row in body[:_HEADERS_SEEN]], told)
    _tell_bare_formulas(data, told)

    def read() -> Iterator[Row]:
        for row in body:
            yield dict(zip(columns, map(_cell, row[:width]), strict=True))

    kinds: dict[str, set[type]] = defaultdict(set)
    for row in body:
        for column, value in zip(columns, row, strict=False):
            if value != "":
                kinds[column].add(kind_of(_cell(value)))
    return Table(name, columns, "xlsx", read, n_rows=len(body), kinds=kinds)


def _below_title(cells: list[list[Any]], filled: list[int], told: _Told) -> list[int]:
    """Pass over a title above the header: a cell by itself, an empty row, and then names."""

    def held(row: int) -> list[Any]:
        return [value for value in cells[row] if value not in ("", None)]

    for this, following in itertools.pairwise(filled[:5]):
        if len(held(this)) > 1:
            return filled
        names = held(following)
        if following > this + 1 and len(names) > 1 and all(isinstance(n, str) for n in names):
            told.row(
                following + 1,
                "taken for the row with the column names; what stands above it for a title",
            )
            return [row for row in filled if row >= following]
    return filled


def _spread_header(
    heads: list[list[Any]],
    numbers: list[int],
    merged: Sequence[tuple[tuple[int, int], tuple[int, int]]],
) -> None:
    """Give a header that was merged over several columns to each of them."""
    for (top, left), (bottom, right) in merged:
        for i, number in enumerate(numbers):
            if top <= number <= bottom and left < len(heads[i]):
                value = heads[numbers.index(top)][left] if top in numbers else None
                for column in range(left, min(right + 1, len(heads[i]))):
                    heads[i][column] = heads[i][column] or value


def _tell_bare_formulas(data: bytes, told: _Told) -> None:
    """Tell of formulas without outcome, as programs write that do not calculate."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as parts:
            for part in parts.namelist():
                if part.startswith("xl/worksheets/") and part.endswith(".xml"):
                    found = _BARE_FORMULA.search(parts.read(part))
                    if found:
                        told.row(
                            found[1].decode(),
                            "holds a formula whose outcome was never stored, so it reads as "
                            "empty. Open the file in Excel, save it and try again",
                        )
                        return
    except (zipfile.BadZipFile, OSError):
        return  # xls and ods; what calamine could read is fine


def _cell(value: Any) -> Any:
    """Value of a spreadsheet cell: whole numbers without a decimal part, empty as None."""
    if value == "":
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return int(value)
    return value


def _read_jsonl(text: io.TextIOWrapper, name: str, told: _Told) -> Table:
    kinds: dict[str, set[type]] = defaultdict(set)
    good = bad = 0
    text.seek(0)
    for line in filter(str.strip, text):
        row = _json_object(line)
        good, bad = good + (row is not None), bad + (row is None)
        for key, value in (row or {}).items():
            found = kinds[key]
            if value is not None:
                found.add(kind_of(value))
    if not kinds:
        msg = (
            f"{name}: no line is a JSON object. JSONL has one object a line, such as "
            '{"text": "…"}.'
            if bad
            else f"{name}: empty, there is nothing to label."
        )
        raise InputError(msg)

    def read() -> Iterator[Row]:
        text.seek(0)
        for number, line in enumerate(text, start=1):
            if not line.strip():
                continue
            row = _json_object(line)
            if row is None:
                told.row(number, "not a JSON object; the row keeps its place, without content")
                row = {table.error_key: f"{name}:{number}: not a JSON object"}
            yield row

    table = Table(name, list(kinds), "jsonl", read, n_rows=good + bad, kinds=kinds)
    return table


def _json_object(line: str) -> Row | None:
    """Parse a line; None where it is no JSON object that can be held."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _read_parquet(stream: IO[bytes], name: str, told: _Told) -> Table:
    pa, pq = pyarrow()
    try:
        file = pq.ParquetFile(pa.PythonFile(stream, mode="r"))
    except (pa.ArrowException, OSError):
        msg = f"{name}: not a Parquet file, or cut off. Fetch it again."
        raise InputError(msg) from None
    schema = file.schema_arrow
    columns = unique_names(schema.names)
    fields = [f.with_name(c) for c, f in zip(columns, schema, strict=True)]
    schema = pa.schema(fields, metadata=schema.metadata)

    def read() -> Iterator[Row]:
        done = 0
        try:
            for batch in file.iter_batches(batch_size=8192):
                # By position: two columns may have one name.
                cells = [column.to_pylist() for column in batch.columns]
                for row in zip(*cells, strict=True):
                    yield dict(zip(columns, row, strict=True))
                done += batch.num_rows
        except (pa.ArrowException, OSError):
            # What comes before is as good as in a file that is cut off.
            table.cut_off = True
            told.row(
                done + 1,
                "the file is damaged from here on; the rows before are labelled, the rest is "
                "missing. Fetch the file again",
            )

    table = Table(name, columns, "parquet", read, n_rows=file.metadata.num_rows, schema=schema)
    return table


def _read_lines(text: io.TextIOWrapper, name: str) -> Table:
    def read() -> Iterator[Row]:
        text.seek(0)
        for line in text:
            yield {"text": line.rstrip("\r\n")}

    return Table(name, ["text"], "txt", read)
