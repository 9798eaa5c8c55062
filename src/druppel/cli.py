"""The `druppel` command: parse, call, print. No logic of its own.

stdout is data, stderr is for people. Exit codes: 0 done, 1 it could not be done (one line says
why), 2 wrong use, 130 interrupted. Heavy modules are imported inside the commands, so that
``--help`` answers at once.
"""

from __future__ import annotations

import io
import json
import math
import os
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from druppel import __version__
from druppel.errors import DruppelError, InputError

if TYPE_CHECKING:
    from druppel.labeler import Labeler
    from druppel.result import Result
    from druppel.tables import Row, Table

app = typer.Typer(
    name="druppel",
    help="Label Dutch customer feedback with irritations, sentiment, evidence and signals.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
corpus_app = typer.Typer(help="Work with labelled texts.", no_args_is_help=True)
app.add_typer(corpus_app, name="corpus")

ModelOption = Annotated[
    Path | None,
    typer.Option("--model", help="Model folder; without it, the model that ships with Druppel."),
]


# These stand in `model` too, which is too heavy to import for --help; a test compares them.
class Profile(StrEnum):
    """Profiles of a model."""

    ACCURATE = "nauwkeurig"
    FAST = "snel"


class Mode(StrEnum):
    """Operating points."""

    GENEROUS = "ruim"
    BALANCED = "gebalanceerd"
    STRICT = "streng"


ProfileOption = Annotated[
    Profile | None,
    typer.Option(
        "--profile",
        help="nauwkeurig: with the encoder, the default; snel: words and characters only, faster.",
    ),
]
ModeOption = Annotated[
    Mode,
    typer.Option(
        "--mode", help="ruim: miss little; gebalanceerd: best F1; streng: only what is sure."
    ),
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing on stderr.")]


def main() -> None:
    """Run the command line and turn expected failures into one line and exit code 1."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
            if not stream.isatty():
                stream.reconfigure(encoding="utf-8")
    try:
        app(standalone_mode=True)
    except DruppelError as error:
        print(f"druppel: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader went away (`… | head`); keep Python from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"druppel: {where}{error.strerror or type(error).__name__}.", file=sys.stderr)
        sys.stdout = None
        sys.exit(1)


def _show_version(value: bool) -> None:
    if value:
        print(f"druppel {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    del version


@app.command()
def label(
    source: Annotated[
        str, typer.Argument(metavar="INPUT", help="File to label, or - for standard input.")
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", help="File to write, or - for standard output. The suffix says how."
        ),
    ] = None,
    text_column: Annotated[
        str | None,
        typer.Option(help="Column that holds the feedback; found by itself where obvious."),
    ] = None,
    question: Annotated[
        str | None, typer.Option(help="The question that all texts answer.")
    ] = None,
    question_column: Annotated[
        str | None, typer.Option(help="Column that holds the question of each text.")
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(help="Format of the output: csv, xlsx, jsonl, parquet, or list (to read)."),
    ] = None,
    input_format: Annotated[
        str | None, typer.Option(help="Format of the input: csv, xlsx, jsonl, parquet or txt.")
    ] = None,
    sheet: Annotated[
        str | None, typer.Option(help="Sheet of a workbook; otherwise the first with content.")
    ] = None,
    score_column: Annotated[
        str | None, typer.Option(help="Column that holds the customer's score of each text.")
    ] = None,
    score_scale: Annotated[
        float, typer.Option(min=1, help="The best score on that scale, such as 10 or 5.")
    ] = 10,
    model: ModelOption = None,
    profile: ProfileOption = None,
    mode: ModeOption = Mode.BALANCED,
    quiet: QuietOption = False,
) -> None:
    """Label every text of a file.

    Without --output the result goes to standard output: as a readable list on a terminal, as
    JSONL into a pipe or file.
    """
    from druppel import tables

    if not math.isfinite(score_scale):
        msg = "'--score-scale' must be a number"
        raise typer.BadParameter(msg)
    if question is not None and question_column is not None:
        msg = "give --question or --question-column, not both"
        raise typer.BadParameter(msg)
    say = _silent if quiet else _say
    named = text_column or question_column or score_column
    if input_format is None and source == tables.STANDARD_STREAM and named is not None:
        input_format = _format_of_piped_table()
    target = output if output is not None else tables.STANDARD_STREAM
    format = format or _output_format(target)
    if format not in ("list", *tables.FORMATS) or format == "txt":
        msg = f"'--format' must be csv, xlsx, jsonl, parquet or list, got {format!r}"
        raise typer.BadParameter(msg)
    if input_format is not None and input_format not in tables.FORMATS:
        msg = f"'--input-format' must be {', '.join(tables.FORMATS)}, got {input_format!r}"
        raise typer.BadParameter(msg)
    if format == "list" and target != tables.STANDARD_STREAM:
        msg = "'--format list' is for reading on the screen; write a file as csv, xlsx or jsonl"
        raise typer.BadParameter(msg)
    if Path(target).is_dir():
        msg = f"{target}: is a folder. Name a file."
        raise InputError(msg)
    if target != tables.STANDARD_STREAM and Path(target).resolve() == Path(source).resolve():
        msg = f"{target}: is the input. Choose another file for the output."
        raise InputError(msg)
    with tables.open_table(source, format=input_format, sheet=sheet, warn=say) as table:
        text = tables.find_text_column(table, text_column)
        for column in filter(None, (question_column, score_column)):
            tables.find_text_column(table, column)
        if text_column is None and len(table.columns) > 1:
            say(f"text column: {tables.listed([text])}")
        from druppel.labeler import Labeler

        labeler = Labeler.load(model, profile=profile, mode=mode)
        count = _Count()
        context = _Context(question, question_column, score_column, score_scale)
        labelled = _label_rows(labeler, table, text, context, count)
        if format == "list":
            _print_list(labelled, text)
        else:
            _write(labelled, table, labeler, target, format, say)
    where = "" if target == tables.STANDARD_STREAM else f" → {target}"
    if not count.rows:
        say(
            f"{source}: has a header and no rows under it. Is it the right sheet (--sheet) or file?"
        )
    if context.bad_scores:
        say(
            f"{context.bad_scores} scores are no number from 0 to {score_scale:g} and were left "
            "out. Is --score-scale right?"
        )
    say(f"{count.rows} rows: {count.labelled} labelled, {count.review} to review{where}")


class _Count:
    """Counters of a run, for its closing line."""

    def __init__(self) -> None:
        self.rows = self.labelled = self.review = 0

    def add(self, result: Result) -> None:
        """Count one result."""
        self.rows += 1
        self.labelled += result.sentiment is not None
        self.review += result.review


class _Context:
    """What is known of a text besides its words: the question and the customer's score."""

    def __init__(
        self,
        question: str | None,
        question_column: str | None,
        score_column: str | None,
        score_scale: float,
    ) -> None:
        self.question, self.question_column = question, question_column
        self.score_column, self.score_scale = score_column, score_scale
        self.bad_scores = 0

    def questions(self, rows: list[Row]) -> list[str | None]:
        """Question of each row."""
        if self.question_column is None:
            return [self.question] * len(rows)
        cells = [row.get(self.question_column) for row in rows]
        return [cell if isinstance(cell, str) else None for cell in cells]

    def scores(self, rows: list[Row]) -> list[float | None]:
        """Score of each row, on a scale from 0 to 10; counts those that are no score."""
        from druppel.tables import parse_score

        if self.score_column is None:
            return [None] * len(rows)
        cells = [row.get(self.score_column) for row in rows]
        scores = [parse_score(cell, self.score_scale) for cell in cells]
        self.bad_scores += sum(
            score is None and cell not in (None, "")
            for cell, score in zip(cells, scores, strict=True)
        )
        return scores


def _label_rows(
    labeler: Labeler, table: Table, text: str, context: _Context, count: _Count
) -> Iterator[tuple[Row, Result]]:
    """Pair each row with its result, labelling a batch of rows at a time."""
    from itertools import islice

    from druppel.labeler import BATCH_SIZE

    rows = _progress(table.rows, count)
    while chunk := list(islice(rows, BATCH_SIZE)):
        texts = [value if isinstance(value := row.get(text), str) else "" for row in chunk]
        results = labeler.label_many(texts, context.questions(chunk), context.scores(chunk))
        for row, result in zip(chunk, results, strict=True):
            count.add(result)
            yield row, result


def _progress(rows: Iterator[Row], count: _Count) -> Iterator[Row]:
    """Show on a terminal how many rows are done."""
    if not sys.stderr.isatty() or sys.stdout.isatty():
        yield from rows
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    with Progress(
        SpinnerColumn(),
        TextColumn("{task.completed:,} rows"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as bar:
        task = bar.add_task("rows", total=None)
        for row in rows:
            yield row
            bar.update(task, completed=count.rows)


def _write(
    labelled: Iterator[tuple[Row, Result]],
    table: Table,
    labeler: Labeler,
    target: str,
    format: str,
    say: Any,
) -> None:
    from druppel import output, tables

    taxonomy = labeler.model.taxonomy
    nested = format == "jsonl"
    added = list(output.CONTRACT_COLUMNS) if nested else output.table_columns(taxonomy)
    renamed = dict(zip(table.columns, output.keep_input_columns(table.columns, added), strict=True))

    def rows() -> Iterator[Row]:
        for row, result in labelled:
            kept = {renamed[column]: value for column, value in row.items()}
            ours = result.to_dict() if nested else output.to_row(result, taxonomy)
            yield {**kept, **ours}

    to_file = target != tables.STANDARD_STREAM
    layout = tables.Layout(
        columns=[*renamed.values(), *added],
        delimiter="\t" if target.lower().endswith((".tsv", ".tab")) else table.delimiter or ",",
        bom=to_file and (table.bom or table.format == "xlsx"),
        schema=_renamed_schema(table, renamed),
        notes=output.notes(taxonomy) if to_file else (),
    )
    tables.write_table(target, rows(), layout, format=format, warn=say)


def _renamed_schema(table: Table, renamed: dict[str, str]) -> Any:
    """Parquet types under the names that the columns are kept by."""
    if table.schema is None:
        return None
    import pyarrow as pa

    return pa.schema([(renamed[f.name], f.type) for f in table.schema])


def _output_format(target: str) -> str:
    from druppel import tables

    if target == tables.STANDARD_STREAM:
        return "list" if sys.stdout.isatty() else "jsonl"
    known = tables.format_of(target)
    if known is None or known == "txt" or target.lower().endswith((".xls", ".ods", ".xlsm")):
        msg = (
            f"{target}: cannot write that kind of file. Use .csv, .tsv, .xlsx, .jsonl or .parquet."
        )
        raise InputError(msg)
    return known


def _format_of_piped_table() -> str:
    """A named column on standard input means a table; what is not recognised is CSV."""
    from druppel import tables

    return tables.sniff(sys.stdin.buffer.peek(16)) or "csv"  # type: ignore[union-attr]


def _print_list(labelled: Iterator[tuple[Row, Result]], text: str) -> None:
    """Show results for reading: the text, then its sentiment, aspects and signals."""
    for row, result in labelled:
        value = row.get(text)
        print(f"» {' '.join(str(value if value is not None else '').split())}")
        if result.sentiment is None:
            print(f"  – geen labels (taal: {result.language or 'geen'})\n")
            continue
        mark = "  · controleren" if result.review else ""
        print(f"  {result.sentiment.label} ({result.sentiment.score:+.2f}){mark}")
        for a in result.aspects:
            name = f"{a.category}/{a.leaf}" if a.leaf else a.category
            print(f"    {a.polarity}  {name} {a.probability:.2f}  “{' '.join(a.evidence.split())}”")
        for s in result.signals:
            print(f"    !    {s.signal} {s.probability:.2f}")
        print()


@app.command()
def train(
    config: Annotated[Path, typer.Argument(help="Training configuration (TOML).")],
    force: Annotated[bool, typer.Option(help="Replace an output folder that exists.")] = False,
    quiet: QuietOption = False,
) -> None:
    """Train a model from a taxonomy and a corpus, and write its folder."""
    from druppel import training

    say = _silent if quiet else _say
    trained = training.train(training.Config.load(config), force=force, progress=say)
    say(f"model written to {trained.folder}")
    _print_figures(trained.evaluation)


@app.command()
def evaluate(
    gold: Annotated[
        Path | None, typer.Argument(help="Labelled texts: a JSONL file or a folder.")
    ] = None,
    cases: Annotated[
        Path | None, typer.Option(help="Challenge cases: a JSONL file or a folder.")
    ] = None,
    model: ModelOption = None,
    profile: ProfileOption = None,
    mode: ModeOption = Mode.BALANCED,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure a model on labelled texts (F1 with 95 % intervals) or on challenge cases."""
    from druppel.cases import read_cases, run_cases
    from druppel.corpus import read_corpus
    from druppel.evaluation import evaluate
    from druppel.labeler import Labeler

    if gold is None and cases is None:
        msg = "give labelled texts, or challenge cases with --cases"
        raise typer.BadParameter(msg)
    labeler = Labeler.load(model, profile=profile, mode=mode)
    found: dict[str, Any] = {}
    taxonomy = labeler.model.taxonomy
    demanded = read_cases(cases, taxonomy) if cases is not None else []
    if gold is not None:
        texts = read_corpus(gold, taxonomy)
        results = labeler.label_many(
            [t.text for t in texts], [t.question for t in texts], [t.score for t in texts]
        )
        figures = evaluate(texts, list(results), taxonomy)
        found = figures.to_dict()
        if not as_json:
            _print_figures(figures)
    if demanded:
        report = run_cases(demanded, labeler)
        found["cases"] = report.to_dict()
        if not as_json:
            _print_cases(report)
    if as_json:
        print(json.dumps(found, ensure_ascii=False))


def _print_cases(report: Any) -> None:
    print(f"{'challenge cases':20s} passed")
    for group, total in report.total.items():
        print(f"{group:20s} {report.passed[group]:3d} of {total:3d}")
    print(f"{'all':20s} {report.share:.0%}\n")
    for case, wrong in report.failures.items():
        print(f"{case}: {', '.join(wrong)}")


def _print_figures(evaluation: Any) -> None:
    print(f"{evaluation.n_texts} texts, {evaluation.review_share:.0%} marked for review")
    for name, figure in evaluation.figures.items():
        print(f"{name:20s} {figure.value:.3f}   [{figure.low:.3f}, {figure.high:.3f}]")
    print(f"\n{'irritation':20s} {'P':>6s} {'R':>6s} {'F1':>6s} {'gold':>6s}")
    for row in evaluation.labels["irritation"]:
        print(
            f"{row.label:20s} {row.precision:6.2f} {row.recall:6.2f} {row.f1:6.2f} {row.support:6d}"
        )


@app.command()
def explain(
    text: Annotated[str, typer.Argument(help="The text to explain, or - for standard input.")],
    question: Annotated[str | None, typer.Option(help="The question that it answers.")] = None,
    score: Annotated[
        float | None, typer.Option(min=0, max=10, help="The customer's grade from 0 to 10.")
    ] = None,
    model: ModelOption = None,
    profile: ProfileOption = None,
    mode: ModeOption = Mode.BALANCED,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say why a text gets its labels: clauses, terms, probabilities and thresholds."""
    from dataclasses import asdict

    from druppel.labeler import Labeler

    if text == "-":
        text = sys.stdin.buffer.read().decode("utf-8-sig", "replace")
    labeler = Labeler.load(model, profile=profile, mode=mode)
    explanation = labeler.explain(text, question, score)
    if as_json:
        print(
            json.dumps(
                {**asdict(explanation), "result": explanation.result.to_dict()}, ensure_ascii=False
            )
        )
        return
    for number, segment in enumerate(explanation.segments):
        print(f"[{number}] {segment.start}-{segment.end}  {segment.text}")
    shown = ", ".join(f"{label} {p:.2f}" for label, p in explanation.sentiments.items())
    print(f"\nsentiment: {shown or 'none'} (language: {explanation.result.language})\n")
    for c in explanation.candidates:
        mark = "✓" if c.probability >= c.threshold else " "
        print(
            f"{mark} {c.label:42s} {c.probability:.3f}  threshold {c.threshold:.3f}  [{c.segment}]"
        )
        terms = [f"{term} {weight:+.2f}" for term, weight in c.terms]
        if c.encoder is not None:
            terms.insert(0, f"encoder {c.encoder:.2f}")
        print("    " + "  ".join(terms))


@app.command()
def taxonomy(
    path: Annotated[
        Path | None, typer.Argument(help="Taxonomy file; without it, the one that ships.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check a taxonomy file and show its categories, leaves and signals."""
    from dataclasses import asdict

    from druppel.taxonomy import Taxonomy

    loaded = Taxonomy.load(path)
    if as_json:
        groups = {
            "categories": loaded.categories,
            "leaves": loaded.leaves,
            "signals": loaded.signals,
        }
        print(
            json.dumps({k: [asdict(x) for x in v] for k, v in groups.items()}, ensure_ascii=False)
        )
        return
    for category in loaded.categories:
        print(f"{category.slug}: {category.name_nl}")
        for leaf in loaded.leaves:
            if leaf.parent == category.slug:
                print(f"  {leaf.slug:26s} {leaf.definition}")
    for signal in loaded.signals:
        print(f"! {signal.slug:26s} {signal.definition}")


@corpus_app.command("check")
def corpus_check(
    path: Annotated[Path, typer.Argument(help="Labelled texts: a JSONL file or a folder.")],
    taxonomy_path: Annotated[
        Path | None, typer.Option("--taxonomy", help="Taxonomy; without it, the one that ships.")
    ] = None,
    min_examples: Annotated[int, typer.Option(help="Warn of labels with fewer examples.")] = 10,
) -> None:
    """Validate labelled texts: format, labels, duplicates and counts."""
    from druppel.corpus import check_corpus
    from druppel.result import POLARITIES
    from druppel.taxonomy import Taxonomy

    loaded = Taxonomy.load(taxonomy_path)
    report = check_corpus(path, loaded, min_examples=min_examples)
    for warning in report.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    for problem in report.problems:
        print(f"error: {problem}", file=sys.stderr)
    print(f"{report.n_texts} texts, {report.n_without_aspect} without aspect")
    print(", ".join(f"{name} {count}" for name, count in report.sentiments.most_common()))
    print(f"\n{'leaf':28s}" + "".join(f"{p:>7s}" for p in POLARITIES))
    for leaf in loaded.leaves:
        counts = "".join(f"{report.aspects[leaf.slug, p]:7d}" for p in POLARITIES)
        print(f"{leaf.slug:28s}{counts}")
    for signal in loaded.signals:
        print(f"! {signal.slug:26s}{report.signals[signal.slug]:7d}")
    if report.problems:
        msg = f"{path}: {len(report.problems)} errors. Mend the lines named above."
        raise DruppelError(msg)


def _say(message: str) -> None:
    print(f"druppel: {message}", file=sys.stderr)


def _silent(message: str) -> None:
    del message
