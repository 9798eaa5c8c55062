"""A project folder: an organisation's decisions, its taxonomy, and the models that came of them."""

from __future__ import annotations

import getpass
import json
import re
import tomllib
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from druppel import doctor
from druppel.cases import Case, read_cases
from druppel.comparison import HeldOut
from druppel.corpus import GoldAspect, LabelledText, digest, near_duplicates, read_corpus
from druppel.corrections import (
    MEASUREMENT,
    TRAINING,
    Conflict,
    Decision,
    History,
    check_labels,
    labelled_texts,
    now,
)
from druppel.errors import ConfigError, InputError, TaxonomyError
from druppel.evaluation import Evaluation, evaluate
from druppel.labeler import Labeler, default_model_folder
from druppel.migration import (
    Choice,
    Migrated,
    Plan,
    advise,
    follow,
    migrate_history,
    migrate_labels,
    migrate_taxonomy,
    summary,
)
from druppel.model import Model
from druppel.registry import REGISTRY, Registry, Version
from druppel.result import TABLE_COLUMNS_AFTER, TABLE_COLUMNS_BEFORE, Aspect, Result
from druppel.retraining import (
    Origins,
    OutOfFold,
    Progress,
    Settings,
    carry_over,
    extend,
    out_of_fold,
    sample_texts,
)
from druppel.review import QueueItem, as_result
from druppel.review_sheet import write_sheet
from druppel.store import load_model, rounded, save_model
from druppel.taxonomy import Taxonomy
from druppel.writing import atomic

CONFIG = "druppel.toml"
TAXONOMY = "taxonomie.toml"
SHEET = "correcties.xlsx"
HISTORY = "correcties"
PLANS = "migraties"
SHIPPED_SET = Path("meetset", "meegeleverd.jsonl")
FORMAT = 1

BLANK_ROWS = 300
_CURVE_SAMPLE = 500
_RESERVED = frozenset((*TABLE_COLUMNS_BEFORE, *TABLE_COLUMNS_AFTER))


def default_corpus_folder() -> Path:
    """Folder of the labelled texts that ship with Druppel."""
    return _shipped("corpus")


def default_cases_folder() -> Path:
    """Folder of the challenge cases that ship with Druppel."""
    return _shipped("cases")


def _shipped(name: str) -> Path:
    packaged = Path(__file__).parent / "resources" / name
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "training" / name


def shipped_held_out() -> HeldOut:
    """The texts of the shipped corpus that the shipped model was never trained on."""
    model = default_model_folder()
    taxonomy = Taxonomy.load(model / "taxonomy.toml")
    wanted = set(json.loads((model / "metrics.json").read_text(encoding="utf-8"))["test_ids"])
    texts = [t for t in read_corpus(default_corpus_folder(), taxonomy) if t.id in wanted]
    return HeldOut("meegeleverde meetset", tuple(texts), frozenset(taxonomy.names))


