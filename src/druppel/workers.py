"""Label many texts on several cores: processes that each hold the model.

Results come in the order of the texts and are the same for any number of workers. A text that
cannot be labelled costs only itself, even where it kills the process that tries.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from druppel.errors import InputError
from druppel.labeler import BATCH_SIZE, Labeler
from druppel.result import Result
from druppel.taxonomy import Taxonomy

if TYPE_CHECKING:
    from concurrent.futures import Future

    from druppel.masking import Masker

_IN_FLIGHT = 3  # jobs a worker may have waiting: bounds memory, keeps it busy


class Query(NamedTuple):
    """A text to label, with what else is known of it; equal queries have equal outcomes."""

    text: str
    question: str | None = None
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a text.

    Attributes
    ----------
    result : Result or None
        None where the text could not be labelled; evidence and offsets are of `masked` where
        there is one.
    masked : str or None
        The text without personal data, where that was asked for.
    error : str or None
        Why it could not be labelled; holds nothing of the text.
    """

    result: Result | None
    masked: str | None = None
    error: str | None = None

    def pack(self) -> str:
        """Return it as JSON; that goes between processes faster than objects do."""
        found = None if self.result is None else self.result.to_dict()
        return json.dumps([found, self.masked, self.error], separators=(",", ":"))

    @classmethod
    def unpack(cls, fields: list[Any]) -> Outcome:
        """Return the outcome whose JSON holds these fields."""
        found, masked, error = fields
        return cls(None if found is None else Result.from_dict(found), masked, error)


FAILED = "[null,"
"""How the JSON of an outcome without result begins."""


class About(NamedTuple):
    """The model that labels: its name and version, and its labels."""

    title: str
    taxonomy: Taxonomy


LoadLabeler = Callable[[], Labeler]


class Workers:
    """A number of processes that label.

    Parameters
    ----------
    load : callable
        Gives the labeler; must be picklable, since each process calls it.
    n_workers : int, default=1
        With one, the labelling is done in this process.
    min_texts : int, default=0
        With fewer, too: starting processes takes some seconds.
    mask : bool, default=False
        Whether to take personal data out of the texts that are given back.
    """

    def __init__(
        self, load: LoadLabeler, n_workers: int = 1, *, min_texts: int = 0, mask: bool = False
    ) -> None:
        self.n_workers = n_workers
        self._min_texts = min_texts
        self._load = load
        self._mask = mask
        self._own: _Worker | None = None
        self._executor: Any = None
        self._about: About | None = None

    def about(self) -> About:
        """What the model is; from a process where there are some, to load it no more often."""
        if self._about is None:
            self._about = _describe(self._here.labeler)
        return self._about

    @property
    def _here(self) -> _Worker:
        if self._own is None:
            self._own = _Worker(self._load(), mask=self._mask)
        return self._own

    def label(self, jobs: Iterable[Sequence[Query]]) -> Iterator[list[str]]:
        """Label jobs of queries; the outcomes come job by job, in order, packed.

        Parameters
        ----------
        jobs : iterable of sequence of Query
            Read only a little ahead of what is given back.
        """
        left = iter(jobs)
        if self.n_workers > 1:
            first, enough = _read_ahead(left, self._min_texts)
            left = itertools.chain(first, left)
        if self.n_workers == 1 or not enough:
            for job in left:
                yield self._here.label_packed(job)
            return
        self._begin()
        waiting: deque[tuple[Sequence[Query], Future[list[str]]]] = deque()
        with self._interruptible():
            for job in itertools.islice(left, self.n_workers * _IN_FLIGHT):
                waiting.append((job, self._submit(job)))
            while waiting:
                job, future = waiting.popleft()
                try:
                    outcomes = future.result()
                except _broken():
                    # One of the jobs at hand killed its process, and the others with it.
                    outcomes = self._one_by_one(job)
                    waiting = deque((job, self._submit(job)) for job, _ in waiting)
                yield outcomes
                for job in itertools.islice(left, 1):
                    waiting.append((job, self._submit(job)))

    def close(self) -> None:
        """End the processes."""
        if self._executor is not None:
            self._executor.shutdown(wait=True, kill_workers=True)
            self._executor = None

    def _begin(self) -> None:
        """Start the processes; a model that cannot be opened is told as in this process."""
        try:
            self._about = self._process(_tell).result()
        except _broken():
            self._load()
            msg = "The processes for labelling could not be started. Try --workers 1."
            raise InputError(msg) from None

    def _submit(self, job: Sequence[Query]) -> Future[list[str]]:
        future: Future[list[str]] = self._process(_label, list(job))
        return future

    def _process(self, task: Callable[..., Any], *given: Any) -> Future[Any]:
        """Have a process do something; start them anew where one has died."""
        from joblib.externals.loky import get_reusable_executor

        if self._executor is None:
            self._executor = get_reusable_executor(
                max_workers=self.n_workers,
                initializer=_start,
                initargs=(self._load, self._mask, os.getpid()),
                timeout=None,
            )
        try:
            future: Future[Any] = self._executor.submit(task, *given)
        except _broken():
            self._executor = None
            return self._process(task, *given)
        return future

    def _one_by_one(self, job: Sequence[Query]) -> list[str]:
        """Label a job's queries each by itself, so that only the fatal one is lost."""
        outcomes = []
        for start in range(0, len(job), _SMALL):
            part = job[start : start + _SMALL]
            try:
                outcomes += self._submit(part).result()
                continue
            except _broken():
                pass
            for query in part:
                try:
                    outcomes += self._submit([query]).result()
                except _broken():
                    outcomes.append(_failed("its process ended", None).pack())
        return outcomes

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """End the processes at once when the work is broken off."""
        try:
            yield
        except BaseException:
            self.close()
            raise


