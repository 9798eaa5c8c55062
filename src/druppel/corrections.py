"""What analysts decided about texts: an append-only history, and what follows from it.

A folder holds numbered files, one a batch (a sheet that was added, a session on the review page).
Nothing in it is ever changed: a later decision about the same text stands behind the earlier one,
and a withdrawal is a line of its own. What counts today is worked out from all of it.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from druppel.corpus import GoldAspect, LabelledText, text_digest
from druppel.errors import CorpusError, InputError, summarise
from druppel.result import POLARITIES, SENTIMENTS
from druppel.taxonomy import Taxonomy

PARTS = TRAINING, MEASUREMENT = ("training", "meting")
"""To learn from; and to measure by, which is never trained on."""

_BATCH = "{:04d}.jsonl"
_BATCHES = "[0-9]*.jsonl"


@dataclass(frozen=True, slots=True)
class Decision:
    """What one analyst said of one text.

    Attributes
    ----------
    text : str
    aspects : tuple of GoldAspect
    sentiment : str or None
        One of `SENTIMENTS`; None where nobody judged it.
    signals : tuple of str
    question : str or None
    score : float or None
        From 0 to 10.
    analyst : str
        Who decided.
    date : str
        ISO 8601, in UTC, to the second.
    source : str
        Name of the file (or ``web``) that it came from.
    where : str
        Place in that file, such as ``Beoordelen!12``; may be empty.
    part : {"training", "meting"}
    remark : str or None
    settles : bool
        Made in view of a conflict, and ends it.
    number : str
        ``batch:line``, given by the history; empty before.
    """

    text: str
    aspects: tuple[GoldAspect, ...]
    sentiment: str | None
    signals: tuple[str, ...]
    question: str | None = None
    score: float | None = None
    analyst: str = ""
    date: str = ""
    source: str = ""
    where: str = ""
    part: str = TRAINING
    remark: str | None = None
    settles: bool = False
    number: str = ""

    @property
    def key(self) -> str:
        """Fingerprint of what was judged: see `text_key`."""
        return text_key(self.text, self.question)

    @property
    def labels(self) -> tuple[frozenset[tuple[str, str]], str | None, frozenset[str]]:
        """What is compared between decisions: aspects without evidence, sentiment, signals."""
        aspects = frozenset((a.leaf, a.polarity) for a in self.aspects)
        return aspects, self.sentiment, frozenset(self.signals)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON; the counterpart of `from_dict`."""
        row: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        row["aspects"] = [
            {"leaf": a.leaf, "polarity": a.polarity, "evidence": a.evidence} for a in self.aspects
        ]
        row["signals"] = list(self.signals)
        del row["number"]
        return row

    @classmethod
    def from_dict(cls, row: dict[str, Any], number: str = "") -> Decision:
        """Return the decision that `to_dict` gave.

        Raises
        ------
        ValueError
            If the row is none.

        Examples
        --------
        >>> decision = Decision("Veel te duur.", (GoldAspect("te_duur", "neg"),), "negatief", ())
        >>> Decision.from_dict(decision.to_dict()) == decision
        True
        """
        try:
            aspects = tuple(
                GoldAspect(a["leaf"], a["polarity"], a["evidence"]) for a in row["aspects"]
            )
            values = {**row, "aspects": aspects, "signals": tuple(row["signals"]), "number": number}
            decision = cls(**values)
            if not isinstance(row["signals"], list):
                raise TypeError
        except (KeyError, TypeError) as error:
            raise ValueError(type(error).__name__) from None
        if not _is_sound(decision):
            msg = "no decision"
            raise ValueError(msg)
        return decision


def _is_sound(decision: Decision) -> bool:
    """Check the types of what stood in a file."""
    words = (decision.analyst, decision.date, decision.source, decision.where)
    return (
        all(isinstance(word, str) for word in (decision.text, *words, *decision.signals))
        and isinstance(decision.question, str | None)
        and isinstance(decision.remark, str | None)
        and isinstance(decision.score, int | float | None)
        and isinstance(decision.settles, bool)
        and decision.part in PARTS
        and decision.sentiment in (None, *SENTIMENTS)
        and all(
            isinstance(a.leaf, str)
            and a.polarity in POLARITIES
            and isinstance(a.evidence, str | None)
            and (a.evidence or "") in decision.text
            for a in decision.aspects
        )
    )


