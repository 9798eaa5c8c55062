"""Label a file: from its rows to an output of its own, however large and in whatever format.

The labels of the rows are first kept in a journal beside the output and then written with the
rows, which are read a second time. So memory does not grow with the number of rows, the output
appears whole, and a run that was killed can go on.
"""

from __future__ import annotations

import itertools
import json
import re
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from druppel import __version__
from druppel.errors import InputError
from druppel.journal import Journal, content_hash, journal_path
from druppel.output import OutputRows, notes
from druppel.progress import NoProgress, Progress
from druppel.reading import Opening, open_table
from druppel.result import DUTCH, Result
from druppel.tables import (
    EXCEL_ROWS,
    GZIP,
    STANDARD_STREAM,
    Layout,
    Row,
    Table,
    Warn,
    find_text_column,
    format_of,
    parse_score,
    shown,
)
from druppel.workers import FAILED, Outcome, Query, Workers
from druppel.writing import write_table

CHUNK = 512
"""Rows that are labelled, and kept in the journal, together."""

_REMEMBERED = 50_000  # outcomes kept for texts that come again
_PLACEHOLDER = re.compile(r"\[[A-Z-]+\]")
_TAB_SUFFIXES = (".tsv", ".tab")


@dataclass(frozen=True)
class TextColumn:
    """A column to label, with the question that its texts answer."""

    name: str
    question: str | None = None


@dataclass(frozen=True)
class Assignment:
    """What to label in a table.

    Attributes
    ----------
    text_columns : tuple of TextColumn
        Empty to find the one that holds the feedback.
    question_column : str, optional
        Column with the question of each row; it goes before that of the text column.
    score_column : str, optional
        Column with the customer's score of each row.
    score_scale : float, default=10
        The best score on that scale.
    question : str, optional
        The question, where the text column is to be found.
    """

    text_columns: tuple[TextColumn, ...] = ()
    question_column: str | None = None
    score_column: str | None = None
    score_scale: float = 10
    question: str | None = None


