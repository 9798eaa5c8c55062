"""The categories, leaves and signals, loaded from one TOML file and validated.

The file is a list of ``[[label]]`` entries, each with a `slug`; a label without `parent` is a
category, one with `parent` a leaf of it. A label needs `slug`, `name_nl` and `definition`.
``[[signal]]`` entries have the same fields without `parent`. Nothing else in Druppel knows a
category by name.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

from druppel.errors import TaxonomyError, summarise
from druppel.result import TABLE_COLUMNS_AFTER, TABLE_COLUMNS_BEFORE

FORMAT = 1
_SLUG = re.compile(r"[a-z][a-z0-9_]*")
_TEXT_FIELDS = ("name_nl", "name_en", "definition", "counter_definition")
_LIST_FIELDS = ("examples", "seeds")
_REQUIRED_FIELDS = ("name_nl", "definition")
_RESERVED = frozenset((*TABLE_COLUMNS_BEFORE, *TABLE_COLUMNS_AFTER))
_HEADER = re.compile(r"^[ \t]*\[\[[ \t]*(label|signal)[ \t]*\]\]", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Label:
    """A category (`parent` is None), a leaf or a signal.

    Attributes
    ----------
    slug : str
        Stable identifier: lower case, ASCII; only a migration of a project renames it.
    parent : str or None
        Slug of the category of a leaf.
    name_nl, name_en : str
        Names for people.
    definition, counter_definition : str
        What belongs to it, and what seems to but does not.
    examples : tuple of str
        Sentences of our own that carry it.
    seeds : tuple of str
        Numbers of the seed articles it comes from; empty for a user's own label.
    """

    slug: str
    parent: str | None
    name_nl: str
    name_en: str
    definition: str
    counter_definition: str
    examples: tuple[str, ...]
    seeds: tuple[str, ...]


@dataclass(frozen=True)
class Taxonomy:
    """An immutable, validated set of categories, leaves and signals.

    Attributes
    ----------
    categories, leaves, signals : tuple of Label
        In the order of the file; leaves are grouped by category.
    source : str
        The TOML text it was read from, kept so that a model can carry it unchanged.

    Examples
    --------
    >>> taxonomy = Taxonomy.load()
    >>> len(taxonomy.categories), len(taxonomy.leaves), len(taxonomy.signals)
    (14, 39, 5)
    >>> taxonomy.parent["keuzemenu"]
    'telefonie'
    """

    categories: tuple[Label, ...]
    leaves: tuple[Label, ...]
    signals: tuple[Label, ...]
    source: str

    @classmethod
    def load(cls, path: str | Path | None = None) -> Taxonomy:
        """Read a taxonomy file; without `path`, the one that ships with Druppel.

        Raises
        ------
        TaxonomyError
            If the file is missing, is not TOML, or contradicts itself; the message names
            the file and the line.
        """
        if path is None:
            shipped = resources.files("druppel") / "resources" / "taxonomy.toml"
            return cls.parse(shipped.read_text(encoding="utf-8"), name="taxonomy.toml")
        path = Path(path)
        try:
            source = path.read_text(encoding="utf-8-sig")
        except OSError as error:
            msg = f"{path}: cannot read the taxonomy ({error.strerror}). Check the path."
            raise TaxonomyError(msg) from None
        except UnicodeDecodeError as error:
            msg = f"{path}: not UTF-8 at byte {error.start}. Save the file as UTF-8."
            raise TaxonomyError(msg) from None
        return cls.parse(source, name=str(path))

    @classmethod
    def parse(cls, source: str, *, name: str = "taxonomy") -> Taxonomy:
        """Build a taxonomy from TOML text; `name` stands for the file in messages."""
        try:
            data = tomllib.loads(source)
        except tomllib.TOMLDecodeError as error:
            msg = f"{name}: not valid TOML: {error}."
            raise TaxonomyError(msg) from None
        except RecursionError:
            msg = f"{name}: nested too deeply to be a taxonomy."
            raise TaxonomyError(msg) from None
        problems: list[str] = []
        if data.get("format") != FORMAT:
            problems.append(
                f"{name}:1: 'format' must be {FORMAT}, got {data.get('format')!r}. "
                f"Begin the file with: format = {FORMAT}"
            )
        for key in sorted(set(data) - {"format", "label", "signal"}):
            problems.append(
                f"{name}:{_line_of_key(source, key)}: unknown key {key!r}"
                f"{_did_you_mean(key, ('format', 'label', 'signal'))}."
            )
        labels = _read_entries(data, "label", source, name, problems)
        signals = _read_entries(data, "signal", source, name, problems)
        _check_slugs(labels + signals, name, problems)
        _check_parents(labels, name, problems)
        if problems:
            raise TaxonomyError(summarise(problems))
        categories = tuple(label for _, label in labels if label.parent is None)
        leaves = tuple(
            label for category in categories for _, label in labels if label.parent == category.slug
        )
        return cls(categories, leaves, tuple(label for _, label in signals), source)

    @cached_property
    def parent(self) -> dict[str, str]:
        """Category slug of each leaf slug."""
        return {leaf.slug: leaf.parent for leaf in self.leaves if leaf.parent}

    @cached_property
    def names(self) -> dict[str, str]:
        """Dutch name of each slug."""
        return {x.slug: x.name_nl for x in (*self.categories, *self.leaves, *self.signals)}

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file's text."""
        return hashlib.sha256(self.source.encode()).hexdigest()

    def suggest(self, slug: str) -> str:
        """Return ``"; did you mean 'x'?"`` for a slug that does not exist, or ``""``."""
        return _did_you_mean(slug, [x.slug for x in (*self.leaves, *self.signals)])