@dataclass(frozen=True)
class Conflict:
    """Different decisions of several analysts about one text, each one's latest."""

    key: str
    decisions: tuple[Decision, ...]


@dataclass(frozen=True)
class State:
    """What counts today.

    Attributes
    ----------
    decisions : tuple of Decision
        One a text, in the order in which the texts were first judged.
    conflicts : tuple of Conflict
        Texts that are left out until one decision settles them.
    n_replaced : int
        Decisions that a later one of the same analyst, or a settlement, took the place of.
    n_withdrawn : int
    """

    decisions: tuple[Decision, ...]
    conflicts: tuple[Conflict, ...]
    n_replaced: int
    n_withdrawn: int

    @cached_property
    def by_key(self) -> dict[str, Decision]:
        """Decision that counts, by `text_key`."""
        return {decision.key: decision for decision in self.decisions}


@dataclass(frozen=True)
class Added:
    """What adding a batch of decisions did.

    Attributes
    ----------
    batch : int or None
        None where nothing was new.
    n_new : int
        Texts that had no decision yet.
    n_same : int
        Decisions that the same analyst took before in the same sheet; they are not stored again.
    n_changed : int
        Decisions by which an analyst came back on an earlier one.
    n_agreed : int
        Decisions that confirm an earlier one, of another analyst or from another sheet.
    conflicts : tuple of Conflict
        Conflicts about texts of this batch, old and new.
    """

    batch: int | None
    n_new: int
    n_same: int
    n_changed: int
    n_agreed: int
    conflicts: tuple[Conflict, ...]


def text_key(text: str, question: str | None = None) -> str:
    """Fingerprint of a text and its question, whatever the white space around and in them.

    Examples
    --------
    >>> text_key("Te duur! ") == text_key("Te  duur!")
    True
    >>> text_key("Te duur!") == text_key("Te duur!", "Wat kan er beter?")
    False
    """
    words = " ".join(text.split())
    asked = " ".join((question or "").split())
    return text_digest(f"{words}\x1f{asked}")