def user_name() -> str:
    """Name of who is at work, where the system knows it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no such user, as in some containers
        return "onbekend"


@dataclass(frozen=True)
class Retrained:
    """What `Project.retrain` made.

    Attributes
    ----------
    version : Version
    n_training, n_measurement : int
        Decisions that were learnt from, and that measure.
    left_out : int
        Decisions to learn from that are nearly the same as one that measures.
    conflicts : tuple of Conflict
        Texts that analysts disagree about; they are left out.
    figures : dict of str to Evaluation
        By name of the held-out set, in the model's first profile.
    """

    version: Version
    n_training: int
    n_measurement: int
    left_out: int
    conflicts: tuple[Conflict, ...]
    figures: dict[str, Evaluation]


@dataclass(frozen=True)
class Material:
    """What a project has to learn from and to measure by.

    Attributes
    ----------
    training, measurement : tuple of Decision
    own : list of LabelledText
        What to learn from, as labelled texts.
    sample : list of LabelledText
        Of what the base learnt from.
    left_out : int
        Decisions that are nearly the same as one that measures.
    conflicts : tuple of Conflict
    unlooked : dict of str to frozenset of str
        By leaf or signal of one's own, the keys of decisions older than its first example.
    """

    training: tuple[Decision, ...]
    measurement: tuple[Decision, ...]
    own: list[LabelledText]
    sample: list[LabelledText]
    left_out: int
    conflicts: tuple[Conflict, ...]
    unlooked: dict[str, frozenset[str]]


@dataclass(frozen=True)
class Project:
    """A project folder.

    Attributes
    ----------
    folder : Path
    name : str
        Of its models.
    settings : Settings
    source : str
        Text of its configuration.
    """

    folder: Path
    name: str
    settings: Settings
    source: str

    @classmethod
    def load(cls, folder: str | Path = ".") -> Project:
        """Open a project folder, or the one that `folder` lies in.

        Raises
        ------
        ConfigError
            If there is none, or its configuration is broken.
        """
        start = Path(folder).resolve()
        for candidate in (start, *start.parents):
            if (candidate / CONFIG).is_file():
                return cls._read(candidate)
        msg = (
            f"{folder}: no project folder (it has no {CONFIG}). Go to one, name it with "
            "--project, or make one with 'druppel init'."
        )
        raise ConfigError(msg)

    @classmethod
    def _read(cls, folder: Path) -> Project:
        path = folder / CONFIG
        try:
            source = path.read_text(encoding="utf-8-sig")
            data = tomllib.loads(source)
        except OSError as error:
            msg = f"{path}: cannot read the configuration ({error.strerror})."
            raise ConfigError(msg) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            msg = f"{path}: not valid TOML: {error}."
            raise ConfigError(msg) from None
        if data.get("format") != FORMAT:
            msg = f"{path}: 'format' must be {FORMAT}, got {data.get('format')!r}."
            raise ConfigError(msg)
        name = data.get("name")
        if not isinstance(name, str) or not name.strip() or not name.isprintable():
            msg = f"{path}: 'name' must be a name, got {name!r}."
            raise ConfigError(msg)
        said = {key: value for key, value in data.items() if key not in ("format", "name")}
        return cls(folder, name, _settings(path, said), source)

    # --- what lies in it -------------------------------------------------------------------

    @property
    def history(self) -> History:
        """The decisions."""
        return History(self.folder / HISTORY)

    @property
    def registry(self) -> Registry:
        """The models."""
        return Registry(self.folder / REGISTRY)

    @cached_property
    def taxonomy(self) -> Taxonomy:
        """Its categories, leaves and signals.

        Raises
        ------
        TaxonomyError
            If the file is broken.
        """
        return Taxonomy.load(self.folder / TAXONOMY)

    @cached_property
    def plans(self) -> list[Plan]:
        """The migrations of its taxonomy, in order."""
        return [Plan.load(path) for path in sorted((self.folder / PLANS).glob("*.toml"))]

    @cached_property
    def base(self) -> Version:
        """The model that is extended: what the project began with."""
        return self.registry.version(0)

    @cached_property
    def base_taxonomy(self) -> Taxonomy:
        """Taxonomy of the base."""
        return Taxonomy.load(self.base.folder / "taxonomy.toml")

    @cached_property
    def renamed(self) -> dict[str, str]:
        """New slug by old slug, for labels of the base that were renamed, merged or dropped."""
        return follow(self.plans, self.base_taxonomy.names)

    @cached_property
    def origins(self) -> Origins:
        """Which labels go on from the base."""
        return Origins.of(self.base_taxonomy, self.taxonomy, self.renamed)

    def carried_over(self, texts: Iterable[LabelledText]) -> list[LabelledText]:
        """Texts that the base's taxonomy labelled, as this project's would."""
        moved = list(texts)
        for plan in self.plans:
            moved = list(migrate_labels(moved, plan).texts)
        return carry_over(moved, self.base_taxonomy, self.taxonomy)

    def held_out(self) -> list[HeldOut]:
        """The frozen texts to measure by: those that came with the base, and one's own.

        The labels that the base did not have were not annotated in the first.
        """
        sets = []
        path = self.folder / SHIPPED_SET
        if path.is_file() and not self.origins.fresh:
            texts = self.carried_over(read_corpus(path, self.base_taxonomy))
            annotated = frozenset(slug for slug, old in self.origins.sources.items() if old)
            sets.append(HeldOut("meegeleverde meetset", tuple(texts), annotated))
        decisions = [d for d in self.history.state().decisions if d.part == MEASUREMENT]
        own, problems = labelled_texts(decisions, self.taxonomy)
        check_labels(problems, self.folder / HISTORY)
        sets.append(HeldOut("eigen meetset", tuple(own), frozenset(self.taxonomy.names)))
        return sets

    def cases(self, taxonomy: Taxonomy | None = None) -> list[Case]:
        """The shipped challenge cases whose labels a taxonomy still has."""
        shipped = read_cases(default_cases_folder(), Taxonomy.load())
        known = set((taxonomy or self.taxonomy).names)

        def is_known(label: str) -> bool:
            slug = label.partition(":")[0]
            return slug in known or slug == "*"

        return [case for case in shipped if all(map(is_known, case.expect | case.forbid))]

    def counts(self) -> dict[str, int]:
        """Examples of each leaf to learn from, the base's among them."""
        count: Counter[str] = Counter({leaf.slug: 0 for leaf in self.taxonomy.leaves})
        texts: list[Any] = list(self._base_texts)
        texts += [d for d in self.history.state().decisions if d.part == TRAINING]
        count.update(a.leaf for text in texts for a in text.aspects if a.leaf in count)
        return dict(count)

    # --- learning --------------------------------------------------------------------------

    def material(self) -> Material:
        """Gather what there is to learn from.

        Raises
        ------
        CorpusError
            If a decision bears a label that the taxonomy does not have.
        """
        state = self.history.state()
        measurement = tuple(d for d in state.decisions if d.part == MEASUREMENT)
        training = tuple(d for d in state.decisions if d.part == TRAINING)
        close = _alike(training, measurement)
        kept = tuple(d for i, d in enumerate(training) if i not in close)
        own, problems = labelled_texts(kept, self.taxonomy)
        check_labels(problems, self.folder / HISTORY)
        sample = sample_texts(self._base_texts, self.settings.sample, self.settings.random_state)
        return Material(
            kept, measurement, own, sample, len(close), state.conflicts, self._unlooked(kept)
        )

    def _unlooked(self, decisions: Sequence[Decision]) -> dict[str, frozenset[str]]:
        """By new leaf or signal, the decisions from before its first example."""
        found = {}
        for label in (*self.taxonomy.leaves, *self.taxonomy.signals):
            if self.origins.sources[label.slug]:
                continue
            bearing = [
                d.date
                for d in decisions
                if label.slug in d.signals or any(a.leaf == label.slug for a in d.aspects)
            ]
            if bearing:
                first = min(bearing)
                found[label.slug] = frozenset(d.key for d in decisions if d.date < first)
        return found

    @cached_property
    def _base_texts(self) -> list[LabelledText]:
        """What the base learnt from, as this taxonomy labels it."""
        if self.origins.fresh:
            return []
        held_out: set[str] = set()
        path = self.folder / SHIPPED_SET
        if path.is_file():
            held_out = {text.id for text in read_corpus(path, self.base_taxonomy)}
        corpus = read_corpus(default_corpus_folder(), Taxonomy.load())
        learnt = [text for text in corpus if text.id not in held_out]
        return self.carried_over(carry_over(learnt, Taxonomy.load(), self.base_taxonomy))

    def retrain(self, *, note: str = "", progress: Progress = lambda _: None) -> Retrained:
        """Extend the base by the decisions, and put the outcome in the registry.

        It is not promoted.

        Raises
        ------
        ConfigError
            If there is nothing to learn.
        CorpusError, TaxonomyError, ModelError
            If decisions, taxonomy or base cannot be used.
        """
        material = self.material()
        same = self.taxonomy.digest == self.base_taxonomy.digest
        if not material.own and same:
            msg = (
                f"{self.folder}: there are no decisions to learn from yet. Add some with 'druppel "
                "review' and 'druppel corrections add'."
            )
            raise ConfigError(msg)
        unknown = _without_examples(self.taxonomy, material.own, self.origins)
        if unknown:
            progress(f"no examples yet, so it will not be found: {', '.join(unknown)}")
        base = load_model(self.base.folder)
        folder = self.registry.reserve()
        model = extend(
            base,
            self.taxonomy,
            material.own,
            material.sample,
            name=self.name,
            version=folder.name,
            settings=self.settings,
            renamed=self.renamed,
            unlooked=material.unlooked,
            progress=progress,
        )
        progress("measuring")
        figures = self._write(model, folder, material)
        version = self.registry.register(
            folder, by=user_name(), note=note or f"{len(material.own)} beslissingen"
        )
        return Retrained(
            version=version,
            n_training=len(material.own),
            n_measurement=len(material.measurement),
            left_out=material.left_out,
            conflicts=material.conflicts,
            figures=figures,
        )

    def _write(self, model: Model, folder: Path, material: Material) -> dict[str, Evaluation]:
        """Write the model with the figures of what is written: stored weights are rounded."""
        files = {"config.toml": self.source}
        written = rounded(model)
        sets = [one for one in self.held_out() if one.texts]
        figures = {one.name: measure(Labeler(written), one) for one in sets}
        files["metrics.json"] = (
            json.dumps(
                {
                    "base": self.base.title,
                    "date": now(),
                    "profile": written.profile,
                    "n_training": len(material.own),
                    "n_measurement": len(material.measurement),
                    "n_sample": len(material.sample),
                    "decisions_sha256": digest(material.own),
                    "taxonomy_sha256": self.taxonomy.digest,
                    "figures": {name: found.to_dict() for name, found in figures.items()},
                },
                indent=1,
                ensure_ascii=False,
            )
            + "\n"
        )
        files["README.md"] = _card(model, self.base.title, material, figures)
        save_model(model, folder, files)
        return figures

    def judged(self, progress: Progress = lambda _: None) -> tuple[list[Decision], OutOfFold]:
        """Judge every decision by a model that learnt from the others; see `out_of_fold`."""
        decisions = list(self.history.state().decisions)
        texts, problems = labelled_texts(decisions, self.taxonomy)
        check_labels(problems, self.folder / HISTORY)
        if not texts:
            msg = f"{self.folder}: there are no decisions to look at yet."
            raise InputError(msg)
        sample = sample_texts(self._base_texts, self.settings.sample, self.settings.random_state)
        judged = out_of_fold(
            load_model(self.base.folder),
            self.taxonomy,
            texts,
            sample,
            settings=self.settings,
            renamed=self.renamed,
            unlooked=self._unlooked(decisions),
            progress=progress,
        )
        return decisions, judged

    def examine(
        self, *, curves: bool = False, progress: Progress = lambda _: None
    ) -> doctor.Diagnosis:
        """Look for what spoils the decisions; see `druppel.doctor.examine`.

        Parameters
        ----------
        curves : bool, default=False
            Measure learning curves of one's own labels, which takes a while.
        progress : callable, optional
        """
        decisions, judged = self.judged(progress)
        measured = {}
        if curves:
            own, _ = labelled_texts(decisions, self.taxonomy)
            labels = (*self.taxonomy.leaves, *self.taxonomy.signals)
            measured = doctor.learning_curve(
                load_model(self.base.folder),
                self.taxonomy,
                own,
                sample_texts(self._base_texts, _CURVE_SAMPLE, self.settings.random_state),
                [x.slug for x in labels if not self.origins.sources[x.slug]],
                settings=self.settings,
                renamed=self.renamed,
                progress=progress,
            )
        made, withdrawn = self.history.decisions()
        return doctor.examine(
            decisions,
            self.taxonomy,
            judged=judged,
            known=self._base_texts,
            curves=measured,
            made=[d for d in made if d.number not in withdrawn],
        )

    # --- changing the taxonomy ---------------------------------------------------------------

    def prepare_migration(self, path: Path) -> Migration:
        """Work out what a plan does to the taxonomy and the decisions; change nothing.

        Raises
        ------
        TaxonomyError
            If the plan is broken, or does not fit the taxonomy.
        """
        plan = Plan.load(path)
        source = migrate_taxonomy(self.taxonomy.source, plan)
        taxonomy = Taxonomy.parse(source, name=TAXONOMY)
        migrated, withdraw = migrate_history(*self.history.decisions(), plan, taxonomy)
        items: list[QueueItem] = []
        extra: list[dict[str, str | float]] = []
        for undecided in migrated.needs_human:
            d = undecided.proposed
            items.append(
                QueueItem(
                    d.text,
                    d.question,
                    d.score,
                    _to_choose(as_result(d, taxonomy), undecided.choices, d.text, taxonomy),
                    "splitsen: kies het nieuwe label",
                    undecided.text.part,
                )
            )
            marks = [_advice(choice) for choice in undecided.choices]
            extra.append({"voorstel": "\n".join(marks)})
        report = (*summary(plan, migrated), *advise(plan, self.taxonomy, taxonomy))
        return Migration(
            plan,
            path.read_text("utf-8-sig"),
            taxonomy,
            migrated,
            tuple(withdraw),
            tuple(items),
            tuple(extra),
            report,
        )

    def migrate(self, change: Migration, analyst: str) -> None:
        """Carry a migration out. The taxonomy comes last: until then nothing is final."""
        history = self.history
        batch = history.begin()
        for one in change.withdraw:
            batch.withdraw(one, analyst)
        batch.close()
        if change.migrated.changed:
            history.add(change.migrated.changed)
        folder = self.folder / PLANS
        folder.mkdir(exist_ok=True)
        number = len(list(folder.glob("*.toml"))) + 1
        with atomic(folder / f"{number:04d}.toml") as stream:
            stream.write(change.plan_text.encode())
        with atomic(self.folder / TAXONOMY) as stream:
            stream.write(change.taxonomy.source.encode())


