"""Rename, merge, split, move and remove labels: in the taxonomy, and in what bears them.

A plan is a TOML file. Every slug in it is one of the taxonomy as it is, save for those after
``to``, ``into`` and ``to_category``, which may be new::

    [[rename]]
    from = "te_laat"
    to = "levering_te_laat"

    [[merge]]
    from = ["kapot", "beschadigd"]
    into = "beschadigd"

    [[split]]
    from = "bezorging"
    into = ["bezorger", "pakket"]

    [[move]]
    leaf = "kassa"
    to_category = "winkel"

    [[remove]]
    leaf = "overig"
    reason = "Te vaag."

    [[label]]
    slug = "bezorger"
    definition = "Hoe de bezorger zich gedraagt."

``[[label]]`` and ``[[signal]]`` entries, as in a taxonomy, describe what is new; what they leave
out follows from the slug and, for a leaf that is split off, from the old one.

What a plan cannot know is left to a person: a text that bears a label which is split. Until it
is decided anew, it takes no part in training.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

from druppel.corpus import GoldAspect, LabelledText
from druppel.corrections import Decision, counting_decisions, now
from druppel.errors import TaxonomyError, summarise
from druppel.taxonomy import Label, Taxonomy

RENAME, MERGE, SPLIT, MOVE, REMOVE = STEPS = ("rename", "merge", "split", "move", "remove")
LEAF, CATEGORY, SIGNAL = KINDS = ("leaf", "category", "signal")
GONE = ""
"""In place of the new slug of a label that was split or removed."""

_ENTRIES = ("label", "signal")
# Of each step: its keys for what is old and what is new, and whether those are lists.
_KEYS = {
    RENAME: (("from", False), ("to", False)),
    MERGE: (("from", True), ("into", False)),
    SPLIT: (("from", False), ("into", True)),
    MOVE: ((LEAF, False), ("to_category", False)),
}
_TEXT_KEYS = ("name_nl", "name_en", "definition", "counter_definition")
_LIST_KEYS = ("examples", "seeds")
_HEADER = re.compile(r"^[ \t]*\[\[[ \t]*(\w+)[ \t]*\]\]", re.MULTILINE)
_SLUG = re.compile(r"[a-z][a-z0-9_]*")
# Enough of a Dutch word to know its inflections by, and words too short to tell anything.
_STEM = 5
_SHORT = 4

Labelled = TypeVar("Labelled", LabelledText, Decision)


@dataclass(frozen=True, slots=True)
class Step:
    """One change of a plan.

    Attributes
    ----------
    action : {"rename", "merge", "split", "move", "remove"}
    sources : tuple of str
        Slugs as they are.
    targets : tuple of str
        Slugs as they will be; of ``move`` the category, of ``remove`` none.
    kind : str or None
        One of `KINDS` where the plan says it.
    reason : str
        Of ``remove``.
    line : int
        Where it stands in the plan.
    """

    action: str
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    kind: str | None = None
    reason: str = ""
    line: int = 1


@dataclass(frozen=True, slots=True)
class _Entry:
    """A label or signal that the plan describes; `said` may leave out any key but the slug."""

    kind: str
    said: Mapping[str, Any]
    line: int

    @property
    def slug(self) -> str:
        return str(self.said["slug"])


@dataclass(frozen=True)
class Plan:
    r"""What becomes of which labels.

    Attributes
    ----------
    name : str
        Name of its file, for messages and for the source of the decisions it rewrites.
    steps : tuple of Step
    entries : tuple
        What the plan says of new labels and signals.

    Examples
    --------
    >>> plan = Plan.parse('[[rename]]\nfrom = "laat"\nto = "te_laat"')
    >>> plan.rename_map()
    {'laat': 'te_laat'}
    """

    name: str
    steps: tuple[Step, ...]
    entries: tuple[_Entry, ...] = ()

    @classmethod
    def load(cls, path: str | Path) -> Plan:
        """Read a plan.

        Raises
        ------
        TaxonomyError
            If it cannot be read or is no plan; `check` compares it with a taxonomy.
        """
        path = Path(path)
        try:
            source = path.read_bytes().decode("utf-8-sig")
        except OSError as error:
            msg = f"{path}: cannot be read ({error.strerror}). Check the path."
            raise TaxonomyError(msg) from None
        except UnicodeDecodeError as error:
            msg = f"{path}: not UTF-8 at byte {error.start}. Save the file as UTF-8."
            raise TaxonomyError(msg) from None
        return cls.parse(source, name=path.name)

    @classmethod
    def parse(cls, source: str, *, name: str = "plan") -> Plan:
        """Build a plan from TOML text; `name` stands for the file in messages.

        Raises
        ------
        TaxonomyError
            If it is no plan; the message names every line.
        """
        try:
            data = tomllib.loads(source)
        except tomllib.TOMLDecodeError as error:
            msg = f"{name}: not valid TOML: {error}."
            raise TaxonomyError(msg) from None
        except RecursionError:
            msg = f"{name}: nested too deeply to be a plan."
            raise TaxonomyError(msg) from None
        problems: list[str] = []
        steps: list[Step] = []
        entries: list[_Entry] = []
        known = (*STEPS, *_ENTRIES)
        for key, rows in data.items():
            lines = _lines_of(source, key)
            if key not in known:
                problems.append(f"{name}:{lines[0]}: unknown [[{key}]]{_hint(key, known)}.")
                continue
            if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
                problems.append(f"{name}:{lines[0]}: write [[{key}]].")
                continue
            if len(lines) != len(rows):  # an inline list has no lines of its own
                lines = [lines[0]] * len(rows)
            for line, row in zip(lines, rows, strict=True):
                where = f"{name}:{line}"
                if key in _ENTRIES:
                    entries += _read_entry(key, row, line, where, problems)
                elif key == REMOVE:
                    steps += _read_removal(row, line, where, problems)
                else:
                    steps += _read_step(key, row, line, where, problems)
        if not steps and not entries and not problems:
            problems.append(
                f"{name}: changes nothing. Write [[rename]], [[merge]], [[split]], [[move]] or "
                "[[remove]]."
            )
        if problems:
            raise TaxonomyError(summarise(problems))
        steps.sort(key=lambda step: step.line)
        return cls(name, tuple(steps), tuple(entries))

    # --- what becomes of a slug ----------------------------------------------------------

    def rename_map(self) -> dict[str, str]:
        """Return the new slug of each leaf, category and signal that is renamed or merged.

        What a model learnt of the old one holds for the new one.
        """
        return {
            old: step.targets[0]
            for step in self.steps
            if step.action in (RENAME, MERGE)
            for old in step.sources
            if old != step.targets[0]
        }

    @cached_property
    def split_map(self) -> dict[str, tuple[str, ...]]:
        """Slugs among which a person chooses, by the slug that is split."""
        return {s.sources[0]: s.targets for s in self.steps if s.action == SPLIT}

    @cached_property
    def removed(self) -> dict[str, str]:
        """Why a slug is removed, by slug."""
        return {s.sources[0]: s.reason for s in self.steps if s.action == REMOVE}

    def apply_to_slug(self, slug: str) -> str | None:
        r"""Return what a slug is called from now on; None where it is split or removed.

        Examples
        --------
        >>> plan = Plan.parse('[[remove]]\nleaf = "overig"')
        >>> plan.apply_to_slug("overig"), plan.apply_to_slug("te_laat")
        (None, 'te_laat')
        """
        if slug in self.split_map or slug in self.removed:
            return None
        return self._renamed.get(slug, slug)

    @cached_property
    def _renamed(self) -> dict[str, str]:
        return self.rename_map()

    @cached_property
    def _moved(self) -> dict[str, str]:
        """New category of each leaf that is moved, by the leaf's old slug."""
        return {
            s.sources[0]: self._renamed.get(s.targets[0], s.targets[0])
            for s in self.steps
            if s.action == MOVE
        }

    @property
    def source(self) -> str:
        """What decisions that this plan rewrote bear as their source."""
        return f"migratie: {self.name}"

    # --- against a taxonomy --------------------------------------------------------------

    def check(self, taxonomy: Taxonomy) -> None:
        """Compare the plan with the taxonomy that it is to change.

        Raises
        ------
        TaxonomyError
            If it names labels that are not there, uses one twice, or would leave a category
            without leaves; the message names every line.
        """
        kinds = {
            **{label.slug: CATEGORY for label in taxonomy.categories},
            **{label.slug: LEAF for label in taxonomy.leaves},
            **{label.slug: SIGNAL for label in taxonomy.signals},
        }
        problems: list[str] = []
        self._check_slugs(kinds, problems)
        if not problems:
            self._check_targets(kinds, problems)
        if not problems:
            self._check_categories(taxonomy, problems)
        if problems:
            raise TaxonomyError(summarise(problems))

    def _check_slugs(self, kinds: Mapping[str, str], problems: list[str]) -> None:
        """Check that what is old exists, once, and is of the right kind."""
        used: dict[str, Step] = {}
        moved: dict[str, Step] = {}
        for step in self.steps:
            where = f"{self.name}:{step.line}"
            for slug in step.sources:
                if slug not in kinds:
                    problems.append(f"{where}: no label {slug!r}{_hint(slug, kinds)}.")
                elif step.kind not in (None, kinds[slug]):
                    problems.append(f"{where}: {slug!r} is a {kinds[slug]}, not a {step.kind}.")
                elif step.action == SPLIT and kinds[slug] == CATEGORY:
                    problems.append(
                        f"{where}: {slug!r} is a category, and texts bear its leaves. Describe the "
                        "new category under [[label]], and [[move]] leaves to it."
                    )
                elif kinds[slug] != kinds.get(step.sources[0], kinds[slug]):
                    problems.append(
                        f"{where}: {step.sources[0]!r} is a {kinds[step.sources[0]]}, {slug!r} a "
                        f"{kinds[slug]}. Merge labels of one kind."
                    )
                seen = moved if step.action == MOVE else used
                if slug in seen:
                    problems.append(
                        f"{where}: line {seen[slug].line} says already what becomes of {slug!r}."
                    )
                seen.setdefault(slug, step)
        for slug, step in moved.items():
            if slug in used and used[slug].action != RENAME and slug not in used[slug].targets:
                problems.append(
                    f"{self.name}:{step.line}: {slug!r} is moved, and at line {used[slug].line} "
                    f"there is a {used[slug].action} of it. Do one of the two."
                )
        described = set()
        for entry in self.entries:
            where = f"{self.name}:{entry.line}"
            if entry.slug in kinds:
                problems.append(
                    f"{where}: {entry.slug!r} is in the taxonomy already. Change it there."
                )
            if entry.slug in described:
                problems.append(f"{where}: {entry.slug!r} is described twice.")
            described.add(entry.slug)

    def _check_targets(self, kinds: Mapping[str, str], problems: list[str]) -> None:
        """Check that what is new is new, or one that stays."""
        gone = {
            slug: step
            for step in self.steps
            if step.action != MOVE
            for slug in step.sources
            if slug not in step.targets
        }
        entries = {entry.slug: entry for entry in self.entries}
        made: dict[str, Step] = {}
        for step in self.steps:
            where = f"{self.name}:{step.line}"
            kind = kinds[step.sources[0]]
            for slug in step.targets:
                if step.action == MOVE:
                    self._check_move(step, slug, kinds, gone, problems)
                    continue
                entry = entries.get(slug)
                if slug in gone:
                    problems.append(
                        f"{where}: line {gone[slug].line} does away with {slug!r}. A slug that "
                        "goes cannot come back in the same plan: choose another."
                    )
                elif step.action == RENAME and slug in kinds:
                    problems.append(f"{where}: {slug!r} is there already. Use [[merge]].")
                elif step.action == RENAME and entry is not None:
                    problems.append(
                        f"{where}: {slug!r} keeps the description it has. Leave out the entry at "
                        f"line {entry.line}."
                    )
                elif kinds.get(slug, kind) != kind:
                    problems.append(
                        f"{where}: {slug!r} is a {kinds[slug]}, {step.sources[0]!r} a {kind}."
                    )
                elif entry is not None and (entry.kind == SIGNAL) != (kind == SIGNAL):
                    problems.append(
                        f"{where}: {step.sources[0]!r} is a {kind}, and line {entry.line} "
                        f"describes {slug!r} under [[{entry.kind}]]."
                    )
                elif step.action == MERGE and len({*step.sources, slug}) < 2:
                    problems.append(f"{where}: {slug!r} is merged with nothing but itself.")
                elif step.action == MERGE and len(step.sources) < 2 and slug not in kinds:
                    problems.append(
                        f"{where}: no label {slug!r}{_hint(slug, kinds)}. For a new slug use "
                        "[[rename]]."
                    )
                elif (
                    slug in made
                    and slug not in kinds
                    and {step.action, made[slug].action} != {SPLIT}
                ):
                    problems.append(
                        f"{where}: line {made[slug].line} makes {slug!r} already. Use one "
                        "[[merge]]."
                    )
                made.setdefault(slug, step)

    def _check_move(
        self,
        step: Step,
        category: str,
        kinds: Mapping[str, str],
        gone: Mapping[str, Step],
        problems: list[str],
    ) -> None:
        where = f"{self.name}:{step.line}"
        new = {e.slug for e in self.entries if e.kind == "label" and "parent" not in e.said}
        for other in self.steps:
            if other.action in (RENAME, MERGE) and kinds[other.sources[0]] == CATEGORY:
                new.update(other.targets)
        if category in gone and gone[category].action == REMOVE:
            problems.append(
                f"{where}: category {category!r} is removed at line {gone[category].line}."
            )
        elif kinds.get(category) != CATEGORY and category not in new:
            categories = [slug for slug, kind in kinds.items() if kind == CATEGORY]
            problems.append(
                f"{where}: no category {category!r}{_hint(category, [*categories, *new])}. "
                "Describe a new one under [[label]]."
            )

    def _check_categories(self, taxonomy: Taxonomy, problems: list[str]) -> None:
        """Check that every category has a leaf, and every leaf a category."""
        changed = _changed_blocks(_cut(taxonomy.source)[1], self)
        labels = [block.entry for block in changed if block.kind == "label"]
        parents = {label["parent"] for label in labels if "parent" in label}
        categories = {label["slug"] for label in labels if "parent" not in label}
        for slug in sorted(categories - parents):
            problems.append(
                f"{self.name}: category {slug!r} has no leaf any more. Remove it too, by "
                f'[[remove]] with category = "{slug}".'
                if slug in taxonomy.names
                else f"{self.name}: the new category {slug!r} has no leaf. [[move]] one to it, or "
                "give it a 'parent' if it is a leaf itself."
            )
        for label in labels:
            parent = label.get("parent")
            if parent in self.removed:
                problems.append(
                    f"{self.name}: leaf {label['slug']!r} is in {parent!r}, which is removed. Move "
                    "or remove it too."
                )
            elif parent is not None and parent not in categories:
                problems.append(
                    f"{self.name}: no category {parent!r} for {label['slug']!r}"
                    f"{_hint(parent, categories)}."
                )