_SMALL = 16  # texts tried together when one of them is fatal
_LOOK = 1.0  # seconds between looks at whether the first process still lives


def _read_ahead(
    jobs: Iterator[Sequence[Query]], n_texts: int
) -> tuple[list[Sequence[Query]], bool]:
    """Read jobs until there are so many texts; also say whether there were."""
    first: list[Sequence[Query]] = []
    count = 0
    while count < n_texts:
        job = next(jobs, None)
        if job is None:
            return first, False
        first.append(job)
        count += len(job)
    return first, True


class _Worker:
    """The labeler of one process."""

    def __init__(self, labeler: Labeler, *, mask: bool) -> None:
        self.labeler = labeler
        self._masker: Masker | None = None
        if mask:
            from druppel.masking import Masker

            self._masker = Masker()

    def label_packed(self, job: Sequence[Query]) -> list[str]:
        return [outcome.pack() for outcome in self._label(job)]

    def _label(self, job: Sequence[Query]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for start in range(0, len(job), BATCH_SIZE):
            part = job[start : start + BATCH_SIZE]
            try:
                texts, questions, scores = zip(*part, strict=True)
                results = list(self.labeler.label_many(texts, questions, scores))
            except OSError:
                raise  # the machine's fault, not the text's: a full disk, say
            except Exception:
                outcomes += map(self._label_one, part)
            else:
                outcomes += map(self._masked, part, results)
        return outcomes

    def _label_one(self, query: Query) -> Outcome:
        try:
            return self._masked(query, self.labeler.label(*query))
        except OSError:
            raise
        except Exception as error:
            masked = None if self._masker is None else self._masker.mask(query.text).text
            return _failed(type(error).__name__, masked)

    def _masked(self, query: Query, result: Result) -> Outcome:
        if self._masker is None:
            return Outcome(result)
        masked = self._masker.mask(query.text)

        def shifted(found: Any) -> Any:
            start, end = masked.span(found.start, found.end)
            return replace(found, start=start, end=end, evidence=masked.text[start:end])

        if masked.found:
            result = replace(
                result,
                aspects=tuple(map(shifted, result.aspects)),
                signals=tuple(map(shifted, result.signals)),
            )
        return Outcome(result, masked.text)


def _describe(labeler: Labeler) -> About:
    return About(labeler.model.title, labeler.model.taxonomy)


def _failed(why: str, masked: str | None) -> Outcome:
    return Outcome(None, masked, f"could not be labelled ({why})")


# --- in the processes ---------------------------------------------------------------------

_worker: _Worker | None = None


def _start(load: LoadLabeler, mask: bool, parent: int) -> None:
    """Prepare a process: one thread, since there are as many processes as cores."""
    global _worker
    # Ctrl-C goes to all processes of a terminal; the first of them ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if os.name == "posix":
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    labeler = load()
    if labeler.model.encoder is not None:
        labeler.model.encoder.n_threads = 1
    _worker = _Worker(labeler, mask=mask)


def _end_with(parent: int) -> None:
    """End this process when the one that started it was killed."""
    while os.getppid() == parent:
        time.sleep(_LOOK)
    os._exit(1)


def _tell() -> About:
    assert _worker is not None
    return _describe(_worker.labeler)


def _label(job: list[Query]) -> list[str]:
    assert _worker is not None
    return _worker.label_packed(job)


def _broken() -> type[BaseException]:
    from joblib.externals.loky.process_executor import BrokenProcessPool

    broken: type[BaseException] = BrokenProcessPool
    return broken
