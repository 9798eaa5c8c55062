"""The `druppel` command: parse, call, print. No logic of its own.

stdout is data, stderr is for people. Exit codes: 0 done, 1 it could not be done (one line says
why), 2 wrong use, 130 interrupted. Heavy modules are imported inside the commands, so that
``--help`` answers at once.
"""

from __future__ import annotations

import gc
import io
import itertools
import json
import math
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from druppel import __version__, cli_project
from druppel.errors import DruppelError, InputError

if TYPE_CHECKING:
    from druppel.batch import Run, Summary
    from druppel.labeler import Labeler
    from druppel.result import Result
    from druppel.workers import Workers

_MANY_TEXTS = 4_000  # from here on, starting processes pays

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
cli_project.register(app)

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
        print(f"druppel: {_in_one_line(error)}", file=sys.stderr)
        sys.stdout = None
        sys.exit(1)
    except Exception as error:
        # The words of a library's error, and of its traceback, may hold a customer's text.
        print(f"druppel: {_in_one_line(error)}", file=sys.stderr)
        sys.exit(1)


def _terminated(number: int, frame: object) -> None:
    """End as with Ctrl-C when a scheduler asks for it, so that nothing half-written stays."""
    raise SystemExit(128 + number)


def _in_one_line(error: Exception) -> str:
    """What went wrong, without the words of a library, which may hold a text."""
    if isinstance(error, DruppelError):
        return str(error)
    if not isinstance(error, OSError):
        places = traceback.extract_tb(error.__traceback__)
        at = [f"{Path(p.filename).name}:{p.lineno}" for p in places if "druppel" in p.filename]
        return f"unexpected {type(error).__name__} at {at[-1] if at else '?'}. Please report it."
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or type(error).__name__}."


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
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...", help="Files or folders to label, or - for standard input."
        ),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            help="File to write, or - for standard output; the suffix says how. "
            "A folder where there are several inputs.",
        ),
    ] = None,
    text_column: Annotated[
        list[str] | None,
        typer.Option(
            help="Column that holds the feedback; found by itself where obvious. "
            "Give it several times for several open questions."
        ),
    ] = None,
    question: Annotated[
        list[str] | None,
        typer.Option(
            help="The question that all texts answer; one for each --text-column, in order."
        ),
    ] = None,
    question_column: Annotated[
        str | None, typer.Option(help="Column that holds the question of each text.")
    ] = None,
    score_column: Annotated[
        str | None, typer.Option(help="Column that holds the customer's score of each text.")
    ] = None,
    score_scale: Annotated[
        float, typer.Option(min=1, help="The best score on that scale, such as 10 or 5.")
    ] = 10,
    format: Annotated[
        str | None,
        typer.Option(
            help="Format of the output: csv, xlsx, jsonl, parquet, sav (SPSS), or list (to read)."
        ),
    ] = None,
    input_format: Annotated[
        str | None,
        typer.Option(help="Format of the input: csv, xlsx, jsonl, parquet, sav or txt."),
    ] = None,
    sheet: Annotated[
        str | None, typer.Option(help="Sheet of a workbook; otherwise the first with content.")
    ] = None,
    header_rows: Annotated[
        int, typer.Option(min=1, help="Rows that make the column names, in CSV and workbooks.")
    ] = 1,
    delimiter: Annotated[
        str | None, typer.Option(help="Mark between CSV cells, if not recognised; tab for a tab.")
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(help="Encoding of CSV, JSONL or lines, if not recognised.")
    ] = None,
    mask: Annotated[
        bool,
        typer.Option(
            "--mask", help="Replace names, numbers and addresses in the texts that are written."
        ),
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes; by default one a core where the file is large."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where a run that was broken off ended.")
    ] = False,
    summary: Annotated[
        Path | None, typer.Option(help="File for the closing summary, as JSON.")
    ] = None,
    model: ModelOption = None,
    profile: ProfileOption = None,
    mode: ModeOption = Mode.BALANCED,
    quiet: QuietOption = False,
) -> None:
    """Label every text of one or more files.

    Without --output the result goes to standard output: as a readable list on a terminal, as
    JSONL into a pipe or file.
    """
    from druppel import tables

    if not math.isfinite(score_scale):
        msg = "'--score-scale' must be a number"
        raise typer.BadParameter(msg)
    columns, questions = text_column or [], question or []
    if questions and question_column is not None:
        msg = "give --question or --question-column, not both"
        raise typer.BadParameter(msg)
    if len(questions) > max(len(columns), 1) or (len(questions) > 1) != (
        len(questions) == len(columns) > 1
    ):
        msg = f"give one --question for each --text-column; got {len(questions)} for {len(columns)}"
        raise typer.BadParameter(msg)
    if len(set(columns)) < len(columns):
        msg = "a --text-column is given twice"
        raise typer.BadParameter(msg)
    if format not in (None, "list", *tables.OUTPUT_FORMATS):
        msg = f"'--format' must be {', '.join(tables.OUTPUT_FORMATS)} or list, got {format!r}"
        raise typer.BadParameter(msg)
    if input_format not in (None, *tables.FORMATS):
        msg = f"'--input-format' must be {', '.join(tables.FORMATS)}, got {input_format!r}"
        raise typer.BadParameter(msg)
    to_screen = output in (None, tables.STANDARD_STREAM)
    if format == "list" and not to_screen:
        msg = "'--format list' is for reading on the screen; write a file as csv, xlsx or jsonl"
        raise typer.BadParameter(msg)
    if resume and (to_screen or tables.STANDARD_STREAM in sources):
        msg = "'--resume' needs an input file and --output"
        raise typer.BadParameter(msg)
    named = columns or question_column or score_column
    if input_format is None and sources == [tables.STANDARD_STREAM] and named:
        input_format = _format_of_piped_table()

    with _without_collection():
        from druppel import batch
        from druppel.progress import NoProgress
        from druppel.reading import Opening

    if model is not None:
        from druppel.registry import resolve_model

        # Once: whoever promotes another version meanwhile does not change what labels this run.
        model = resolve_model(model)
    say = _silent if quiet else _say
    opening = Opening(
        format=input_format,
        sheet=sheet,
        delimiter="\t" if delimiter in ("tab", "\\t") else delimiter,
        encoding=encoding,
        header_rows=header_rows,
    )
    jobs = _plan(batch.files_of(sources), sources, output, format)
    if summary is not None:
        _check_summary(summary, jobs)
    signal.signal(signal.SIGTERM, _terminated)
    run = batch.Run(
        workers=_workers(model, profile, mode, workers, mask=mask),
        assignment=batch.Assignment(
            tuple(
                batch.TextColumn(name, asked)
                for name, asked in itertools.zip_longest(columns, questions)
            )
            if columns
            else (),
            question_column,
            score_column,
            score_scale,
            question=questions[0] if questions and not columns else None,
        ),
        opening=opening,
        mask=mask,
        job={"model": _model_hash(model), "profile": profile, "mode": mode},
        warn=say,
        progress=_Progress() if _shows_progress(quiet, to_screen) else NoProgress(),
        count_rows=_shows_progress(quiet, to_screen),
    )
    _label_files(run, jobs, resume=resume, summary=summary, say=say)


