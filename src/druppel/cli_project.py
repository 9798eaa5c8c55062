"""The commands of a project folder: parse, call, print. No logic of its own; see `cli`."""

from __future__ import annotations

import json
import sys
import webbrowser
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from druppel.errors import CorpusError, InputError, ModelError

if TYPE_CHECKING:
    from druppel.comparison import Comparison
    from druppel.labeler import Labeler
    from druppel.project import Project
    from druppel.workers import Query

CURRENT = "huidig"
"""Stands for the version in use, where a version is asked."""

_STAGES = 5  # of a training: reading, fitting, thresholds, measuring, done

ProjectOption = Annotated[
    Path, typer.Option("--project", help="Project folder; without it, the one you are in.")
]
AnalystOption = Annotated[
    str | None, typer.Option("--analyst", help="Who decides; by default who is logged in.")
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing on stderr.")]
TextColumnOption = Annotated[str | None, typer.Option(help="Column that holds the feedback.")]
QuestionOption = Annotated[str | None, typer.Option(help="The question that all texts answer.")]
QuestionColumnOption = Annotated[
    str | None, typer.Option(help="Column that holds the question of each text.")
]
ScoreColumnOption = Annotated[
    str | None, typer.Option(help="Column that holds the customer's score of each text.")
]
ScoreScaleOption = Annotated[float, typer.Option(min=1, help="The best score on that scale.")]
SheetOption = Annotated[str | None, typer.Option(help="Sheet of a workbook.")]


class DefaultGroup(TyperGroup):
    """A group whose first command is meant where none is named."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the name of the first command before what is none."""
        wants_help = set(args) & set(ctx.help_option_names)
        if (not args or args[0] not in self.commands) and not wants_help:
            args = [next(iter(self.commands)), *args]
        return super().parse_args(ctx, args)


corrections_app = typer.Typer(help="What analysts decided about texts.", no_args_is_help=True)
models_app = typer.Typer(help="The versions of a project's model.", cls=DefaultGroup)
taxonomy_app = typer.Typer(help="Show, check and change a taxonomy.", cls=DefaultGroup)


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    for command in (init, review, doctor, compare, promote, rollback, drift):
        app.command()(command)
    app.add_typer(corrections_app, name="corrections")
    app.add_typer(models_app, name="models")
    app.add_typer(taxonomy_app, name="taxonomy")


# --- a project -----------------------------------------------------------------------------


def init(
    folder: Annotated[Path, typer.Argument(help="Folder to make.")],
    name: Annotated[str | None, typer.Option(help="Name of its models.")] = None,
    examples: Annotated[
        Path | None,
        typer.Option(help="Table of labelled texts, to begin with a taxonomy of your own."),
    ] = None,
    text_column: TextColumnOption = None,
    label_column: Annotated[str, typer.Option(help="Column with the labels.")] = "label",
    level_separator: Annotated[
        str, typer.Option(help="Mark between the two levels of a label.")
    ] = ">",
    label_separator: Annotated[
        str, typer.Option(help="Mark between several labels of one text.")
    ] = "|",
    measure_share: Annotated[
        float, typer.Option(min=0, max=0.9, help="Share of the examples kept to measure by.")
    ] = 0.2,
    quiet: QuietOption = False,
) -> None:
    """Make a project folder, to improve the model by your own decisions."""
    from druppel import project

    say = _silent if quiet else _say
    given = None
    if examples is not None:
        for mark in (level_separator, label_separator):
            if not mark.strip():
                msg = "a separator must be a mark, not nothing or a space"
                raise typer.BadParameter(msg)
        rows = _labelled_rows(examples, text_column, label_column, say)
        given = project.Examples(
            rows, examples.name, level_separator, label_separator, measure_share
        )
    begun = project.init(folder, name=name, examples=given)
    say(f"project made in {folder}; {folder / 'LEESMIJ.md'} tells how to go on")
    if given is not None:
        taxonomy = begun.project.taxonomy
        say(
            f"{begun.n_examples} examples with {len(taxonomy.categories)} categories and "
            f"{len(taxonomy.leaves)} leaves taken from {examples}"
        )
    if begun.n_without:
        say(f"{begun.n_without} rows have no text or no label and were passed over")


def _labelled_rows(
    path: Path, text_column: str | None, label_column: str, say: Any
) -> list[tuple[str, str]]:
    from druppel.reading import Opening, open_table
    from druppel.tables import find_text_column

    with open_table(str(path), Opening(), warn=say) as table:
        texts = find_text_column(table, text_column)
        labels = find_text_column(table, label_column)
        return [(str(row.get(texts) or ""), str(row.get(labels) or "")) for row in table.read()]


def review(
    source: Annotated[str, typer.Argument(metavar="FILE", help="File with answers.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Workbook to write; it must not exist.")
    ] = Path("nakijken.xlsx"),
    web: Annotated[bool, typer.Option("--web", help="A page in the browser instead.")] = False,
    size: Annotated[int, typer.Option(min=1, help="Answers to pick.")] = 200,
    measure_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share picked at random, to measure by.")
    ] = 0.2,
    text_column: TextColumnOption = None,
    question: QuestionOption = None,
    question_column: QuestionColumnOption = None,
    score_column: ScoreColumnOption = None,
    score_scale: ScoreScaleOption = 10,
    sheet: SheetOption = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the page; by default any free one.")
    ] = 0,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Do not open the page, only print its address.")
    ] = False,
    analyst: AnalystOption = None,
    project: ProjectOption = Path(),
    quiet: QuietOption = False,
) -> None:
    """Pick the answers whose labels teach most, for a person to look at."""
    say = _silent if quiet else _say
    opened = _project(project)
    if not web:
        _refuse_existing(output)
    from druppel.labeler import Labeler
    from druppel.review import Answer, pick
    from druppel.review_sheet import write_sheet

    queries = _queries(
        source, text_column, question, question_column, score_column, score_scale, sheet, say
    )
    answers = [Answer(q.text, q.question, q.score, row) for row, q in queries]
    model = Labeler.load(opened.registry.current().folder).model
    history = opened.history
    known = {decision.key for decision in history.decisions()[0]}
    bar = _Bar(quiet)
    try:
        items = pick(
            model,
            answers,
            size=size,
            measure_share=measure_share,
            known=known,
            counts=opened.counts(),
            progress=bar.rows,
        )
    finally:
        bar.end()
    if not items:
        msg = f"{source}: nothing to review; everything was decided, is empty or is not Dutch."
        raise InputError(msg)
    who = analyst or _user()
    if not web:
        left_out = write_sheet(output, items, model.taxonomy, analyst=who)
        say(f"{len(items) - left_out} answers to look at → {output}")
        if left_out:
            say(f"{left_out} are too long for a cell and were left out; see them with --web")
        say(f"when you are done: druppel corrections add {output}")
        return
    from druppel.review_web import ReviewServer

    server = ReviewServer(items, opened.taxonomy, history, analyst=who, port=port)
    print(server.url, flush=True)
    say(f"{len(items)} answers to look at on this page; end with Ctrl-C")
    if not no_browser:
        webbrowser.open(server.url)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.shutdown()
    say(f"{server.n_decided} decided")


