"""Tables of feedback: what a reader gives and a writer takes, and what their cells mean.

`reading` opens files, `writing` makes them. Rows are dictionaries with values as they stand in
the file: a CSV cell stays the text it was ("007" is not 7).
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from druppel.errors import InputError

STANDARD_STREAM = "-"
"""Stands for standard input or output."""

FORMATS = ("csv", "xlsx", "jsonl", "parquet", "sav", "txt")
OUTPUT_FORMATS = FORMATS[:-1]
TEXT_FORMATS = ("csv", "jsonl", "txt")
"""Formats of lines: their files may be compressed with gzip."""

GZIP = ".gz"
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
    ".sav": "sav",
    ".zsav": "sav",
    ".txt": "txt",
}
SUFFIXES = tuple(_BY_SUFFIX)
_READ_ONLY = (".xlsm", ".xls", ".ods", ".txt")
ERROR = "error"
"""Column that says why a row could not be read or labelled; never holds feedback."""

EXCEL_ROWS = 1_048_576
_INT64 = 1 << 63
_TEN = 10  # the best grade
_GRADE = re.compile(r"\d{1,3}(?:[.,]\d+)?")
_SAMPLE_ROWS = 200
_TEXT_NAMES = re.compile(
    r"antwoord|tekst|text|opmerking|toelichting|feedback|review|bericht|comment|klacht|reactie"
    r"|omschrijving|beschrijving|verbatim|answer|message|melding|ervaring",
    re.IGNORECASE,
)

Row = dict[str, Any]
Warn = Callable[[str], None]


@dataclass
class Table:
    """A table that can be read, more than once.

    Attributes
    ----------
    name : str
        For messages: the path, or "standard input".
    columns : list of str
        Names of the columns in order. Of JSONL: the keys of all rows.
    format : str
        One of `FORMATS`.
    read : callable
        Gives the rows from the first on, each time it is called.
    n_rows : int or None
        Number of rows, where that is known without reading them.
    delimiter : str or None
        Of a CSV file with more than one column.
    encoding : str or None
        Of a file of lines.
    bom : bool
        Whether a CSV file came from Excel by its looks (a byte-order mark, or Windows-1252) and
        the output should begin with a mark.
    kinds : mapping from str to collection of type
        Types of a column's values, where the format does not make all of them text.
    labels : mapping from str to str
        What a column is about in words, where the file says so.
    schema : pyarrow.Schema or None
        Types of a Parquet file's columns, kept for writing Parquet.
    spss : object or None
        What an SPSS file says of its variables, kept for writing SPSS.
    error_key : str
        Key under which a row says why it could not be read; no column has that name.
    cut_off : bool
        Whether the file ends in the middle; the rows up to there can be read.
    """

    name: str
    columns: list[str]
    format: str
    read: Callable[[], Iterator[Row]]
    n_rows: int | None = None
    delimiter: str | None = None
    encoding: str | None = None
    bom: bool = False
    kinds: Mapping[str, Collection[type]] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    schema: Any = field(default=None, repr=False)
    spss: Any = field(default=None, repr=False)
    cut_off: bool = False

    def __post_init__(self) -> None:
        self.error_key = unique_names([*self.columns, ERROR])[-1]

    def count(self) -> int:
        """Count the rows, by reading them where need be."""
        if self.n_rows is None:
            self.n_rows = sum(1 for _ in self.read())
        return self.n_rows


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
    kinds : mapping from str to collection of type
        Types of a column's values, for Parquet and SPSS; a column without is text.
    schema : pyarrow.Schema or None
        Types for Parquet columns where known.
    labels : mapping from str to str
        Variable labels, for SPSS.
    value_labels : mapping from str to mapping
        Value labels, for SPSS.
    spss : object or None
        What the SPSS file that was read says of its variables.
    notes : list of (str, str)
        Explanations for a second sheet of a workbook: term and meaning.
    """

    columns: list[str]
    delimiter: str = ","
    bom: bool = False
    kinds: Mapping[str, Collection[type]] = field(default_factory=dict)
    schema: Any = field(default=None, repr=False)
    labels: Mapping[str, str] = field(default_factory=dict)
    value_labels: Mapping[str, Mapping[float, str]] = field(default_factory=dict)
    spss: Any = field(default=None, repr=False)
    notes: Sequence[tuple[str, str]] = ()