def _check_summary(summary: Path, jobs: list[tuple[str, Path | None, str]]) -> None:
    """Refuse a summary that cannot be written, or would replace a file of the run."""
    if not summary.resolve().parent.is_dir():
        msg = f"{summary}: cannot write there (No such file or directory). Check the folder."
        raise InputError(msg)
    files = {Path(source).resolve() for source, _, _ in jobs}
    files |= {target.resolve() for _, target, _ in jobs if target is not None}
    if summary.resolve() in files:
        msg = f"{summary}: is an input or output. Choose another file for the summary."
        raise InputError(msg)


def _plan(
    files: list[str], sources: list[str], output: str | None, format: str | None
) -> list[tuple[str, Path | None, str]]:
    """Settle where the output of each file goes, and in which format."""
    from druppel import batch, tables

    if output in (None, tables.STANDARD_STREAM):
        chosen = format or ("list" if sys.stdout.isatty() else "jsonl")
        return [(source, None, chosen) for source in files]
    assert output is not None
    target = Path(output)
    if len(files) == 1 and [*files] == sources and not target.is_dir():
        chosen = format or tables.output_format_of(target)
        jobs: list[tuple[str, Path | None, str]] = [(files[0], target, chosen)]
    else:
        if target.exists() and not target.is_dir():
            msg = f"{target}: is a file. Name a folder, since there are several inputs."
            raise InputError(msg)
        if not target.exists() and tables.format_of(target) is not None:
            msg = f"{target}: there are several inputs. Name a folder for their outputs."
            raise InputError(msg)
        target.mkdir(parents=True, exist_ok=True)
        jobs = []
        for source in files:
            inside = batch.target_in(target, source, format)
            jobs.append((source, inside, tables.output_format_of(inside)))
    taken: dict[Path, str] = {}
    inputs = {Path(source).resolve() for source in files if source != tables.STANDARD_STREAM}
    for source, path, _ in jobs:
        assert path is not None
        if path.resolve() in inputs:
            msg = f"{path}: is the input. Choose another file or folder for the output."
            raise InputError(msg)
        if path in taken:
            msg = f"{path}: would hold both {taken[path]} and {source}. Label them apart."
            raise InputError(msg)
        taken[path] = source
    return jobs