def doctor(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Workbook to write; it must not exist.")
    ] = Path("dokter.xlsx"),
    curves: Annotated[
        bool, typer.Option("--curves", help="Measure learning curves of small labels; slower.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    project: ProjectOption = Path(),
    quiet: QuietOption = False,
) -> None:
    """Look for what spoils the decisions: doubtful, contradictory and missing labels."""
    opened = _project(project)
    _refuse_existing(output)
    from druppel import doctor as examination
    from druppel.review_sheet import write_sheet

    bar = _Bar(quiet)
    try:
        found = opened.examine(curves=curves, progress=bar.line)
    finally:
        bar.end()
    items, extra = examination.sheet_items(found)
    if items:
        write_sheet(output, items, opened.taxonomy, extra=extra)
    if as_json:
        print(json.dumps(found.to_dict(), ensure_ascii=False))
    else:
        print(examination.as_text(found, str(output) if items else None), end="")


# --- decisions -----------------------------------------------------------------------------


@corrections_app.command("add")
def corrections_add(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="Sheet that was filled in.")],
    analyst: AnalystOption = None,
    all_rows: Annotated[
        bool,
        typer.Option("--all-rows", help="Of labelled output, also rows without gecontroleerd."),
    ] = False,
    text_column: TextColumnOption = None,
    project: ProjectOption = Path(),
    quiet: QuietOption = False,
) -> None:
    """Take a sheet back: every cell is checked, good rows are kept."""
    say = _silent if quiet else _say
    opened = _project(project)
    from druppel.review_sheet import read_sheet

    read = read_sheet(
        path,
        opened.taxonomy,
        analyst=analyst or _user(),
        all_rows=all_rows,
        text_column=text_column,
    )
    decisions = read.decisions
    others = sorted({d.analyst for d in decisions} - {analyst})
    if analyst is not None and others:
        say(f"the sheet names {', '.join(others)}; all of it counts as decided by {analyst}")
        decisions = [replace(decision, analyst=analyst) for decision in decisions]
    for note in read.notes:
        say(note)
    for problem in read.problems:
        print(f"error: {problem}", file=sys.stderr)
    open_before = len(opened.history.state().conflicts)
    added = opened.history.add(decisions)
    still_open = len(opened.history.state().conflicts)
    parts = [f"{added.n_new} new"]
    for count, name in (
        (added.n_agreed, "confirm an earlier one"),
        (added.n_changed, "change an earlier one of the same analyst"),
        (added.n_same, "known already"),
    ):
        parts += [f"{count} {name}"] if count else []
    batch = f" as batch {added.batch}" if added.batch is not None else ""
    say(f"{len(decisions)} decisions{batch}: {', '.join(parts)}")
    if still_open < open_before:
        say(f"{open_before - still_open} conflicts settled, {still_open} left")
    if read.n_unreviewed:
        say(f"{read.n_unreviewed} rows were not checked yet and do not count")
    if added.conflicts:
        say(
            f"{len(added.conflicts)} texts are in conflict and do not count; see them with "
            "'druppel corrections conflicts -o conflicten.xlsx'"
        )
    if read.problems:
        msg = (
            f"{path}: {len(read.problems)} cells are not right; their rows were passed over. Mend "
            "them in the same file and add it again: what was right stays."
        )
        raise CorpusError(msg)


