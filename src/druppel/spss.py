"""SPSS files: variables with their labels, read and written."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from druppel.errors import InputError
from druppel.tables import Layout, Row, Table, Warn, plain, unique_names, whole_text

_CHUNK = 20_000
_STRING = 32_767  # bytes that a string variable holds
_NAME = 64  # bytes of a variable's name
_NOT_IN_NAME = re.compile(r"[^\w.@#$]+")
_TWICE = re.compile("__+")
_RESERVED = {"all", "and", "by", "eq", "ge", "gt", "le", "lt", "ne", "not", "or", "to", "with"}


def read_sav(path: Path, name: str) -> Table:
    """Read an SPSS file: values as they are stored, user-missing codes included.

    Raises
    ------
    InputError
        If it is none, or damaged, or the library for it is not installed.
    """
    pyreadstat = _pyreadstat()
    try:
        _, meta = pyreadstat.read_sav(str(path), metadataonly=True, user_missing=True)
    except Exception:  # the library raises several of its own
        msg = f"{name}: not an SPSS file, or damaged. Open it in SPSS and save it again."
        raise InputError(msg) from None
    columns = list(meta.column_names)
    if not columns:
        msg = f"{name}: holds no variables, there is nothing to label."
        raise InputError(msg)

    readers = [_reader(meta, c) for c in columns]

    def read() -> Iterator[Row]:
        done = 0
        while True:
            try:
                cells, _ = pyreadstat.read_sav(
                    str(path),
                    row_offset=done,
                    row_limit=_CHUNK,
                    output_format="dict",
                    user_missing=True,
                    # Its own conversion wraps durations at a day and drops the time of dates.
                    disable_datetime_conversion=True,
                )
            except Exception:
                msg = f"{name}: damaged after row {done}. Open it in SPSS and save it again."
                raise InputError(msg) from None
            count = len(next(iter(cells.values()), ()))
            for row in zip(*cells.values(), strict=True):
                yield {
                    c: read_value(v) for c, v, read_value in zip(columns, row, readers, strict=True)
                }
            done += count
            if count < _CHUNK:
                return

    return Table(
        name,
        columns,
        "sav",
        read,
        n_rows=meta.number_rows,
        kinds={c: _kinds(meta, c) for c in columns},
        labels={c: label for c, label in meta.column_names_to_labels.items() if label},
        spss=meta,
    )


_EPOCH = datetime(1582, 10, 14)
_DAY = 86_400
_DATES = ("DATE", "ADATE", "EDATE", "SDATE", "JDATE", "DATETIME", "YMDHMS")
_DURATIONS = ("TIME", "DTIME")
_FORM = re.compile(r"[A-Z]+")


def _form(meta: Any, column: str) -> str:
    """Kind of format of a variable, such as DATE or F, without its width."""
    found = _FORM.match(meta.original_variable_types[column] or "")
    return found[0] if found else ""


def _kinds(meta: Any, column: str) -> set[type]:
    if meta.readstat_variable_types[column] == "string":
        return {str}
    form = _form(meta, column)
    if form in _DATES:
        return {date, datetime}
    return {timedelta} if form in _DURATIONS else {float}


def _reader(meta: Any, column: str) -> Callable[[Any], Any]:
    """How a variable's stored values are read."""
    form = _form(meta, column)
    if meta.readstat_variable_types[column] == "string":
        return lambda value: value
    if form in _DATES:
        return _as_moment
    return _as_duration if form in _DURATIONS else _whole


def _as_moment(value: Any) -> Any:
    """A day, or a moment of a day; what is outside the calendar stays a number."""
    if not isinstance(value, float) or math.isnan(value):
        return None
    try:
        moment = _EPOCH + timedelta(seconds=value)
    except OverflowError:
        return value
    return moment if value % _DAY else moment.date()


def _as_duration(value: Any) -> Any:
    if not isinstance(value, float) or math.isnan(value):
        return None
    return timedelta(seconds=value)


def _whole(value: Any) -> Any:
    """A number without decimals as a whole number: code 3 is not "3.0" in another format."""
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return int(value)
    return value