def now() -> str:
    """The date as decisions bear it: ISO 8601, in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class History:
    """The append-only decisions of a project.

    Parameters
    ----------
    folder : Path
        Need not exist before something is added.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def batches(self) -> list[Path]:
        """The files of the history, in order."""
        found = self.folder.glob(_BATCHES)
        # "0001 (kopie).jsonl" would count a second time what may have been withdrawn.
        return sorted((path for path in found if path.stem.isdecimal()), key=_number_of)

    def lines(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield everything that was ever noted, as (number, row).

        Raises
        ------
        CorpusError
            If a file is damaged; the message names its line.
        """
        for path in self.batches():
            content = path.read_bytes()
            rows = content.split(b"\n")
            # What was being written when the power went has no end of line; it never counted.
            for line, data in enumerate(rows[:-1], start=1):
                try:
                    row = json.loads(data)
                except (ValueError, RecursionError):
                    row = None
                if not isinstance(row, dict):
                    msg = f"{path}:{line}: damaged. Restore this file from a copy."
                    raise CorpusError(msg)
                yield f"{_number_of(path)}:{line}", row

    def decisions(self) -> tuple[list[Decision], set[str]]:
        """Return all decisions in order, and the numbers of those that were withdrawn.

        Raises
        ------
        CorpusError
            If a file is damaged.
        """
        decisions: list[Decision] = []
        withdrawn: set[str] = set()
        for number, row in self.lines():
            if "withdraws" in row:
                withdrawn.add(str(row["withdraws"]))
                continue
            try:
                decisions.append(Decision.from_dict(row, number))
            except ValueError:
                batch, _, line = number.partition(":")
                path = self.folder / _BATCH.format(int(batch))
                msg = f"{path}:{line}: holds no decision. Restore this file from a copy."
                raise CorpusError(msg) from None
        return decisions, {
            d.number
            for d in decisions
            if d.number in withdrawn or d.number.partition(":")[0] in withdrawn
        }

    def state(self) -> State:
        """Work out what counts today.

        Of each analyst the latest decision about a text counts. Where analysts differ, none does
        until one of them settles it. The part (training or measurement) of a text is that of its
        first decision: what was trained on can no longer measure, and the other way round.
        """
        decisions, withdrawn = self.decisions()
        by_key: dict[str, list[Decision]] = {}
        for decision in decisions:
            if decision.number not in withdrawn:
                by_key.setdefault(decision.key, []).append(decision)
        settled: list[Decision] = []
        conflicts: list[Conflict] = []
        n_replaced = 0
        for key, made in by_key.items():
            counting = counting_decisions(made)
            n_replaced += len(made) - len(counting)
            if len({decision.labels for decision in counting}) > 1:
                conflicts.append(Conflict(key, tuple(counting)))
            else:
                settled.append(replace(_best_evidence(counting), part=made[0].part))
        return State(tuple(settled), tuple(conflicts), n_replaced, len(withdrawn))

    def add(self, decisions: Sequence[Decision]) -> Added:
        """Store a batch of decisions, whole or not at all, and say what is new in it.

        Raises
        ------
        CorpusError
            If the history is damaged.
        InputError
            If the folder cannot be written.
        """
        earlier, withdrawn = self.decisions()
        latest: dict[tuple[str, str], Decision] = {}
        known: dict[str, list[Decision]] = {}
        for decision in earlier:
            if decision.number not in withdrawn:
                latest[decision.key, decision.analyst] = decision
                known.setdefault(decision.key, []).append(decision)
        kept: list[Decision] = []
        n_new = n_same = n_changed = n_agreed = 0
        for decision in decisions:
            before = latest.get((decision.key, decision.analyst))
            # A settlement that is repeated settles what others said after it.
            is_last = before is not None and known[decision.key][-1] is before
            if (
                before is not None
                and _says_the_same(before, decision)
                and (not decision.settles or (before.settles and is_last))
            ):
                n_same += 1
                continue
            if before is not None and before.labels != decision.labels:
                n_changed += 1
            elif decision.key not in known:
                n_new += 1
            elif any(d.labels == decision.labels for d in known[decision.key]):
                n_agreed += 1
            latest[decision.key, decision.analyst] = decision
            known.setdefault(decision.key, []).append(decision)
            kept.append(decision)
        batch = self._write_batch(kept) if kept else None
        touched = {decision.key for decision in decisions}
        conflicts = tuple(c for c in self.state().conflicts if c.key in touched)
        return Added(batch, n_new, n_same, n_changed, n_agreed, conflicts)

    def withdraw(self, number: str, analyst: str) -> int:
        """Note that a batch (``"3"``) or one decision (``"3:12"``) no longer counts.

        Returns
        -------
        int
            How many decisions that concerns.

        Raises
        ------
        InputError
            If there is no such batch or decision, or it was withdrawn before.
        """
        decisions, withdrawn = self.decisions()
        hit = [d for d in decisions if number in (d.number, d.number.partition(":")[0])]
        left = [d for d in hit if d.number not in withdrawn]
        if not left:
            why = "was withdrawn before" if hit else "does not exist"
            msg = f"{self.folder}: {number} {why}. 'druppel corrections list' shows what there is."
            raise InputError(msg)
        # One by one: a session that is still open may add to its batch what does count.
        date = now()
        self._write_rows([{"withdraws": d.number, "analyst": analyst, "date": date} for d in left])
        return len(left)

    def begin(self) -> Batch:
        """Begin a batch to which decisions are added one by one, each saved at once."""
        return Batch(self)

    def _write_batch(self, decisions: Iterable[Decision]) -> int:
        return self._write_rows([decision.to_dict() for decision in decisions])

    def _write_rows(self, rows: list[dict[str, Any]]) -> int:
        """Write a file under the next free number; two processes never get the same one."""
        data = b"".join(_line(row) for row in rows)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=".", suffix=".new", dir=self.folder)
        except OSError as error:
            msg = f"{self.folder}: cannot write there ({error.strerror})."
            raise InputError(msg) from None
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.chmod(0o644)
            while True:
                number = max((_number_of(path) for path in self.batches()), default=0) + 1
                path = self.folder / _BATCH.format(number)
                try:
                    path.touch(exist_ok=False)
                except FileExistsError:
                    continue  # another process was first
                temporary.replace(path)
                return number
        except OSError as error:
            msg = f"{self.folder}: cannot write there ({error.strerror})."
            raise InputError(msg) from None
        finally:
            temporary.unlink(missing_ok=True)


class Batch:
    """Decisions of one session, appended to a file of the history and saved one by one."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._stream: IO[bytes] | None = None
        self._number = 0
        self._n_lines = 0

    def append(self, decision: Decision) -> Decision:
        """Save a decision; return it with its number."""
        line = self._append(decision.to_dict())
        return replace(decision, number=f"{self._number}:{line}")

    def withdraw(self, number: str, analyst: str) -> None:
        """Take back one decision."""
        self._append({"withdraws": number, "analyst": analyst, "date": now()})

    def close(self) -> None:
        """End the session."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _append(self, row: dict[str, Any]) -> int:
        if self._stream is None:
            # The file comes with its first line, so that a session without decisions leaves none.
            self._number = self._history._write_rows([row])
            path = self._history.folder / _BATCH.format(self._number)
            self._stream = path.open("ab")
            self._n_lines = 1
            return 1
        self._stream.write(_line(row))
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._n_lines += 1
        return self._n_lines


def labelled_texts(
    decisions: Iterable[Decision], taxonomy: Taxonomy
) -> tuple[list[LabelledText], list[str]]:
    """Return decisions as labelled texts, and what is wrong with those that cannot be.

    Parameters
    ----------
    decisions : iterable of Decision
    taxonomy : Taxonomy

    Returns
    -------
    texts : list of LabelledText
        Their ids are the decisions' keys.
    problems : list of str
        One a decision that bears a label which the taxonomy does not know (any more).
    """
    signals = {signal.slug for signal in taxonomy.signals}
    texts: list[LabelledText] = []
    problems: list[str] = []
    for d in decisions:
        wrong = [a.leaf for a in d.aspects if a.leaf not in taxonomy.parent]
        wrong += [signal for signal in d.signals if signal not in signals]
        if wrong:
            hint = taxonomy.suggest(wrong[0])
            problems.append(
                f"decision {d.number} ({d.source} {d.where}): unknown label {wrong[0]!r}{hint}."
            )
            continue
        texts.append(
            LabelledText(
                id=d.key,
                text=d.text,
                aspects=d.aspects,
                sentiment=d.sentiment,
                signals=d.signals,
                question=d.question,
                score=d.score,
                author=None,
                where=f"{d.source} {d.where}".strip(),
            )
        )
    return texts, problems


def check_labels(problems: list[str], folder: Path) -> None:
    """Refuse decisions with unknown labels.

    Raises
    ------
    CorpusError
        If there are any; the message says what to do.
    """
    if problems:
        advice = (
            f"{folder}: {len(problems)} decisions bear labels that the taxonomy does not have. Put "
            "them back, or say what became of them with 'druppel taxonomy migrate'."
        )
        raise CorpusError(summarise([advice, *problems]))


def counting_decisions(made: Sequence[Decision]) -> list[Decision]:
    """Of one text's decisions those that count: each analyst's latest since a settlement."""
    last = max((i for i, decision in enumerate(made) if decision.settles), default=0)
    latest: dict[str, Decision] = {}
    for decision in made[last:]:
        latest.pop(decision.analyst, None)  # who comes back is the last to have spoken
        latest[decision.analyst] = decision
    return list(latest.values())


def _best_evidence(agreed: Sequence[Decision]) -> Decision:
    """Of decisions that say the same the latest with most evidence."""
    return max(reversed(agreed), key=lambda d: sum(a.evidence is not None for a in d.aspects))


def _says_the_same(before: Decision, after: Decision) -> bool:
    return (
        before.labels == after.labels
        and before.source == after.source
        and set(before.aspects) == set(after.aspects)
        and before.remark == after.remark
    )


def _number_of(path: Path) -> int:
    return int(path.stem)


def _line(row: dict[str, Any]) -> bytes:
    return (json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8", "surrogatepass")