def follow(plans: Sequence[Plan], slugs: Iterable[str]) -> dict[str, str]:
    r"""Tell what slugs are called after several plans, one upon the other.

    Parameters
    ----------
    plans : sequence of Plan
        In the order in which they were carried out.
    slugs : iterable of str
        Such as the names of a model that was trained before.

    Returns
    -------
    dict of str to str
        New slug of each that changed; `GONE`, which no label is called, where it was split or
        removed, also if a label of that slug was made anew since.

    Examples
    --------
    >>> first = Plan.parse('[[rename]]\nfrom = "laat"\nto = "te_laat"')
    >>> second = Plan.parse('[[merge]]\nfrom = ["te_laat", "traag"]\ninto = "traag"')
    >>> follow([first, second], ["laat", "traag", "duur"])
    {'laat': 'traag'}
    """
    followed = {}
    for slug in slugs:
        new: str | None = slug
        for plan in plans:
            new = None if new is None else plan.apply_to_slug(new)
        if new != slug:
            followed[slug] = GONE if new is None else new
    return followed


# --- reading a plan -----------------------------------------------------------------------


def _lines_of(source: str, kind: str) -> list[int]:
    lines = [source.count("\n", 0, m.start()) + 1 for m in _HEADER.finditer(source) if m[1] == kind]
    if not lines:
        match = re.search(rf"^[ \t]*\[*[ \t]*{re.escape(kind)}\b", source, re.MULTILINE)
        lines = [source.count("\n", 0, match.start()) + 1 if match else 1]
    return lines