@dataclass
class Summary:
    """What came of a run. Answers are rows times text columns.

    Attributes
    ----------
    rows, answers : int
    labelled, empty, other_language, failed : int
        Each answer counts in one of these.
    review : int
        Answers that a person should look at.
    not_text : int
        Cells of a text column that hold a number, date or truth value.
    bad_scores : int
        Scores that are no number on their scale.
    cut_off : bool
        Whether the input ends in the middle.
    sentiments, irritations, praise, signals : Counter
        Answers with each; of irritations and praise, by category.
    seconds : float
    """

    rows: int = 0
    answers: int = 0
    labelled: int = 0
    empty: int = 0
    other_language: int = 0
    failed: int = 0
    review: int = 0
    not_text: int = 0
    first_not_text: int | None = None
    bad_scores: int = 0
    cut_off: bool = False
    sentiments: Counter[str] = field(default_factory=Counter)
    irritations: Counter[str] = field(default_factory=Counter)
    praise: Counter[str] = field(default_factory=Counter)
    signals: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def add(self, outcome: Outcome, *, readable: bool) -> None:
        """Count one answer."""
        self.answers += 1
        result = outcome.result
        if result is None or not readable:
            self.failed += 1
        elif result.sentiment is not None:
            self.labelled += 1
            self.sentiments[result.sentiment.label] += 1
            self.irritations.update(result.irritations)
            self.praise.update({a.category for a in result.aspects if a.polarity == "pos"})
            self.signals.update(s.signal for s in result.signals)
        elif result.language in (None, DUTCH):
            self.empty += 1
        else:
            self.other_language += 1
        self.review += result is None or not readable or result.review

    def merge(self, other: Summary) -> None:
        """Add what came of another file."""
        for name, value in vars(other).items():
            mine = getattr(self, name)
            if isinstance(mine, Counter):
                mine.update(value)
            elif name == "first_not_text":
                self.first_not_text = mine if mine is not None else value
            elif name == "cut_off":
                self.cut_off = mine or value
            else:
                setattr(self, name, mine + value)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, the most frequent first."""
        return {
            name: dict(value.most_common()) if isinstance(value, Counter) else value
            for name, value in vars(self).items()
        }

    @classmethod
    def from_dict(cls, found: dict[str, Any]) -> Summary:
        """Return the summary that `to_dict` gave."""
        summary = cls()
        for name, value in found.items():
            setattr(summary, name, Counter(value) if isinstance(value, dict) else value)
        return summary


@dataclass(frozen=True)
class Run:
    """How files are labelled.

    Attributes
    ----------
    workers : Workers
    assignment : Assignment
    opening : Opening
    mask : bool
        Whether the workers mask; the texts that are not labelled are masked as well.
    job : dict
        What of the model and its settings decides the labels, to know a run again.
    warn : callable
    progress : Progress
    count_rows : bool
        Whether to count the rows beforehand, to tell how long it takes.
    """

    workers: Workers
    assignment: Assignment = Assignment()
    opening: Opening = field(default_factory=Opening)
    mask: bool = False
    job: dict[str, Any] = field(default_factory=dict)
    warn: Warn = lambda _: None
    progress: Progress = field(default_factory=NoProgress)
    count_rows: bool = False

    def to_file(
        self,
        source: str,
        target: Path,
        format: str,
        *,
        resume: bool = False,
        keep_done: bool = False,
    ) -> Summary:
        """Label a file and write its output.

        Parameters
        ----------
        source : str
            A path, or ``"-"``.
        target : Path
        format : str
            One of `druppel.tables.OUTPUT_FORMATS`.
        resume : bool, default=False
            Go on where a run of the same work was killed, and leave it possible to go on when
            this one is interrupted.
        keep_done : bool, default=False
            Leave the journal of finished work, for a run over several files that may be killed
            in a later one; `forget` removes it.

        Raises
        ------
        InputError
            If the input cannot be read or the output not be written.
        OSError
            If the disk fails or is full; what was labelled is kept for a run with `resume`.
        """
        began = time.monotonic()
        with open_table(source, self.opening, warn=self.warn) as table:
            assignment = self._settle(table)
            if format == "xlsx" and table.count() > EXCEL_ROWS - 1:
                msg = (
                    f"{table.name}: has {table.count():,} rows, and an Excel sheet holds "
                    f"{EXCEL_ROWS - 1:,} under its header. Write .csv, .parquet or .sav, or label "
                    "it in parts."
                )
                raise InputError(msg)
            place = None
            if not target.exists() or target.is_file():
                place = journal_path(target.resolve())
            journal = Journal(place, self._key(source, assignment), resume=resume)
            keep = False
            try:
                if journal.done is not None and target.exists():
                    keep = keep_done
                    self.warn(f"{source}: was labelled before → {target}")
                    return Summary.from_dict(journal.done)
                journal = self._restarted(journal, place, source, assignment)
                if resume and journal.n_entries:
                    done = min(journal.n_entries * CHUNK, table.count())
                    self.warn(f"{source}: going on after row {done:,}")
                n_rows, errors = self._label(table, assignment, journal)
                output = self._output(table, assignment, format, errors=errors)
                self.progress.begin("writing", n_rows)
                summary = Summary()
                rows = self._written(table, assignment, journal, output, summary)
                layout = self._layout(table, assignment, output, str(target))
                write_table(target, rows, layout, format=format, warn=self.warn)
                summary.seconds = time.monotonic() - began
                if keep_done:
                    journal.finish(summary.to_dict())
                    keep = True
            except (KeyboardInterrupt, SystemExit):
                keep = resume and journal.n_entries > 0
                if keep:
                    self.warn("broken off; the same command goes on from here")
                raise
            except InputError:
                raise
            except Exception:
                keep = place is not None and journal.n_entries > 0
                if keep:
                    self.warn(
                        "the labels so far are kept; once that is mended, run the same command "
                        "with --resume"
                    )
                raise
            finally:
                self.progress.end()
                journal.close(keep=keep)
        return summary

    def forget(self, target: Path) -> None:
        """Remove the journal that `to_file` left with `keep_done`."""
        journal_path(target.resolve()).unlink(missing_ok=True)

    def to_stream(self, source: str, format: str, summary: Summary) -> None:
        """Label a file and write JSONL or a table to standard output.

        JSONL is written as it comes. `summary` is filled on the way.
        """
        began = time.monotonic()
        with open_table(source, self.opening, warn=self.warn) as table:
            assignment = self._settle(table)
            if format == "jsonl":
                layout = Layout([])  # JSONL rows bring their own keys
                rows = self._as_they_come(table, assignment, summary)
                write_table(STANDARD_STREAM, rows, layout, format=format, warn=self.warn)
            else:
                journal = Journal(None, {})
                try:
                    _, errors = self._label(table, assignment, journal)
                    output = self._output(table, assignment, format, errors=errors)
                    layout = self._layout(table, assignment, output, STANDARD_STREAM)
                    written = self._written(table, assignment, journal, output, summary)
                    write_table(STANDARD_STREAM, written, layout, format=format, warn=self.warn)
                finally:
                    journal.close(keep=False)
            summary.cut_off = table.cut_off
        summary.seconds += time.monotonic() - began

    def _as_they_come(
        self, table: Table, assignment: Assignment, summary: Summary
    ) -> Iterator[Row]:
        """Rows for JSONL, each as soon as it is labelled."""
        output = None
        for row, outcomes in self._rows(table, assignment, summary):
            if output is None:  # only now is it settled who labels
                output = self._output(table, assignment, "jsonl", errors=True)
            yield self._whole(table, row, assignment, outcomes, output)

    def results(self, source: str, summary: Summary) -> Iterator[tuple[list[str], list[Result]]]:
        """Give each row's texts and results, for reading on a screen; fill `summary`."""
        began = time.monotonic()
        with open_table(source, self.opening, warn=self.warn) as table:
            assignment = self._settle(table)
            for row, outcomes in self._rows(table, assignment, summary):
                masked = self._shown(row, assignment, outcomes)
                texts = [str(masked.get(column.name) or "") for column in assignment.text_columns]
                yield texts, self._said(table, row, outcomes)[0]
            summary.cut_off = table.cut_off
        summary.seconds = time.monotonic() - began

    def queries(self, source: str) -> Iterator[tuple[int, Query]]:
        """Yield what there is to label in a file, with the number of its row, unlabelled.

        Empty cells give empty texts; rows are counted from 1, under the header.
        """
        with open_table(source, self.opening, warn=self.warn) as table:
            assignment = self._settle(table)
            for number, row in enumerate(table.read(), start=1):
                for query in self._queries(row, assignment):
                    yield number, query

    # --- what to label --------------------------------------------------------------------

    def _settle(self, table: Table) -> Assignment:
        """Check the columns against a table, find what was not named, and tell what was taken."""
        asked = self.assignment
        columns = asked.text_columns
        if not columns:
            columns = (TextColumn(find_text_column(table), asked.question),)
        columns = tuple(
            TextColumn(
                find_text_column(table, column.name), column.question or _as_question(table, column)
            )
            for column in columns
        )
        for name in filter(None, (asked.question_column, asked.score_column)):
            find_text_column(table, name)
        self._tell(table, columns, named=bool(asked.text_columns))
        return Assignment(columns, asked.question_column, asked.score_column, asked.score_scale)

    def _tell(self, table: Table, columns: Sequence[TextColumn], *, named: bool) -> None:
        taken = []
        if table.format == "csv":
            marks = {"\t": "tab", ";": "semicolon", ",": "comma", "|": "bar", None: None}
            mark = marks.get(table.delimiter, repr(table.delimiter))
            taken += [f"{mark} between cells"] if mark else []
        if table.encoding not in (None, "utf-8"):
            taken.append({"cp1252": "Windows-1252"}.get(str(table.encoding), str(table.encoding)))
        if not named and len(table.columns) > 1:
            number = table.columns.index(columns[0].name) + 1
            taken.append(f"text column {shown(columns[0].name, number)}")
        questions = [c for c in columns if c.question and c.question in _headings(table, c)]
        if questions and not self.assignment.question_column:
            taken.append("its heading as the question")
        if taken:
            self.warn(f"{table.name}: {', '.join(taken)}")

    def _key(self, source: str, assignment: Assignment) -> dict[str, Any]:
        """What decides the labels: the same means that a journal can be continued."""
        if source == STANDARD_STREAM or not Path(source).is_file():
            content = None
        else:
            content = content_hash(Path(source))
        return {
            "content": content,
            "assignment": repr(assignment),
            "opening": repr(self.opening),
            "mask": self.mask,
            "chunk": CHUNK,
            "druppel": __version__,
            **self.job,
        }

    def _restarted(
        self, journal: Journal, place: Path | None, source: str, assignment: Assignment
    ) -> Journal:
        """Begin anew where the output of finished work is gone, or the work is another."""
        if journal.other_work:
            self.warn(
                "an earlier run had another input, model or other options; this one begins anew"
            )
        if journal.done is None:
            return journal
        journal.close(keep=False)
        return Journal(place, self._key(source, assignment))

    # --- labelling ------------------------------------------------------------------------

    def _label(self, table: Table, assignment: Assignment, journal: Journal) -> tuple[int, bool]:
        """Label what the journal does not hold yet; say how many rows, and whether any failed."""
        total = table.count() if self.count_rows else table.n_rows
        self.progress.begin("labelling", total)
        n_rows, errors = 0, False
        chunks = _chunks(table.read())
        done = itertools.islice(chunks, journal.n_entries)
        earlier = zip(done, map(json.loads, journal.entries()), strict=True)
        for rows, entry in earlier:
            errors = errors or any(found is None for row in entry for found, _, _ in row)
            errors = errors or any(table.error_key in row for row in rows)
            n_rows += len(rows)
            self.progress.advance(len(rows))
        for rows, packed in self._outcomes(chunks, assignment):
            entry_rows = ",".join("[" + ",".join(row) + "]" for row in packed)
            journal.append(f"[{entry_rows}]".encode())
            errors = errors or any(one.startswith(FAILED) for row in packed for one in row)
            errors = errors or any(table.error_key in row for row in rows)
            n_rows += len(rows)
            self.progress.advance(len(rows))
        return n_rows, errors

    def _rows(
        self, table: Table, assignment: Assignment, summary: Summary
    ) -> Iterator[tuple[Row, list[Outcome]]]:
        """Label rows as they come, without journal."""
        for rows, packed in self._outcomes(_chunks(table.read()), assignment):
            outcomes = [[Outcome.unpack(json.loads(one)) for one in row] for row in packed]
            self._count(table, rows, outcomes, assignment, summary)
            yield from zip(rows, outcomes, strict=True)

    def _outcomes(
        self, chunks: Iterable[list[Row]], assignment: Assignment
    ) -> Iterator[tuple[list[Row], list[list[str]]]]:
        """Label chunks of rows, outcomes packed; a text that comes again is labelled once."""
        remembered: OrderedDict[Query, _Slot] = OrderedDict()
        at_work: deque[tuple[list[Row], list[list[_Slot]], list[_Slot]]] = deque()

        def jobs() -> Iterator[list[Query]]:
            for rows in chunks:
                new: dict[Query, _Slot] = {}
                slots = []
                for row in rows:
                    queries = self._queries(row, assignment)
                    slots.append([_slot(query, new, remembered) for query in queries])
                while len(remembered) > _REMEMBERED:
                    remembered.popitem(last=False)
                at_work.append((rows, slots, list(new.values())))
                yield list(new)

        for outcomes in self.workers.label(jobs()):
            rows, slots, new = at_work.popleft()
            for slot, outcome in zip(new, outcomes, strict=True):
                slot.outcome = outcome
            yield rows, [[slot.known() for slot in row] for row in slots]

    def _queries(self, row: Row, assignment: Assignment) -> list[Query]:
        """What is to be labelled in a row, one for each text column."""
        question = None
        if assignment.question_column is not None:
            cell = row.get(assignment.question_column)
            question = cell if isinstance(cell, str) and cell.strip() else None
        score = None
        if assignment.score_column is not None:
            score = parse_score(row.get(assignment.score_column), assignment.score_scale)
        return [
            Query(_text(row.get(c.name), mask=self.mask), question or c.question, score)
            for c in assignment.text_columns
        ]

    def _count(
        self,
        table: Table,
        rows: list[Row],
        outcomes: list[list[Outcome]],
        assignment: Assignment,
        summary: Summary,
    ) -> None:
        for row, said in zip(rows, outcomes, strict=True):
            summary.rows += 1
            for column, outcome in zip(assignment.text_columns, said, strict=True):
                summary.add(outcome, readable=table.error_key not in row)
                cell = row.get(column.name)
                if cell is not None and not isinstance(cell, str):
                    summary.not_text += 1
                    summary.first_not_text = summary.first_not_text or summary.rows
            if assignment.score_column is not None:
                cell = row.get(assignment.score_column)
                bad = parse_score(cell, assignment.score_scale) is None
                summary.bad_scores += bad and cell not in (None, "")

    # --- writing --------------------------------------------------------------------------

    def _written(
        self,
        table: Table,
        assignment: Assignment,
        journal: Journal,
        output: OutputRows,
        summary: Summary,
    ) -> Iterator[Row]:
        """Rows with their labels, from the input and the journal; counts them."""
        for rows, entry in zip(_chunks(table.read()), journal.entries(), strict=True):
            labelled = [[Outcome.unpack(fields) for fields in row] for row in json.loads(entry)]
            self._count(table, rows, labelled, assignment, summary)
            for row, outcomes in zip(rows, labelled, strict=True):
                yield self._whole(table, row, assignment, outcomes, output)
            self.progress.advance(len(rows))
        summary.cut_off = table.cut_off

    def _whole(
        self,
        table: Table,
        row: Row,
        assignment: Assignment,
        outcomes: list[Outcome],
        output: OutputRows,
    ) -> Row:
        masked = self._shown(row, assignment, outcomes)
        return output.row(masked, *self._said(table, row, outcomes))

    def _said(
        self, table: Table, row: Row, outcomes: list[Outcome]
    ) -> tuple[list[Result], str | None]:
        """Results of a row's texts, and why one is missing."""
        model = self.workers.about().title
        results, errors = [], []
        if (unreadable := row.get(table.error_key)) is not None:
            errors.append(str(unreadable))
        for outcome in outcomes:
            if outcome.error is not None:
                errors.append(outcome.error)
            result = outcome.result or Result(None, (), (), None, True, model)
            results.append(replace(result, review=True) if unreadable is not None else result)
        return results, "; ".join(dict.fromkeys(errors)) or None

    def _shown(self, row: Row, assignment: Assignment, outcomes: list[Outcome]) -> Row:
        """A row as it may leave: masked, where that was asked for."""
        if not self.mask:
            return row
        masked = dict(row)
        for column, outcome in zip(assignment.text_columns, outcomes, strict=True):
            cell = row.get(column.name)
            if isinstance(cell, str):
                masked[column.name] = cell if outcome.masked is None else outcome.masked
            elif cell is not None and (found := _PLACEHOLDER.search(outcome.masked or "")):
                # A number in which nothing was found stays a number.
                masked[column.name] = found[0]
        return masked

    def _output(
        self, table: Table, assignment: Assignment, format: str, *, errors: bool
    ) -> OutputRows:
        return OutputRows(
            self.workers.about().taxonomy,
            format,
            table.columns,
            [column.name for column in assignment.text_columns],
            errors=errors,
        )

    def _layout(
        self, table: Table, assignment: Assignment, output: OutputRows, target: str
    ) -> Layout:
        renamed = output.renamed
        to_file = target != STANDARD_STREAM
        texts = [column.name for column in assignment.text_columns]
        kinds = {renamed[c]: kinds for c, kinds in table.kinds.items()}
        if self.mask:
            kinds |= {renamed[c]: {str} for c in texts}
        tabs = target.lower().removesuffix(GZIP).endswith(_TAB_SUFFIXES)
        return Layout(
            columns=[*renamed.values(), *output.added],
            delimiter="\t" if tabs else table.delimiter or ",",
            bom=to_file and (table.bom or table.format in ("xlsx", "sav")),
            kinds=kinds | output.kinds,
            # A masked column becomes text, whatever it was.
            schema=_renamed_schema(table, renamed, without=texts if self.mask else ()),
            labels={renamed[c]: text for c, text in table.labels.items()} | output.labels,
            value_labels=output.value_labels,
            spss=table.spss,
            notes=notes(self.workers.about().taxonomy, texts) if to_file else (),
        )