def format_of(path: str | Path) -> str | None:
    """Format that a file name's suffix stands for, or None.

    Examples
    --------
    >>> format_of("antwoorden.csv.gz"), format_of("antwoorden.docx")
    ('csv', None)
    """
    name = str(path).lower()
    zipped = name.endswith(GZIP)
    known = _BY_SUFFIX.get(Path(name.removesuffix(GZIP)).suffix)
    return None if zipped and known not in TEXT_FORMATS else known


def output_format_of(path: str | Path) -> str:
    """Format to write under a file name.

    Raises
    ------
    InputError
        If no such file can be written.
    """
    known = format_of(path)
    if known is None or str(path).lower().removesuffix(GZIP).endswith(_READ_ONLY):
        msg = (
            f"{path}: cannot write that kind of file. Use .csv, .tsv, .xlsx, .jsonl, .parquet "
            "or .sav (.csv.gz, .tsv.gz and .jsonl.gz are compressed)."
        )
        raise InputError(msg)
    return known


def unique_names(names: Iterable[Any]) -> list[str]:
    """Column names made unique; an empty one is called after its position.

    Examples
    --------
    >>> unique_names(["a", "", "a", None])
    ['a', 'kolom_2', 'a_2', 'kolom_4']
    """
    columns: list[str] = []
    taken: set[str] = set()
    for number, value in enumerate(names, start=1):
        name = str(value).strip() if value is not None else ""
        name = name or f"kolom_{number}"
        unique, count = name, 1
        while unique in taken:
            count += 1
            unique = f"{name}_{count}"
        columns.append(unique)
        taken.add(unique)
    return columns


def find_text_column(table: Table, name: str | None = None) -> str:
    """Return the column that holds the feedback.

    `name` where given; otherwise the only column, the only one with a telling name, or the
    only one that holds sentences.

    Raises
    ------
    InputError
        If `name` is no column, or none stands out; the message lists the columns.
    """
    names = listed(table.columns)
    if name is not None:
        if name not in table.columns:
            msg = f"{table.name}: no column {name!r}. The columns are: {names}."
            raise InputError(msg)
        return name
    if len(table.columns) == 1:
        return table.columns[0]
    rows = table.read()
    sample = list(itertools.islice(rows, _SAMPLE_ROWS))
    wordy = [c for c in table.columns if _holds_sentences([row.get(c) for row in sample])]
    named = [c for c in table.columns if _TEXT_NAMES.search(c)]
    for candidates in ([c for c in named if c in wordy], wordy, named):
        if len(candidates) == 1:
            return candidates[0]
    msg = (
        f"{table.name}: which column holds the feedback? Name it with --text-column. "
        f"The columns are: {names}."
    )
    raise InputError(msg)


def _holds_sentences(values: list[Any]) -> bool:
    """Whether most filled cells are text, and on the whole longer than two words."""
    filled = [v for v in values if v not in ("", None)]
    words = [len(v.split()) for v in filled if isinstance(v, str)]
    return bool(words) and len(words) > len(filled) / 2 and sum(words) / len(words) > 2.5


def listed(columns: Sequence[str]) -> str:
    """Names for a message. A name like a sentence may be a customer's, in a file without header."""
    return ", ".join(shown(name, number) for number, name in enumerate(columns, start=1))


def shown(name: str, number: int) -> str:
    """A column's name for a message, or its number where the name may be feedback."""
    return name if len(name) <= 60 and len(name.split()) <= 6 else f"(column {number})"


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


def kind_of(value: Any) -> type:
    """Type that a value asks of its column: a whole number too long for 64 bits is text."""
    if isinstance(value, int) and not -_INT64 <= value < _INT64:
        return str
    return type(value)


def plain(value: Any) -> Any:
    """A value that fits in one cell: nested data as JSON, bytes as text."""
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=str)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value


def whole_text(value: str) -> str:
    """Text that can be encoded: half a surrogate pair becomes U+FFFD."""
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def pyarrow() -> tuple[Any, Any]:
    """Import pyarrow and its Parquet module.

    Raises
    ------
    InputError
        If it is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        msg = "Parquet needs pyarrow. Install it with: pip install 'druppel[parquet]'"
        raise InputError(msg) from None
    return pa, pq