def _advice(choice: Choice) -> str:
    said = f"voorstel {choice.proposal}" if choice.proposal else "geen voorstel, kies zelf"
    polarity = f" {choice.polarity}" if choice.polarity else ""
    return f"{choice.old}{polarity}: {said} (uit {', '.join(choice.options)})"


def _to_choose(result: Result, choices: Iterable[Choice], text: str, taxonomy: Taxonomy) -> Result:
    """Leave only the category where a leaf is to be chosen: a sheet refuses ja with that."""
    open_aspects = []
    for choice in choices:
        if choice.proposal is None and choice.polarity is not None:
            evidence = choice.evidence or ""
            start = max(text.find(evidence), 0)
            category = taxonomy.parent[choice.options[0]]
            open_aspects.append(
                Aspect(category, None, choice.polarity, 1.0, start, start + len(evidence), evidence)
            )
    return replace(result, aspects=(*result.aspects, *open_aspects))


@dataclass(frozen=True)
class Migration:
    """What a plan does to a project, before it is done.

    Attributes
    ----------
    plan : Plan
    plan_text : str
        As it stood in its file.
    taxonomy : Taxonomy
        As it will be.
    migrated : Migrated of Decision
    withdraw : tuple of str
        Numbers of decisions that a person must make anew.
    items : tuple of QueueItem
        For the sheet in which that is done.
    extra : tuple of dict
        What else that sheet tells of each.
    report : tuple of str
        In Dutch.
    """

    plan: Plan
    plan_text: str
    taxonomy: Taxonomy
    migrated: Migrated[Decision]
    withdraw: tuple[str, ...]
    items: tuple[QueueItem, ...]
    extra: tuple[dict[str, str | float], ...]
    report: tuple[str, ...]