def write_sav(path: Path, rows: Iterable[Row], layout: Layout, warn: Warn) -> None:
    """Write rows as an SPSS file; variables that came from one keep all that it said of them.

    Raises
    ------
    InputError
        If the library for it is not installed.
    """
    import pandas as pd

    pyreadstat = _pyreadstat()
    names = _variable_names(layout)
    values: dict[str, list[Any]] = {name: [] for name in names.values()}
    cut = 0
    for row in rows:
        for column, name in names.items():
            value, shortened = _value(row.get(column))
            cut += shortened
            values[name].append(value)
    if cut:
        warn(f"{cut} cells were cut to the {_STRING} bytes that SPSS holds. JSONL keeps all.")
    frame = pd.DataFrame({name: _series(cells) for name, cells in values.items()})
    known = layout.spss
    kept = {} if known is None else {c: n for c, n in names.items() if c in known.column_names}
    labels = {names[c]: layout.labels.get(c) or c for c in names if c in layout.labels}
    labels |= {name: column for column, name in names.items() if name != column} | labels
    value_labels = {names[c]: dict(v) for c, v in layout.value_labels.items() if c in names}
    form: dict[str, str] = {}
    measure = {names[c]: "nominal" for c in layout.value_labels if c in names}
    for name in frame.columns:
        forms = {v.form for v in values[name] if isinstance(v, _Seconds)}
        if forms and not _is_text(frame[name]):
            form[name] = max(forms, key=len)  # DATETIME20 where days and moments are mixed
        elif not _is_text(frame[name]) and _is_whole(frame[name]):
            form[name] = "F8.0"  # a code without decimals reads as one
    width: dict[str, int] = {}
    missing: dict[str, list[Any]] = {}
    for column, name in kept.items():
        if not _is_text(frame[name]) and not known.original_variable_types[column].startswith("A"):
            form[name] = known.original_variable_types[column]
        if column in known.variable_measure:
            measure[name] = known.variable_measure[column]
        if column in known.variable_display_width:
            width[name] = known.variable_display_width[column]
        if column in known.variable_value_labels:
            value_labels[name] = known.variable_value_labels[column]
        if column in known.missing_ranges:
            missing[name] = [
                r["lo"] if r["lo"] == r["hi"] else r for r in known.missing_ranges[column]
            ]
    pyreadstat.write_sav(
        frame,
        str(path),
        file_label=(known.file_label or "") if known is not None else "",
        note=list(known.notes) if known is not None and known.notes else None,
        column_labels={n: label[:255] for n, label in labels.items() if label},
        variable_value_labels=value_labels,
        missing_ranges=missing,
        variable_display_width=width,
        variable_measure=measure,
        variable_format=form,
        row_compress=True,
    )


def _series(cells: list[Any]) -> Any:
    import pandas as pd

    kinds = {type(v) for v in cells if v is not None}
    if kinds <= {int, float, bool, _Seconds}:
        return pd.Series([None if v is None else float(v) for v in cells], dtype="float64")
    if str in kinds:
        # SPSS has no missing text, only an empty one.
        return pd.Series(["" if v is None else str(v) for v in cells], dtype=object)
    return pd.Series(cells, dtype=object)


def _is_whole(series: Any) -> bool:
    values = series.dropna()
    return series.dtype == "float64" and bool((values % 1 == 0).all() and (abs(values) < 1e7).all())


def _is_text(series: Any) -> bool:
    return any(isinstance(v, str) for v in series)


class _Seconds(float):
    """A date, moment or duration as SPSS stores it, with the format to show it in."""

    def __new__(cls, seconds: float, form: str) -> _Seconds:
        """Make one."""
        self = super().__new__(cls, seconds)
        self.form = form
        return self

    form: str


def _value(value: Any) -> tuple[Any, bool]:
    """A value that SPSS can hold, and whether it was cut."""
    if isinstance(value, bool):
        return int(value), False
    if isinstance(value, datetime):
        return _Seconds((value.replace(tzinfo=None) - _EPOCH).total_seconds(), "DATETIME20"), False
    if isinstance(value, date):
        return _Seconds(float((value - _EPOCH.date()).days * _DAY), "DATE11"), False
    if isinstance(value, timedelta):
        return _Seconds(value.total_seconds(), "TIME12"), False
    if isinstance(value, time):
        moment = datetime.combine(_EPOCH, value.replace(tzinfo=None))
        return _Seconds((moment - _EPOCH).total_seconds(), "TIME8"), False
    if isinstance(value, Decimal):
        return float(value), False
    if isinstance(value, int) and abs(value) >= 1 << 53:
        value = str(value)
    if isinstance(value, dict | list | bytes):
        value = plain(value)
    if not isinstance(value, str):
        return value, False
    text = whole_text(value).replace("\0", " ")
    data = text.encode()
    if len(data) <= _STRING:
        return text, False
    return data[: _STRING - 3].decode("utf-8", "ignore") + "…", True


def _variable_names(layout: Layout) -> Mapping[str, str]:
    """Names that SPSS allows: letters, digits and a few marks, a letter first, 64 bytes."""
    known = set() if layout.spss is None else set(layout.spss.column_names)
    names: list[str] = []
    taken: set[str] = {c.lower() for c in layout.columns if c in known}
    for column in layout.columns:
        if column in known:
            names.append(column)
            continue
        name = column
        if _NOT_IN_NAME.search(name):
            name = _TWICE.sub("_", _NOT_IN_NAME.sub("_", name))
        name = name.strip("_.") or "kolom"
        if not name[0].isalpha() or name.lower() in _RESERVED:
            name = f"v_{name}"
        if column in layout.labels and len(name.encode()) > _NAME:
            # One of ours behind a long question: its own part must stay to be told apart.
            name = f"{_cut(name, _NAME - 34)}_{name[-33:]}"
        base, count = _cut(name, _NAME), 1
        name = base
        while name.lower() in taken:
            count += 1
            name = f"{_cut(base, _NAME - len(str(count)) - 1)}_{count}"
        taken.add(name.lower())
        names.append(name)
    return dict(zip(layout.columns, unique_names(names), strict=True))


def _cut(name: str, limit: int) -> str:
    return name.encode()[:limit].decode("utf-8", "ignore")


def _pyreadstat() -> Any:
    try:
        import pyreadstat
    except ImportError:
        msg = "SPSS files need pyreadstat. Install it with: pip install 'druppel[spss]'"
        raise InputError(msg) from None
    return pyreadstat