def _hint(word: str, known: Iterable[str]) -> str:
    close = get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _unknown_keys(
    row: Mapping[str, Any], allowed: Collection[str], where: str, problems: list[str]
) -> None:
    for key in sorted(set(row) - set(allowed)):
        problems.append(f"{where}: unknown key {key!r}{_hint(key, allowed)}.")


def _read_step(
    action: str, row: Mapping[str, Any], line: int, where: str, problems: list[str]
) -> list[Step]:
    before = len(problems)
    _unknown_keys(row, [key for key, _ in _KEYS[action]], where, problems)
    read: list[tuple[str, ...]] = []
    for key, several in _KEYS[action]:
        value = row.get(key)
        if isinstance(value, str) and (not several or action == MERGE):
            read.append((value,))
        elif several and _is_list_of_slugs(value, least=2 if action == SPLIT else 1):
            read.append(tuple(row[key]))
        elif key not in row:
            problems.append(f"{where}: [[{action}]] lacks {key!r}.")
        else:
            wanted = "a list of different slugs" if several else "one slug"
            wanted += ", two or more" if action == SPLIT and several else ""
            problems.append(f"{where}: {key!r} must be {wanted}.")
    if len(problems) > before:
        return []
    sources, targets = read
    for slug in targets:
        if not _SLUG.fullmatch(slug):
            problems.append(
                f"{where}: slug {slug!r} must be lower-case ASCII letters, digits and underscores, "
                "beginning with a letter."
            )
    if action == RENAME and sources == targets:
        problems.append(f"{where}: {sources[0]!r} is called that already.")
    if action == SPLIT and sources[0] in targets:
        problems.append(
            f"{where}: {sources[0]!r} cannot go on under its own name: nobody could tell texts "
            "that are decided anew from those that are not. Give every part a new slug."
        )
    kind = LEAF if action == MOVE else None
    return [Step(action, sources, targets, kind, line=line)]