def measure(labeler: Labeler, held_out: HeldOut) -> Evaluation:
    """Evaluate on held-out texts; labels that were not annotated in them do not count."""
    texts = held_out.texts
    results = labeler.label_many(
        [t.text for t in texts], [t.question for t in texts], [t.score for t in texts]
    )
    return evaluate(
        list(texts), [held_out.only_annotated(r) for r in results], labeler.model.taxonomy
    )


def _alike(training: Sequence[Decision], measurement: Sequence[Decision]) -> set[int]:
    """Numbers of the decisions to learn from that are nearly the same as one that measures."""
    if not training or not measurement:
        return set()
    n = len(measurement)
    texts = [d.text for d in (*measurement, *training)]
    asked = [d.question for d in (*measurement, *training)]
    return {
        b - n
        for a, b, similarity in near_duplicates(texts)
        if a < n <= b and (similarity < 1.0 or asked[a] == asked[b])
    }


def _without_examples(
    taxonomy: Taxonomy, own: Sequence[LabelledText], origins: Origins
) -> list[str]:
    shown = {aspect.leaf for text in own for aspect in text.aspects}
    shown |= {signal for text in own for signal in text.signals}
    labels = (*taxonomy.leaves, *taxonomy.signals)
    return [x.slug for x in labels if not origins.sources[x.slug] and x.slug not in shown]