def _label_files(
    run: Run,
    jobs: list[tuple[str, Path | None, str]],
    *,
    resume: bool,
    summary: Path | None,
    say: Any,
) -> None:
    """Label files one after the other; one that cannot be labelled does not stop the others."""
    from druppel.batch import Summary

    total, failures = Summary(), []
    files: list[dict[str, Any]] = []
    several = len(jobs) > 1
    for source, target, format in jobs:
        found = Summary()
        try:
            if target is not None:
                found = run.to_file(source, target, format, resume=resume, keep_done=several)
            elif format == "list":
                _print_list(run.results(source, found))
            else:
                run.to_stream(source, format, found)
        except Exception as error:
            if not several or isinstance(error, BrokenPipeError):
                raise
            failures.append(source)
            _say(_in_one_line(error))
            continue
        total.merge(found)
        files.append({"input": source, "output": str(target or "-"), **found.to_dict()})
        _close(source, target, found, run.assignment.score_scale, say)
    for _, target, _ in jobs:
        if several and target is not None and not failures:
            run.forget(target)
    if several:
        say(f"{len(files)} files: {_counts(total)}")
    if summary is not None:
        _write_summary(summary, run, total, files)
    if failures:
        if several and files and jobs[0][1] is not None:
            say("the same command with --resume leaves out the files that are done")
        msg = f"{len(failures)} of {len(jobs)} files could not be labelled; they are named above."
        raise InputError(msg)
    if total.cut_off:
        raise typer.Exit(1)


def _close(source: str, target: Path | None, found: Summary, scale: float, say: Any) -> None:
    """Tell what came of a file."""
    if not found.rows:
        say(
            f"{source}: has a header and no rows under it. Is it the right sheet (--sheet) or file?"
        )
    if found.not_text:
        say(
            f"{source}: {found.not_text} cells of the text column hold a number or date and got "
            f"no labels, the first in row {found.first_not_text} under the header"
        )
    if found.bad_scores:
        say(
            f"{found.bad_scores} scores are no number from 0 to {scale:g} and were left out. "
            "Is --score-scale right?"
        )
    say(_counts(found) + (f" → {target}" if target is not None else ""))
    if found.irritations:
        top = ", ".join(f"{name} {count:,}" for name, count in found.irritations.most_common(5))
        say(f"most frequent irritations: {top}")


def _counts(found: Summary) -> str:
    """One line of counts; those that are nought and not of interest are left out."""
    parts = [f"{found.labelled:,} labelled"]
    for count, name in (
        (found.empty, "empty"),
        (found.other_language, "in another language"),
        (found.failed, "failed (see the column error)"),
    ):
        if count:
            parts.append(f"{count:,} {name}")
    parts.append(f"{found.review:,} to review")
    rows = f"{found.rows:,} rows"
    if found.answers > found.rows:
        rows += f" with {found.answers:,} answers"
    return f"{rows}: {', '.join(parts)}, in {_duration(found.seconds)}"


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"