def _read_removal(row: Mapping[str, Any], line: int, where: str, problems: list[str]) -> list[Step]:
    before = len(problems)
    _unknown_keys(row, (*KINDS, "reason"), where, problems)
    named = [kind for kind in KINDS if kind in row]
    if len(named) != 1 or not isinstance(row[named[0]], str):
        problems.append(f'{where}: name one leaf, category or signal, such as leaf = "overig".')
    if not isinstance(row.get("reason", ""), str):
        problems.append(f"{where}: 'reason' must be text.")
    if len(problems) > before:
        return []
    return [Step(REMOVE, (row[named[0]],), (), named[0], row.get("reason", ""), line)]


def _read_entry(
    kind: str, row: Mapping[str, Any], line: int, where: str, problems: list[str]
) -> list[_Entry]:
    before = len(problems)
    texts = ("slug", *_TEXT_KEYS, *(("parent",) if kind == "label" else ()))
    _unknown_keys(row, (*texts, *_LIST_KEYS), where, problems)
    if "slug" not in row:
        problems.append(f"{where}: [[{kind}]] lacks 'slug'.")
    for key in texts:
        if not isinstance(row.get(key, ""), str):
            problems.append(f"{where}: {key!r} must be text.")
    for key in _LIST_KEYS:
        if not _are_texts(row.get(key, [])):
            problems.append(f"{where}: {key!r} must be a list of texts.")
    return [_Entry(kind, row, line)] if len(problems) == before else []


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _is_list_of_slugs(value: Any, *, least: int) -> bool:
    return _are_texts(value) and len(set(value)) == len(value) >= least