@corrections_app.command("list")
def corrections_list(
    project: ProjectOption = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the batches of decisions, and what counts today."""
    opened = _project(project)
    decisions, withdrawn = opened.history.decisions()
    batches: dict[str, list[Any]] = {}
    for decision in decisions:
        batches.setdefault(decision.number.partition(":")[0], []).append(decision)
    rows = [
        {
            "batch": int(number),
            "date": made[0].date,
            "analyst": ", ".join(sorted({d.analyst for d in made})),
            "source": made[0].source,
            "decisions": len(made),
            "withdrawn": sum(d.number in withdrawn for d in made),
        }
        for number, made in batches.items()
    ]
    state = opened.history.state()
    n_measure = sum(d.part != "training" for d in state.decisions)
    counts = {
        "training": len(state.decisions) - n_measure,
        "measurement": n_measure,
        "conflicts": len(state.conflicts),
        "replaced": state.n_replaced,
    }
    if as_json:
        print(json.dumps({"batches": rows, **counts}, ensure_ascii=False))
        return
    for row in rows:
        gone = f", {row['withdrawn']} withdrawn" if row["withdrawn"] else ""
        print(
            f"{row['batch']:4d}  {str(row['date'])[:10]}  {row['decisions']:5d} by "
            f"{row['analyst']} from {row['source']}{gone}"
        )
    print(", ".join(f"{count} {name}" for name, count in counts.items()))


@corrections_app.command("sheet")
def corrections_sheet(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Workbook to write; it must not exist.")
    ] = Path("voorbeelden.xlsx"),
    project: ProjectOption = Path(),
) -> None:
    """Write an empty sheet for examples of your own, with the labels of today's taxonomy."""
    opened = _project(project)
    _refuse_existing(output)
    from druppel.project import BLANK_ROWS
    from druppel.review_sheet import write_sheet

    write_sheet(output, [], opened.taxonomy, blank_rows=BLANK_ROWS)
    _say(f"empty sheet → {output}; when filled in: druppel corrections add {output}")


@corrections_app.command("conflicts")
def corrections_conflicts(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Workbook to write; it must not exist.")
    ] = Path("conflicten.xlsx"),
    project: ProjectOption = Path(),
) -> None:
    """Write what analysts disagree about to a sheet in which one settles it."""
    opened = _project(project)
    from druppel.review_sheet import write_conflicts

    conflicts = opened.history.state().conflicts
    if not conflicts:
        _say("no conflicts")
        return
    _refuse_existing(output)
    write_conflicts(output, conflicts, opened.taxonomy)
    _say(f"{len(conflicts)} conflicts → {output}; when settled: druppel corrections add {output}")