def _settings(path: Path, said: Mapping[str, Any]) -> Settings:
    known = {field.name: field for field in fields(Settings)}
    values: dict[str, Any] = {}
    for key, value in said.items():
        if key not in known:
            close = get_close_matches(key, ["format", "name", *known], n=1)
            hint = f"; did you mean {close[0]!r}?" if close else "."
            msg = f"{path}: unknown key {key!r}{hint}"
            raise ConfigError(msg)
        default: Any = known[key].default
        good = isinstance(value, int | float) and not isinstance(value, bool)
        if good and isinstance(default, int):
            good = isinstance(value, int)
        if not good or value < 0 or (value == 0 and key not in _MAY_BE_ZERO):
            msg = f"{path}: '{key}' must be a number above 0 like {default!r}, got {value!r}."
            raise ConfigError(msg)
        values[key] = type(default)(value)
    if values.get("review_share", 0) >= 1:
        msg = f"{path}: 'review_share' must be below 1, got {values['review_share']!r}."
        raise ConfigError(msg)
    return Settings(**values)


_MAY_BE_ZERO = ("anchor", "sample", "threshold_shrinkage", "review_share", "random_state")


def _card(model: Model, base: str, material: Material, figures: Mapping[str, Evaluation]) -> str:
    """Model card of a retrained model, in Dutch: its readers are analysts."""
    lines = [
        f"# {model.title}",
        "",
        f"Gemaakt met `druppel train` uit {base} en {len(material.own)} eigen beslissingen; "
        f"{len(material.measurement)} andere zijn alleen gebruikt om te meten.",
        "",
        "| meetset | teksten | irritaties (micro F1) | sentiment juist |",
        "|---|---|---|---|",
    ]
    for name, found in figures.items():
        f1, right = found.figures["irritation.micro"], found.figures["sentiment.accuracy"]
        lines.append(
            f"| {name} | {found.n_texts} | {f1.value:.3f} [{f1.low:.3f}, {f1.high:.3f}] "
            f"| {right.value:.3f} [{right.low:.3f}, {right.high:.3f}] |"
        )
    lines += [
        "",
        "Tussen haken staat het 95%-interval. `druppel compare` zet dit model naast een ander.",
        "",
    ]
    return "\n".join(lines)