# --- the taxonomy -------------------------------------------------------------------------


@dataclass
class _Block:
    """An entry of a taxonomy file as text, and what it says.

    Attributes
    ----------
    lead : str
        The comment that stands right above it, and goes with it.
    body : str
    gap : str
        Empty lines and comments that stand loose behind it.
    kind : {"label", "signal"}
    entry : dict
    """

    lead: str
    body: str
    gap: str
    kind: str
    entry: dict[str, Any] = field(default_factory=dict)


def migrate_taxonomy(source: str, plan: Plan) -> str:
    """Change a taxonomy by a plan.

    Only the slugs and parents that change are written anew; all else, with its comments and its
    order, stays as it is. What is split off takes the place of what is split; a label that is
    merged into another goes, and so does the comment right above it.

    Parameters
    ----------
    source : str
        TOML text of the taxonomy.
    plan : Plan

    Returns
    -------
    str

    Raises
    ------
    TaxonomyError
        If the taxonomy is broken, the plan does not fit it, or the outcome is no taxonomy.
    """
    plan.check(Taxonomy.parse(source))
    preamble, blocks = _cut(source)
    newline = "\r\n" if "\r\n" in source else "\n"
    changed = _changed_blocks(blocks, plan, newline)
    text = preamble + "".join(b.lead + b.body + b.gap for b in changed)
    wanted = {key: value for key, value in tomllib.loads(source).items() if key not in _ENTRIES}
    for kind in _ENTRIES:
        entries = [block.entry for block in changed if block.kind == kind]
        if entries:
            wanted[kind] = entries
    try:
        got = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        got = {}
    if got != wanted:
        msg = (
            "The taxonomy is laid out in a way that cannot be changed without risk. Write every "
            'entry under its own [[label]] or [[signal]], one key a line, such as slug = "te_laat".'
        )
        raise TaxonomyError(msg)
    return Taxonomy.parse(text, name=f"the taxonomy after {plan.name}").source


def _cut(source: str) -> tuple[str, list[_Block]]:
    """Cut a taxonomy file into what precedes its entries and the entries."""
    data = tomllib.loads(source)
    headers = [m for m in _HEADER.finditer(source) if m[1] in _ENTRIES]
    entries = {kind: list(data.get(kind, [])) for kind in _ENTRIES}
    n_headers = {kind: sum(m[1] == kind for m in headers) for kind in _ENTRIES}
    if any(len(entries[kind]) != n_headers[kind] for kind in _ENTRIES):
        msg = "The taxonomy has entries in a list. Write every one under its own [[label]]."
        raise TaxonomyError(msg)
    ends = [*(m.start() for m in headers[1:]), len(source)]
    preamble, lead = _split_lead(source[: headers[0].start()])
    blocks = []
    for match, end in zip(headers, ends, strict=True):
        lines = _lines(source[match.start() : end])
        last = max(i for i, line in enumerate(lines) if _says_something(line))
        gap, next_lead = "".join(lines[last + 1 :]), ""
        if end != len(source):
            gap, next_lead = _split_lead(gap)
        body = "".join(lines[: last + 1])
        blocks.append(_Block(lead, body, gap, match[1], entries[match[1]].pop(0)))
        lead = next_lead
    return preamble, blocks