def _did_you_mean(word: str, known: Any) -> str:
    close = get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _line_of_key(source: str, key: str) -> int:
    match = re.search(rf"^[ \t]*\[*[ \t]*{re.escape(key)}\b", source, re.MULTILINE)
    return source.count("\n", 0, match.start()) + 1 if match else 1


def _read_entries(
    data: dict[str, Any],
    kind: str,
    source: str,
    name: str,
    problems: list[str],
) -> list[tuple[int, Label]]:
    """Read the entries of one kind, each with the line it starts at."""
    entries = data.get(kind, [])
    if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
        problems.append(f"{name}:{_line_of_key(source, kind)}: write [[{kind}]].")
        return []
    if not entries:
        if kind == "label":
            problems.append(f"{name}:1: no [[label]] entries. Add at least one category.")
        return []
    # An inline list of tables has no header lines of its own; then point at line 1.
    headers = [m.start() for m in _HEADER.finditer(source) if m[1] == kind]
    starts = [source.count("\n", 0, at) + 1 for at in headers]
    if len(starts) != len(entries):
        starts = [1] * len(entries)
    required = {"slug", *_REQUIRED_FIELDS}
    allowed = {"slug", *_TEXT_FIELDS, *_LIST_FIELDS} | ({"parent"} if kind == "label" else set())
    read = []
    for line, entry in zip(starts, entries, strict=True):
        where = f"{name}:{line}"
        slug = entry.get("slug")
        for key in sorted(set(entry) - allowed):
            problems.append(f"{where}: unknown key {key!r}{_did_you_mean(key, allowed)}.")
        missing = sorted(required - set(entry))
        if missing:
            problems.append(f"{where}: {kind} {slug!r} lacks {', '.join(missing)}.")
            continue
        # What an organisation's own label may do without.
        entry = {**dict.fromkeys(_TEXT_FIELDS, ""), **{k: [] for k in _LIST_FIELDS}, **entry}
        bad = [k for k in ("slug", *_TEXT_FIELDS) if not isinstance(entry[k], str)]
        bad += [
            k
            for k in _LIST_FIELDS
            if not isinstance(entry[k], list) or not all(isinstance(x, str) for x in entry[k])
        ]
        if not isinstance(entry.get("parent", ""), str):
            bad.append("parent")
        if bad:
            problems.append(f"{where}: {', '.join(bad)} of {slug!r} must be text.")
            continue
        if not _SLUG.fullmatch(entry["slug"]):
            problems.append(
                f"{where}: slug {entry['slug']!r} must be lower-case ASCII letters, digits "
                "and underscores, beginning with a letter."
            )
            continue
        read.append(
            (
                line,
                Label(
                    slug=entry["slug"],
                    parent=entry.get("parent"),
                    name_nl=entry["name_nl"],
                    name_en=entry["name_en"],
                    definition=entry["definition"],
                    counter_definition=entry["counter_definition"],
                    examples=tuple(entry["examples"]),
                    seeds=tuple(entry["seeds"]),
                ),
            )
        )
    return read


def _check_slugs(labels: list[tuple[int, Label]], name: str, problems: list[str]) -> None:
    first: dict[str, int] = {}
    for line, label in labels:
        if label.slug in _RESERVED:
            problems.append(
                f"{name}:{line}: slug {label.slug!r} is the name of a column that Druppel adds to "
                "a table. Choose another."
            )
        if label.slug in first:
            problems.append(
                f"{name}:{line}: slug {label.slug!r} stands at line {first[label.slug]} too. "
                "Give each label its own slug."
            )
        first.setdefault(label.slug, line)


def _check_parents(labels: list[tuple[int, Label]], name: str, problems: list[str]) -> None:
    by_slug = {label.slug: label for _, label in labels}
    parents = {label.parent for _, label in labels}
    for line, label in labels:
        where = f"{name}:{line}"
        if label.parent is None:
            if label.slug not in parents:
                problems.append(
                    f"{where}: category {label.slug!r} has no leaf. Add a [[label]] with "
                    f"parent = {label.slug!r}."
                )
        elif label.parent not in by_slug:
            problems.append(
                f"{where}: parent {label.parent!r} of {label.slug!r} does not exist"
                f"{_did_you_mean(label.parent, by_slug)}."
            )
        elif by_slug[label.parent].parent is not None:
            kind = _ancestry(label, by_slug)
            problems.append(
                f"{where}: {kind}. A leaf's parent must be a category (a label without parent)."
            )


def _ancestry(label: Label, by_slug: dict[str, Label]) -> str:
    """Describe why a label hangs under something that is not a category."""
    chain = [label.slug]
    while (parent := by_slug[chain[-1]].parent) is not None and parent in by_slug:
        chain.append(parent)
        if parent in chain[:-1]:
            return "cycle " + " → ".join(chain[chain.index(parent) :])
    return f"{label.slug!r} is nested more than two levels deep ({' → '.join(chain)})"