# --- making one ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Examples:
    """Labelled examples in a table, to begin a project with a taxonomy of one's own.

    Attributes
    ----------
    rows : sequence of (str, str)
        Text and labels.
    source : str
        Name of the file.
    level_separator : str
        Between category and leaf.
    label_separator : str
        Between the labels of one text.
    measure_share : float
        Share of the texts that is kept apart to measure by.
    """

    rows: Sequence[tuple[str, str]]
    source: str
    level_separator: str = ">"
    label_separator: str = "|"
    measure_share: float = 0.2


@dataclass(frozen=True)
class Begun:
    """What `init` made.

    Attributes
    ----------
    project : Project
    n_examples : int
        Decisions that were taken from labelled examples.
    n_without : int
        Rows without a text or without labels, passed over.
    """

    project: Project
    n_examples: int
    n_without: int


def init(folder: str | Path, *, name: str | None = None, examples: Examples | None = None) -> Begun:
    """Make a project folder.

    Parameters
    ----------
    folder : str or Path
        Must not exist, or be empty.
    name : str, optional
        Of its models; by default that of the folder.
    examples : Examples, optional
        Their labels become the taxonomy, instead of the one that ships.

    Raises
    ------
    ConfigError
        If the folder is in use.
    InputError
        If it cannot be made, or the examples hold no labels.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        msg = f"{folder}: exists already and is not empty. Choose another folder."
        raise ConfigError(msg)
    name = (name or folder.resolve().name).strip()
    if not name or not name.isprintable():
        msg = f"The name of a project must be readable, got {name!r}. Give one with --name."
        raise ConfigError(msg)
    taxonomy_source = (default_model_folder() / "taxonomy.toml").read_text(encoding="utf-8")
    decisions: list[Decision] = []
    n_without = 0
    if examples is not None:
        taxonomy_source, decisions, n_without = _from_examples(examples)
    taxonomy = Taxonomy.parse(taxonomy_source, name=TAXONOMY)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / SHIPPED_SET.parent).mkdir()
        (folder / TAXONOMY).write_text(taxonomy_source, encoding="utf-8")
        (folder / "LEESMIJ.md").write_text(_template("LEESMIJ.md"), encoding="utf-8")
    except OSError as error:
        msg = f"{folder}: cannot write there ({error.strerror})."
        raise InputError(msg) from None
    write_sheet(folder / SHEET, [], taxonomy, blank_rows=BLANK_ROWS)
    registry = Registry(folder / REGISTRY)
    version = registry.admit(default_model_folder(), "meegeleverd", by=user_name())
    registry.promote(version.number, by=user_name(), reason="begin van het project")
    if examples is None:
        _freeze_held_out(folder / SHIPPED_SET)
    if decisions:
        History(folder / HISTORY).add(decisions)
    # Last: with it the folder is a project.
    with atomic(folder / CONFIG) as stream:
        stream.write(_config(name).encode())
    return Begun(Project.load(folder), len(decisions), n_without)


def _template(name: str) -> str:
    return (resources.files("druppel") / "resources" / name).read_text(encoding="utf-8")


def _config(name: str) -> str:
    lines = [
        "# Instellingen van dit project. LEESMIJ.md vertelt hoe alles werkt.",
        "",
        f"format = {FORMAT}",
        f"name = {json.dumps(name, ensure_ascii=False)}",
        "",
        "# Hoe 'druppel train' leert; meestal blijft dit zoals het is.",
    ]
    for field in fields(Settings):
        lines.append(f"{field.name} = {field.default!r}  # {_MEANINGS[field.name]}")
    return "\n".join(lines) + "\n"


_MEANINGS = {
    "weight": "gewicht van een beslissing",
    "own_c": "hoe ver een bestaand label mag veranderen (hoger is verder)",
    "anchor": "hoe vast het model houdt aan wat het al wist (hoger is vaster)",
    "new_c": "hoe precies een nieuw label zijn voorbeelden volgt",
    "sample": "aantal teksten van het basismodel dat meedoet tegen vergeten",
    "folds": "aantal delen waarin de drempels van nieuwe labels worden bepaald",
    "threshold_shrinkage": "bij zoveel voorbeelden telt de eigen drempel voor de helft",
    "review_share": "deel van de teksten dat een mens bekijkt, bij een geheel eigen indeling",
    "random_state": "beginpunt van het toeval; zelfde getal, zelfde model",
}


def _freeze_held_out(path: Path) -> None:
    """Copy the held-out texts of the shipped corpus, as they stand."""
    wanted = {text.id for text in shipped_held_out().texts}
    with atomic(path) as stream:
        for file in sorted(default_corpus_folder().glob("*.jsonl")):
            for line in file.read_text(encoding="utf-8").split("\n"):
                if line and json.loads(line)["id"] in wanted:
                    stream.write(f"{line}\n".encode())


def _from_examples(examples: Examples) -> tuple[str, list[Decision], int]:
    """Make a taxonomy and decisions out of labelled examples."""
    leaves: dict[tuple[str, str], None] = {}
    rows: list[tuple[str, list[tuple[str, str]], int]] = []
    n_without = 0
    for number, (text, said) in enumerate(examples.rows, start=2):
        labels = [
            _levels(part, examples.level_separator)
            for part in said.split(examples.label_separator)
            if part.strip()
        ]
        if not text.strip() or not labels:
            n_without += 1
            continue
        rows.append((text, list(dict.fromkeys(labels)), number))
        leaves.update(dict.fromkeys(labels))
    if not rows:
        msg = f"{examples.source}: no row has both a text and a label. Check the columns."
        raise InputError(msg)
    slugs, source = _own_taxonomy(list(leaves), examples.source)
    date, analyst = now(), user_name()
    chosen = np.random.default_rng(0).permutation(len(rows))
    kept_apart = set(chosen[: round(examples.measure_share * len(rows))].tolist())
    decisions = [
        Decision(
            text=text,
            aspects=tuple(GoldAspect(slugs[label], "neg") for label in labels),
            sentiment=None,
            signals=(),
            analyst=analyst,
            date=date,
            source=examples.source,
            where=f"rij {number}",
            part=MEASUREMENT if i in kept_apart else TRAINING,
        )
        for i, (text, labels, number) in enumerate(rows)
    ]
    return source, decisions, n_without


def _levels(label: str, separator: str) -> tuple[str, str]:
    """Category and leaf of a label; with one level the leaf is ``""``."""
    category, _, leaf = (part.strip() for part in label.partition(separator))
    return category, leaf


def _own_taxonomy(
    leaves: Sequence[tuple[str, str]], name: str
) -> tuple[dict[tuple[str, str], str], str]:
    """Make the text of a taxonomy with these labels; return the slug of each, and the text."""
    taken = set(_RESERVED)

    def slug_of(words: str, fallback: str = "") -> str:
        plain = unicodedata.normalize("NFKD", words).encode("ascii", "ignore").decode().lower()
        slug = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")
        slug = slug if slug[:1].isalpha() else f"label_{slug}".strip("_")
        for candidate in (slug, f"{fallback}_{slug}" if fallback else f"{slug}_2"):
            if candidate not in taken:
                taken.add(candidate)
                return candidate
        number = 2
        while f"{slug}_{number}" in taken:
            number += 1
        taken.add(f"{slug}_{number}")
        return f"{slug}_{number}"

    by_category: dict[str, list[str]] = {}
    for category, leaf in leaves:
        by_category.setdefault(category, []).append(leaf)
    slugs: dict[tuple[str, str], str] = {}
    # A label of one's own is not the shipped one that happens to have its name.
    taken.update(Taxonomy.load().names)
    shipped = Taxonomy.load().signals
    parts = [
        f"# Gemaakt uit {name}. Vul de definities aan: wie labelt, leest ze.",
        "",
        "format = 1",
    ]
    for category in sorted(by_category):
        own = slug_of(category)
        parts.append(_entry(own, None, category))
        for leaf in sorted(by_category[category]):
            slug = slug_of(leaf or f"{category} algemeen", own)
            slugs[category, leaf] = slug
            parts.append(_entry(slug, own, leaf or f"{category} (algemeen)"))
    for signal in shipped:
        parts.append(
            _entry(signal.slug, None, signal.name_nl, kind="signal", definition=signal.definition)
        )
    source = "\n".join(parts) + "\n"
    try:
        Taxonomy.parse(source, name=TAXONOMY)
    except TaxonomyError as error:
        msg = f"{name}: its labels make no taxonomy: {error}"
        raise InputError(msg) from None
    return slugs, source


def _entry(
    slug: str, parent: str | None, name: str, *, kind: str = "label", definition: str = ""
) -> str:
    lines = [f"[[{kind}]]", f'slug = "{slug}"']
    if parent:
        lines.append(f'parent = "{parent}"')
    lines += [
        f"name_nl = {json.dumps(name, ensure_ascii=False)}",
        'name_en = ""',
        f"definition = {json.dumps(definition, ensure_ascii=False)}",
        'counter_definition = ""',
        "examples = []",
        "seeds = []",
    ]
    return "\n" + "\n".join(lines)