def _says_something(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _split_lead(text: str) -> tuple[str, str]:
    """Split off the comment that stands right above the next entry."""
    lines = _lines(text)
    at = len(lines)
    while at and lines[at - 1].lstrip().startswith("#"):
        at -= 1
    return "".join(lines[:at]), "".join(lines[at:])


def _lines(text: str) -> list[str]:
    """Cut into lines with their ends, where TOML does: a text may hold other separators."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def _changed_blocks(blocks: Sequence[_Block], plan: Plan, newline: str = "\n") -> list[_Block]:
    """Carry out a plan that fits."""
    there = {block.entry["slug"] for block in blocks}
    entries = {entry.slug: entry for entry in plan.entries}
    # What is merged into a new slug stands where the first of it stood.
    merged = {
        step.sources[0]: step.targets[0]
        for step in plan.steps
        if step.action == MERGE and step.targets[0] not in there
    }
    placed: set[str] = set()
    changed: list[_Block] = []
    for block in blocks:
        slug = block.entry["slug"]
        parent = plan._moved.get(slug)
        if parent is None and "parent" in block.entry:
            parent = plan.apply_to_slug(block.entry["parent"]) or block.entry["parent"]
        made = list(plan.split_map.get(slug, ()))
        if merged.get(slug) in entries:
            made = [merged[slug]]
        made = [one for one in made if one not in there and one not in placed]
        placed.update(made)
        if made:
            new = [_new_block(one, block.kind, entries.get(one), parent, newline) for one in made]
            new[0].lead, new[-1].gap = block.lead, block.gap
            changed += new
        elif _stays(slug, plan, there, merged):
            changed.append(_edited(block, plan.apply_to_slug(slug) or slug, parent))
        elif block.gap.strip() and changed:
            changed[-1].gap += block.gap.lstrip("\r\n")  # a comment about what follows
    for kind in _ENTRIES:
        new = [
            _new_block(e.slug, kind, e, plan._renamed.get(str(e.said.get("parent"))), newline)
            for e in plan.entries
            if e.kind == kind and e.slug not in placed
        ]
        at = max((i for i, b in enumerate(changed) if b.kind == kind), default=len(changed) - 1)
        if new and at >= 0:
            new[-1].gap, changed[at].gap = changed[at].gap, newline
        changed[at + 1 : at + 1] = new
    for block in changed[:-1]:
        if not block.body.endswith("\n"):
            block.body += newline
    if changed and not changed[-1].gap.strip():
        changed[-1].gap = ""
    return changed


def _stays(slug: str, plan: Plan, there: Collection[str], merged: Mapping[str, str]) -> bool:
    """Whether an entry stays, perhaps under a new slug."""
    new = plan.apply_to_slug(slug)
    if new is None or new == slug:
        return new is not None
    if new in there:
        return False  # merged into one that has its own entry
    is_merge = any(s.action == MERGE and slug in s.sources for s in plan.steps)
    return not is_merge or merged.get(slug) == new


def _edited(block: _Block, slug: str, parent: str | None) -> _Block:
    body, entry = block.body, dict(block.entry)
    for key, new in (("slug", slug), ("parent", parent)):
        old = entry.get(key)
        if new is None or new == old:
            continue
        line = re.compile(
            rf"""^([ \t]*{key}[ \t]*=[ \t]*)(["']){re.escape(str(old))}\2""", re.MULTILINE
        )
        body = line.sub(rf'\g<1>"{new}"', body, count=1)
        entry[key] = new
    return _Block(block.lead, body, block.gap, block.kind, entry)


def _new_block(
    slug: str, kind: str, entry: _Entry | None, parent: str | None, newline: str
) -> _Block:
    """Write an entry; what the plan does not say of it follows from its slug."""
    said: dict[str, Any] = dict(entry.said) if entry is not None else {}
    name = said.get("name_nl") or slug.replace("_", " ").capitalize()
    said = {
        "slug": slug,
        **({"parent": parent} if parent is not None and kind == "label" else {}),
        "name_nl": name,
        "name_en": name,
        **dict.fromkeys(("definition", "counter_definition"), ""),
        **{key: [] for key in _LIST_KEYS},
        **said,
    }
    order = ("slug", "parent", *_TEXT_KEYS, *_LIST_KEYS)
    written = {key: said[key] for key in order if key in said}
    # What JSON writes of a text or a list of texts is TOML as well, but for one character.
    lines = [
        f"{key} = {json.dumps(value, ensure_ascii=False)}".replace("\x7f", "\\u007f")
        for key, value in written.items()
    ]
    body = newline.join([f"[[{kind}]]", *lines, ""])
    return _Block("", body, newline, kind, written)


# --- what bears the labels ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Choice:
    """A label of a text that a person must choose anew.

    Attributes
    ----------
    old : str
        The leaf or signal that is split.
    polarity : str or None
        Of a leaf; None for a signal.
    evidence : str or None
    options : tuple of str
        The leaves or signals that it is split into.
    proposal : str or None
        The option whose description and examples have most words in common with the evidence;
        a guess, for a person to judge. None where there is no telling.
    """

    old: str
    polarity: str | None
    evidence: str | None
    options: tuple[str, ...]
    proposal: str | None


@dataclass(frozen=True, slots=True)
class Undecided(Generic[Labelled]):
    """A text that bears a label which is split.

    Attributes
    ----------
    text : LabelledText or Decision
        As it was.
    choices : tuple of Choice
    proposed : LabelledText or Decision
        With the other labels migrated, and the proposals in place of what is split: what a
        review sheet may be filled in with, marked as proposed.
    """

    text: Labelled
    choices: tuple[Choice, ...]
    proposed: Labelled


@dataclass(frozen=True, slots=True)
class Migrated(Generic[Labelled]):
    """What a plan makes of labelled texts.

    Attributes
    ----------
    texts : tuple of LabelledText or Decision
        All that can be used from now on, in order, whether changed or not.
    changed : tuple of LabelledText or Decision
        Those of them that are rewritten.
    needs_human : tuple of Undecided
        Texts that are not among `texts`, for a label of theirs is split.
    joined : tuple of LabelledText or Decision
        Those of `changed` in which labels became one: the same leaf with the same polarity.
    mixed : tuple of LabelledText or Decision
        Those of `changed` in which a merge made a leaf both blamed and praised. Both stay; a
        person may want to look.
    """

    texts: tuple[Labelled, ...]
    changed: tuple[Labelled, ...]
    needs_human: tuple[Undecided[Labelled], ...]
    joined: tuple[Labelled, ...]
    mixed: tuple[Labelled, ...]


def migrate_labels(
    texts: Sequence[Labelled],
    plan: Plan,
    taxonomy: Taxonomy | None = None,
    *,
    date: str | None = None,
) -> Migrated[Labelled]:
    """Rewrite the labels of texts by a plan.

    Labels that the plan does not name stay, whether a taxonomy knows them or not.

    Parameters
    ----------
    texts : sequence of LabelledText or of Decision
    plan : Plan
    taxonomy : Taxonomy, optional
        The one after the migration, for proposals where a label is split.
    date : str, optional
        Of rewritten decisions; by default now. Their source is the plan, their place the number
        of the decision they come from, and their analyst the one who made that.

    Returns
    -------
    Migrated
    """
    date = date or now()
    kept: list[Labelled] = []
    changed: list[Labelled] = []
    needs_human: list[Undecided[Labelled]] = []
    joined: list[Labelled] = []
    mixed: list[Labelled] = []
    guesser = _Guesser(plan, taxonomy)
    for text in texts:
        choices = guesser.choices(text)
        if choices:
            proposed = _rewritten(text, plan, date, choices)
            needs_human.append(Undecided(text, choices, proposed))
            continue
        new = _rewritten(text, plan, date)
        kept.append(new)
        if new is text:
            continue
        changed.append(new)
        lost = sum(plan.apply_to_slug(a.leaf) is None for a in text.aspects)
        if len(new.aspects) < len(text.aspects) - lost:
            joined.append(new)
        if _blamed_and_praised(new) - {
            plan.apply_to_slug(leaf) for leaf in _blamed_and_praised(text)
        }:
            mixed.append(new)
    return Migrated(
        texts=tuple(kept),
        changed=tuple(changed),
        needs_human=tuple(needs_human),
        joined=tuple(joined),
        mixed=tuple(mixed),
    )


def migrate_history(
    decisions: Sequence[Decision],
    withdrawn: Collection[str],
    plan: Plan,
    taxonomy: Taxonomy | None = None,
    *,
    date: str | None = None,
) -> tuple[Migrated[Decision], tuple[str, ...]]:
    """Rewrite the decisions that count, for a history that only grows.

    Of every text the latest decision of each analyst is rewritten, so that who agreed agrees and
    who differed differs; a merge may end a conflict.

    Parameters
    ----------
    decisions, withdrawn
        As `druppel.corrections.History.decisions` gives them.
    plan : Plan
    taxonomy : Taxonomy, optional
    date : str, optional
        As for `migrate_labels`.

    Returns
    -------
    migrated : Migrated of Decision
        Append its `changed` to the history. In `needs_human` a text stands once.
    withdraw : tuple of str
        Numbers of the decisions to withdraw: all about a text that needs a human. Without them
        an earlier decision would count again.
    """
    by_key: dict[str, list[Decision]] = {}
    for decision in decisions:
        if decision.number not in withdrawn:
            by_key.setdefault(decision.key, []).append(decision)
    sure: list[Decision] = []
    unsure: list[Decision] = []
    withdraw: list[str] = []
    for made in by_key.values():
        counting = counting_decisions(made)
        split = [d for d in counting if any(s in plan.split_map for s in _slugs(d))]
        if split:
            # Whether a text is trained on or measured by was settled by its first decision.
            unsure.append(replace(split[-1], part=made[0].part))
            withdraw += [decision.number for decision in made]
        else:
            sure += counting
    migrated = migrate_labels(sure, plan, taxonomy, date=date)
    undecided = migrate_labels(unsure, plan, taxonomy, date=date).needs_human
    return replace(migrated, needs_human=undecided), tuple(withdraw)


def _slugs(text: LabelledText | Decision) -> list[str]:
    return [*(aspect.leaf for aspect in text.aspects), *text.signals]


def _rewritten(text: Labelled, plan: Plan, date: str, choices: Sequence[Choice] = ()) -> Labelled:
    """Return the text with its labels migrated; the very same where none changes."""
    chosen = {(c.old, c.polarity): c.proposal for c in choices}
    aspects: dict[tuple[str, str], GoldAspect] = {}
    for a in text.aspects:
        leaf = plan.apply_to_slug(a.leaf) or chosen.get((a.leaf, a.polarity))
        if leaf is None:
            continue
        before = aspects.get((leaf, a.polarity))
        evidence = before.evidence if before is not None and before.evidence else a.evidence
        aspects[leaf, a.polarity] = GoldAspect(leaf, a.polarity, evidence)
    named = (plan.apply_to_slug(s) or chosen.get((s, None)) for s in text.signals)
    signals = tuple(dict.fromkeys(signal for signal in named if signal is not None))
    if tuple(aspects.values()) == text.aspects and signals == text.signals:
        return text
    new = replace(text, aspects=tuple(aspects.values()), signals=signals)
    if isinstance(new, Decision):
        # It says anew what an analyst said. What others said since, and need not say anew, would
        # be dropped if it settled something.
        return replace(
            new, date=date, source=plan.source, where=new.number, settles=False, number=""
        )
    return new


def _blamed_and_praised(text: LabelledText | Decision) -> set[str]:
    said = {(a.leaf, a.polarity) for a in text.aspects}
    return {leaf for leaf, polarity in said if polarity == "neg" and (leaf, "pos") in said}


class _Guesser:
    """Proposes which part of a split label a text bears, by the words they have in common."""

    def __init__(self, plan: Plan, taxonomy: Taxonomy | None) -> None:
        self._split = plan.split_map
        self._words: dict[str, dict[str, set[str]]] = {}
        if taxonomy is None:
            return
        labels = {x.slug: x for x in (*taxonomy.leaves, *taxonomy.signals)}
        for old, options in self._split.items():
            self._words[old] = {slug: _description(labels.get(slug)) for slug in options}

    def choices(self, text: LabelledText | Decision) -> tuple[Choice, ...]:
        """Return what a person must choose of a text; nothing where no label of it is split."""
        found = []
        for a in text.aspects:
            if a.leaf in self._split:
                guess = self._guess(a.leaf, [a.evidence or "", text.text])
                found.append(Choice(a.leaf, a.polarity, a.evidence, self._split[a.leaf], guess))
        for signal in text.signals:
            if signal in self._split:
                guess = self._guess(signal, [text.text])
                found.append(Choice(signal, None, None, self._split[signal], guess))
        return tuple(found)

    def _guess(self, old: str, texts: Sequence[str]) -> str | None:
        """Return the option with most words in the first of the texts that sets one apart."""
        known = self._words.get(old, {})
        for text in texts:
            words = _stems(text)
            counts = sorted(((len(words & mine), slug) for slug, mine in known.items()))
            if len(counts) > 1 and counts[-1][0] > counts[-2][0]:
                return counts[-1][1]
        return None


def _description(label: Label | None) -> set[str]:
    if label is None:
        return set()
    return _stems(" ".join((label.name_nl, label.definition, *label.examples)))


def _stems(text: str) -> set[str]:
    return {word[:_STEM] for word in re.findall(r"\w+", text.lower()) if len(word) >= _SHORT}


# --- what to tell -------------------------------------------------------------------------


def advise(plan: Plan, old: Taxonomy, new: Taxonomy) -> list[str]:
    """Say, in Dutch, what of the taxonomy a person should look at after a migration.

    Parameters
    ----------
    plan : Plan
    old, new : Taxonomy
        Before and after.

    Returns
    -------
    list of str
        Labels without a definition, definitions that must cover more than they did, and
        descriptions that mention a slug which is no more.
    """
    told = []
    before = {x.slug: x for x in (*old.categories, *old.leaves, *old.signals)}
    after = {x.slug: x for x in (*new.categories, *new.leaves, *new.signals)}
    for slug, label in after.items():
        if slug not in before and slug not in plan.rename_map().values() and not label.definition:
            told.append(f"{slug}: heeft nog geen omschrijving (definition).")
    described = {entry.slug for entry in plan.entries}
    for step in plan.steps:
        if step.action == MERGE and step.targets[0] not in described:
            others = ", ".join(s for s in step.sources if s != step.targets[0])
            told.append(
                f"{step.targets[0]}: ga na of de omschrijving ook dekt wat onder {others} viel."
            )
    for slug, label in after.items():
        words = set(re.findall(r"\w+", f"{label.definition} {label.counter_definition}"))
        for gone in (s for s in before if s not in after and s in words):
            new_slug = plan.apply_to_slug(gone)
            if new_slug == slug:
                continue  # of itself a label speaks in words
            hint = f" (nu {new_slug})" if new_slug is not None else ""
            told.append(f"{slug}: de omschrijving noemt {gone}, dat niet meer bestaat{hint}.")
    return told


def summary(plan: Plan, migrated: Migrated[Any]) -> list[str]:
    """Say, in Dutch, what a migration did to the texts and what is left to a person.

    Holds nothing of any text.
    """
    told = [f"{_texts(len(migrated.changed))} herschreven."]
    if migrated.joined:
        told.append(f"Bij {_texts(len(migrated.joined))} vielen dubbele labels samen.")
    if migrated.mixed:
        told.append(
            f"Bij {_texts(len(migrated.mixed))} staat een label nu zowel negatief als positief. "
            "Beide zijn gebleven; kijk of dat klopt."
        )
    for old, options in plan.split_map.items():
        count = sum(any(c.old == old for c in one.choices) for one in migrated.needs_human)
        guessed = sum(
            any(c.old == old and c.proposal is not None for c in one.choices)
            for one in migrated.needs_human
        )
        told.append(
            f"{old} is gesplitst in {', '.join(options)}: bij {_texts(count)} moet een mens "
            f"kiezen (bij {guessed} staat een voorstel). Tot die tijd leert het model er niet van."
        )
    return told


def _texts(count: int) -> str:
    return "1 tekst" if count == 1 else f"{count} teksten"