def _write_summary(path: Path, run: Run, total: Summary, files: list[dict[str, Any]]) -> None:
    from druppel.writing import atomic

    found = {
        "druppel": __version__,
        "model": run.workers.about().title,
        **total.to_dict(),
        "files": files,
    }
    with atomic(path) as stream:
        stream.write((json.dumps(found, ensure_ascii=False, indent=1) + "\n").encode())


def _workers(
    model: Path | None, profile: Profile | None, mode: Mode, n_workers: int | None, *, mask: bool
) -> Workers:
    """Processes that label; without a number given, one a core for a file that is worth it."""
    from functools import partial

    from joblib import cpu_count

    from druppel.workers import Workers

    load = partial(_load, model, profile, mode)
    if n_workers is not None:
        return Workers(load, n_workers, mask=mask)
    return Workers(load, cpu_count(), min_texts=_MANY_TEXTS, mask=mask)


def _load(model: Path | None, profile: Profile | None, mode: Mode) -> Labeler:
    with _without_collection():
        from druppel.labeler import Labeler

        return Labeler.load(model, profile=profile, mode=mode)


@contextmanager
def _without_collection() -> Iterator[None]:
    """Make what stays for good without looking for garbage in it: a tenth of the start."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _model_hash(model: Path | None) -> str | None:
    """Hash of what the model is, its manifest; None where there is none."""
    from druppel.journal import content_hash
    from druppel.labeler import default_model_folder
    from druppel.store import MANIFEST

    manifest = (model or default_model_folder()) / MANIFEST
    return content_hash(manifest) if manifest.is_file() else None


def _shows_progress(quiet: bool, to_screen: bool) -> bool:
    on_terminal = sys.stderr is not None and sys.stderr.isatty()
    return on_terminal and not quiet and not (to_screen and sys.stdout.isatty())


class _Progress:
    """A bar on standard error, with rate and time left."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._bar = Progress(
            TextColumn("{task.description:10s}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("rows, {task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task: Any = None
        self._began = 0.0

    def begin(self, stage: str, total: int | None) -> None:
        """Begin a stage of so many rows."""
        self.end()
        self._bar.start()
        self._began = time.monotonic()
        self._task = self._bar.add_task(stage, total=total, rate="")

    def advance(self, rows: int) -> None:
        """So many rows further."""
        task = self._bar.tasks[-1]
        done = task.completed + rows
        rate = done / max(time.monotonic() - self._began, 0.01)
        self._bar.update(self._task, advance=rows, rate=f"{rate:,.0f}/s")

    def end(self) -> None:
        """Take the bar away."""
        if self._task is not None:
            self._bar.remove_task(self._task)
            self._bar.stop()
            self._task = None


def _format_of_piped_table() -> str:
    """A named column on standard input means a table; what is not recognised is CSV."""
    from druppel import reading

    return reading.sniff(sys.stdin.buffer.peek(16)) or "csv"  # type: ignore[union-attr]


def _print_list(rows: Iterator[tuple[list[str], list[Result]]]) -> None:
    """Show results for reading: the text, then its sentiment, aspects and signals."""
    for texts, results in rows:
        for text, result in zip(texts, results, strict=True):
            _print_result(text, result)


def _print_result(text: str, result: Result) -> None:
    print(f"» {' '.join(text.split())}")
    if result.sentiment is None:
        print(f"  – geen labels (taal: {result.language or 'geen'})\n")
        return
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
    config: Annotated[
        Path | None,
        typer.Argument(help="Training configuration (TOML); none in a project folder."),
    ] = None,
    force: Annotated[bool, typer.Option(help="Replace an output folder that exists.")] = False,
    note: Annotated[str, typer.Option(help="Of a project: what is new in this version.")] = "",
    project: cli_project.ProjectOption = Path(),
    quiet: QuietOption = False,
) -> None:
    """Train: improve a project's model by its decisions, or make one from a corpus."""
    if config is None:
        cli_project.train_project(project, note, quiet=quiet)
        return
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
    for marked in loaded.signals:
        print(f"! {marked.slug:26s}{report.signals[marked.slug]:7d}")
    if report.problems:
        msg = f"{path}: {len(report.problems)} errors. Mend the lines named above."
        raise DruppelError(msg)


def _say(message: str) -> None:
    print(f"druppel: {message}", file=sys.stderr)


def _silent(message: str) -> None:
    del message