@corrections_app.command("withdraw")
def corrections_withdraw(
    number: Annotated[str, typer.Argument(help="A batch (3), or one decision (3:12).")],
    analyst: AnalystOption = None,
    project: ProjectOption = Path(),
) -> None:
    """Note that a batch or decision no longer counts; nothing is deleted."""
    opened = _project(project)
    count = opened.history.withdraw(number, analyst or _user())
    _say(f"{count} decisions withdrawn")


# --- models --------------------------------------------------------------------------------


@models_app.command("list")
def models_list(
    project: ProjectOption = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the versions, and which one is in use."""
    registry = _project(project).registry
    if as_json:
        found = {
            "versions": [version.to_dict() for version in registry.versions()],
            "history": [event.to_dict() for event in registry.history()],
        }
        print(json.dumps(found, ensure_ascii=False))
        return
    for version in registry.versions():
        mark = "*" if version.current else " "
        note = f"  {version.note}" if version.note else ""
        bad = "" if version.sound else f"  DAMAGED: {version.problem}"
        print(f"{mark} {version.number:3d}  {version.created[:16]}  {version.title}{note}{bad}")


@models_app.command("add")
def models_add(
    folder: Annotated[Path, typer.Argument(help="Model folder from elsewhere.")],
    note: Annotated[str, typer.Option(help="What it is.")] = "",
    project: ProjectOption = Path(),
) -> None:
    """Check a model from elsewhere and take it in as a version."""
    from druppel.registry import compare_labels

    opened = _project(project)
    registry = opened.registry
    version = registry.admit(folder, note or str(folder), by=_user())
    _say(f"taken in as version {version.number}: {version.title}")
    labels = compare_labels(opened.taxonomy, registry.taxonomy(version.number))
    for name, slugs in (("has", labels.added), ("lacks", labels.removed), ("moves", labels.moved)):
        if slugs:
            _say(f"it {name}: {', '.join(map(str, slugs))}")


def promote(
    number: Annotated[int, typer.Argument(min=0, help="Version to use from now on.")],
    reason: Annotated[str, typer.Option(help="Why.")] = "",
    force: Annotated[
        bool, typer.Option("--force", help="Also if it is significantly worse.")
    ] = False,
    project: ProjectOption = Path(),
    quiet: QuietOption = False,
) -> None:
    """Take a version into use, unless it is significantly worse than the current one."""
    say = _silent if quiet else _say
    opened = _project(project)
    registry = opened.registry
    registry.version(number)
    try:
        current = registry.current().number
    except ModelError as error:
        # What cannot be opened cannot be compared with, and it is to be replaced.
        say(f"not compared, for the version in use cannot be opened ({error})")
        current, force = -1, True
    if current == number:
        say(f"version {number} is in use already")
        return
    if not force:
        compared = _compare(opened, CURRENT, str(number), None, quiet=quiet)
        if compared is not None and compared.significantly_worse:
            from druppel.comparison_report import sentences

            for sentence in sentences(compared):
                print(sentence, file=sys.stderr)
            msg = (
                f"version {number} is significantly worse. See 'druppel compare {CURRENT} "
                f"{number}'; with --force it is taken into use all the same."
            )
            raise ModelError(msg)
    version = registry.promote(number, by=_user(), reason=reason)
    say(f"in use from now on: {version.title}")


def rollback(
    reason: Annotated[str, typer.Option(help="Why.")] = "",
    project: ProjectOption = Path(),
) -> None:
    """Go back to the version that was in use before."""
    version = _project(project).registry.rollback(by=_user(), reason=reason)
    _say(f"in use again: {version.title}")


def compare(
    old: Annotated[str, typer.Argument(help="Version, 'huidig', or a model folder.")],
    new: Annotated[str, typer.Argument(help="Version, 'huidig', or a model folder.")],
    file: Annotated[
        str | None, typer.Option(help="File with answers, to see how volumes change.")
    ] = None,
    text_column: TextColumnOption = None,
    question: QuestionOption = None,
    question_column: QuestionColumnOption = None,
    score_column: ScoreColumnOption = None,
    score_scale: ScoreScaleOption = 10,
    sheet: SheetOption = None,
    html: Annotated[Path | None, typer.Option(help="Page to write, with example texts.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    profile: Annotated[
        str | None, typer.Option(help="nauwkeurig or snel; by default the models' own.")
    ] = None,
    project: ProjectOption = Path(),
    quiet: QuietOption = False,
) -> None:
    """Compare two models on texts that neither was trained on."""
    say = _silent if quiet else _say
    opened = _project(project)
    queries = None
    if file is not None:
        queries = _queries(
            file, text_column, question, question_column, score_column, score_scale, sheet, say
        )
    compared = _compare(opened, old, new, queries, profile=profile, quiet=quiet)
    if compared is None:
        msg = (
            f"{opened.folder}: there is nothing to measure by. Review some answers with 'druppel "
            "review': its random share measures."
        )
        raise InputError(msg)
    from druppel.comparison_report import as_html, as_text

    version = new if new.isdigit() else None
    if html is not None:
        _write_page(html, as_html(compared, version=version))
        say(f"page written to {html}")
    if as_json:
        print(json.dumps(compared.to_dict(), ensure_ascii=False))
    else:
        print(as_text(compared, version=version), end="")


def _compare(
    opened: Project,
    old: str,
    new: str,
    queries: Iterator[tuple[int, Query]] | None,
    *,
    profile: str | None = None,
    quiet: bool,
) -> Comparison | None:
    """Compare two models on what the project measures by; None where that is nothing."""
    from druppel import comparison

    before, after = (_labeler(opened, name, profile) for name in (old, new))
    sets = opened.held_out()
    if not any(one.texts for one in sets):
        return None
    rows = None if queries is None else [query for _, query in queries]
    bar = _Bar(quiet)
    try:
        return comparison.compare(
            before,
            after,
            sets,
            cases=opened.cases(),
            volumes=None if rows is None else [row.text for row in rows],
            questions=None if rows is None else [row.question for row in rows],
            scores=None if rows is None else [row.score for row in rows],
            progress=bar,
        )
    finally:
        bar.end()


def _labeler(opened: Project, name: str, profile: str | None) -> Labeler:
    from druppel.labeler import Labeler

    registry = opened.registry
    if name == CURRENT:
        folder = registry.current().folder
    elif name.isdigit():
        folder = registry.version(int(name)).folder
    else:
        folder = Path(name)
    return Labeler.load(folder, profile=profile)


# --- taxonomy ------------------------------------------------------------------------------


@taxonomy_app.command("show")
def taxonomy_show(
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
    for marked in loaded.signals:
        print(f"! {marked.slug:26s} {marked.definition}")


@taxonomy_app.command("migrate")
def taxonomy_migrate(
    plan: Annotated[Path, typer.Argument(help="Plan (TOML) of what is to change.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would happen, and change nothing.")
    ] = False,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Workbook for what a person must decide.")
    ] = Path("splitsen.xlsx"),
    analyst: AnalystOption = None,
    project: ProjectOption = Path(),
) -> None:
    """Rename, merge, split, move or remove labels, and rewrite the decisions with them."""
    opened = _project(project)
    from druppel.review_sheet import write_sheet

    change = opened.prepare_migration(plan)
    if dry_run:
        print("Proef: dit zou er gebeuren. Er is nog niets veranderd.")
    for line in change.report:
        print(line)
    if dry_run:
        return
    if change.items:
        _refuse_existing(output)
        write_sheet(output, change.items, change.taxonomy, extra=change.extra)
    opened.migrate(change, analyst or _user())
    _say(f"{len(change.migrated.changed)} decisions rewritten; now 'druppel train' again")
    if change.items:
        _say(f"{len(change.items)} to decide → {output}; then druppel corrections add {output}")


# --- drift ---------------------------------------------------------------------------------


def drift(
    reference: Annotated[str, typer.Argument(help="File with answers of an earlier period.")],
    new: Annotated[str, typer.Argument(help="File with answers of a later period.")],
    text_column: TextColumnOption = None,
    question: QuestionOption = None,
    question_column: QuestionColumnOption = None,
    score_column: ScoreColumnOption = None,
    score_scale: ScoreScaleOption = 10,
    sheet: SheetOption = None,
    html: Annotated[Path | None, typer.Option(help="Page to write, with example texts.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    profile: Annotated[str | None, typer.Option(help="nauwkeurig or snel.")] = None,
    project: Annotated[
        Path | None,
        typer.Option("--project", help="Project folder; without it, the model that ships."),
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Say what changed between two periods, and what may be the model's error."""
    say = _silent if quiet else _say
    from druppel.drift import Period
    from druppel.drift import drift as find_drift
    from druppel.drift_report import as_html, as_text
    from druppel.labeler import Labeler
    from druppel.project import shipped_held_out

    if project is None:
        labeler, sets = Labeler.load(profile=profile), [shipped_held_out()]
    else:
        opened = _project(project)
        labeler, sets = _labeler(opened, CURRENT, profile), opened.held_out()
    known = frozenset(labeler.model.taxonomy.names)
    gold = [text for one in sets for text in one.texts if known <= one.annotated]
    if not gold:  # of some labels nobody knows how well they are found
        gold = [text for one in sets for text in one.texts]
    bar = _Bar(quiet)
    periods = []
    try:
        for source in (reference, new):
            asked = _queries(
                source,
                text_column,
                question,
                question_column,
                score_column,
                score_scale,
                sheet,
                say,
            )
            queries = [query for _, query in asked]
            periods.append(
                Period(
                    Path(source).name,
                    [query.text for query in queries],
                    bar.label(
                        labeler,
                        Path(source).name,
                        [query.text for query in queries],
                        [query.question for query in queries],
                        [query.score for query in queries],
                    ),
                )
            )
        results = bar.label(
            labeler,
            "measuring",
            [t.text for t in gold],
            [t.question for t in gold],
            [t.score for t in gold],
        )
    finally:
        bar.end()
    found = find_drift(
        *periods, held_out=gold, held_out_results=results, taxonomy=labeler.model.taxonomy
    )
    if html is not None:
        _write_page(html, as_html(found))
        say(f"page written to {html}")
    if as_json:
        print(json.dumps(found.to_dict(), ensure_ascii=False))
    else:
        print(as_text(found), end="")


# --- shared --------------------------------------------------------------------------------


def _project(folder: Path) -> Project:
    from druppel.project import Project

    return Project.load(folder)


def _user() -> str:
    from druppel.project import user_name

    return user_name()


def _refuse_existing(path: Path) -> None:
    """A sheet may hold an analyst's work: it is never replaced."""
    if path.exists():
        msg = f"{path}: exists already. Choose another file with --output."
        raise InputError(msg)


def _write_page(path: Path, page: str) -> None:
    from druppel.writing import atomic

    with atomic(path) as stream:
        stream.write(page.encode())


def _queries(
    source: str,
    text_column: str | None,
    question: str | None,
    question_column: str | None,
    score_column: str | None,
    score_scale: float,
    sheet: str | None,
    say: Any,
) -> Iterator[tuple[int, Query]]:
    """The answers of a file, unlabelled."""
    from druppel import batch
    from druppel.labeler import Labeler
    from druppel.reading import Opening
    from druppel.workers import Workers

    if question is not None and question_column is not None:
        msg = "give --question or --question-column, not both"
        raise typer.BadParameter(msg)
    columns = (batch.TextColumn(text_column, question),) if text_column is not None else ()
    run = batch.Run(
        workers=Workers(Labeler.load, 1),
        assignment=batch.Assignment(
            columns,
            question_column,
            score_column,
            score_scale,
            question=question if text_column is None else None,
        ),
        opening=Opening(sheet=sheet),
        warn=say,
    )
    return run.queries(source)


class _Bar:
    """Progress on standard error where that is a terminal: of rows, or a line of what is done."""

    def __init__(self, quiet: bool) -> None:
        self._shown = not quiet and sys.stderr is not None and sys.stderr.isatty()
        self._quiet = quiet
        self._bar: Any = None
        self._task: Any = None

    def begin(self, stage: str, total: int | None) -> None:
        """Begin a stage of so many rows."""
        self.end()
        if not self._shown:
            return
        from rich.console import Console
        from rich.progress import Progress

        self._bar = Progress(console=Console(stderr=True), transient=True)
        self._bar.start()
        self._task = self._bar.add_task(stage, total=total)

    def advance(self, rows: int) -> None:
        """So many rows further."""
        if self._bar is not None:
            self._bar.update(self._task, advance=rows)

    def end(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def rows(self, done: int, total: int) -> None:
        """So many of so many rows are done."""
        if self._bar is None and self._shown:
            self.begin("labelling", total)
        if self._bar is not None:
            self._bar.update(self._task, completed=done)

    def stages(self, count: int) -> None:
        """Expect so many stages, each told by `line`."""
        self.begin("", count)

    def line(self, message: str) -> None:
        """What is being done: the next stage of the bar, or a line."""
        if self._bar is not None:
            done = self._bar.tasks[-1].completed + 1
            self._bar.update(self._task, description=message, completed=done)
        elif not self._quiet:
            _say(message)

    def label(
        self,
        labeler: Labeler,
        stage: str,
        texts: list[str],
        questions: list[str | None],
        scores: list[float | None],
    ) -> list[Any]:
        """Label texts, with a bar."""
        self.begin(stage, len(texts))
        found = []
        for result in labeler.label_many(texts, questions, scores):
            found.append(result)
            self.advance(1)
        self.end()
        return found


def train_project(folder: Path, note: str, *, quiet: bool) -> None:
    """Retrain the model of a project folder."""
    opened = _project(folder)
    say = _silent if quiet else _say
    bar = _Bar(quiet)
    bar.stages(_STAGES)
    try:
        trained = opened.retrain(note=note, progress=bar.line)
    finally:
        bar.end()
    number = trained.version.number
    say(
        f"version {number} made from {trained.n_training} decisions; "
        f"{trained.n_measurement} measure"
    )
    if trained.left_out:
        say(f"{trained.left_out} decisions were left out: a text that measures is nearly the same")
    if trained.conflicts:
        say(f"{len(trained.conflicts)} texts are in conflict and were left out")
    for name, found in trained.figures.items():
        figure = found.figures["irritation.micro"]
        print(
            f"{name} ({found.n_texts} teksten): irritaties {figure.value:.3f} "
            f"[{figure.low:.3f}, {figure.high:.3f}]"
        )
    say(f"see whether it is better: druppel compare {CURRENT} {number}")


def _say(message: str) -> None:
    print(f"druppel: {message}", file=sys.stderr)


def _silent(message: str) -> None:
    del message