class _Slot:
    """Where a query's outcome will be; shared by all cells that ask the same."""

    __slots__ = ("outcome",)

    def __init__(self) -> None:
        self.outcome: str | None = None

    def known(self) -> str:
        assert self.outcome is not None
        return self.outcome


def _slot(query: Query, new: dict[Query, _Slot], remembered: OrderedDict[Query, _Slot]) -> _Slot:
    """Slot of a query that came before, or a new one."""
    slot = remembered.get(query)
    if slot is None:
        slot = new[query] = remembered[query] = _Slot()
    else:
        remembered.move_to_end(query)
    return slot


def _chunks(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while chunk := list(itertools.islice(rows, CHUNK)):
        yield chunk


def _text(cell: object, *, mask: bool) -> str:
    """Text of a cell; a number is none, but may be a telephone number that must not leave."""
    if isinstance(cell, str):
        return cell
    # A spreadsheet drops the nought before a telephone number.
    return f"{cell} 0{cell}" if mask and cell is not None else ""


def _headings(table: Table, column: TextColumn) -> tuple[str, ...]:
    """What the file itself says that a column asks."""
    return (column.name, table.labels.get(column.name, ""))


def _as_question(table: Table, column: TextColumn) -> str | None:
    """A heading that is a question is the one that was asked."""
    for heading in _headings(table, column):
        if heading.rstrip().endswith("?"):
            return heading.strip()
    return None


def _renamed_schema(table: Table, renamed: dict[str, str], without: Sequence[str]) -> Any:
    """Parquet types under the names that the columns are kept by."""
    if table.schema is None:
        return None
    import pyarrow as pa

    fields = [f.with_name(renamed[f.name]) for f in table.schema if f.name not in without]
    return pa.schema(fields, metadata=table.schema.metadata)


def files_of(sources: Sequence[str]) -> list[str]:
    """Files to label: those named, and those of known kinds in the folders named.

    Raises
    ------
    InputError
        If a folder holds none.
    """
    found = []
    for source in sources:
        folder = Path(source)
        if source == STANDARD_STREAM or not folder.is_dir():
            found.append(source)
            continue
        inside = [
            str(path)
            for path in sorted(folder.iterdir())
            if path.is_file() and not path.name.startswith((".", "~")) and format_of(path)
        ]
        if not inside:
            msg = f"{source}: holds no file that can be labelled."
            raise InputError(msg)
        found += inside
    return found


_SAME_KIND = {".xls": ".xlsx", ".ods": ".xlsx", ".xlsm": ".xlsx", ".txt": ".csv"}


def target_in(folder: Path, source: str, format: str | None) -> Path:
    """Name of a file's output in a folder: its own, with another suffix where need be.

    Examples
    --------
    >>> target_in(Path("uit"), "in/antwoorden.xls", None).as_posix()
    'uit/antwoorden.xlsx'
    >>> target_in(Path("uit"), "in/antwoorden.csv.gz", "parquet").as_posix()
    'uit/antwoorden.parquet'
    """
    name = Path(source).name if source != STANDARD_STREAM else "invoer.jsonl"
    bare = name.removesuffix(GZIP)
    stem, suffix = Path(bare).stem, Path(bare).suffix.lower()
    if format is not None and format_of(bare) != format:
        return folder / f"{stem}.{format}"
    return folder / f"{stem}{_SAME_KIND[suffix]}" if suffix in _SAME_KIND else folder / name
