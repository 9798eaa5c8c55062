"""Versions of a model in one folder, and which of them is the current one.

A registry is a folder of model folders named by number, a pointer and a history::

    0/ 1/ 2/            versions; never changed once they stand there
    huidig              the pointer: JSON with the current version and the way back
    geschiedenis.jsonl  what was done, by whom and why; only ever appended to

The pointer is the truth. It is replaced as a whole, so a reader sees the old one or the new one
and needs no lock. It carries the event that made it: where a crash came before that event was
in the history, the next change adds it. Whoever changes the registry holds a lock on a file of
it, which the operating system lets go of when a process dies.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from druppel.errors import ModelError, TaxonomyError
from druppel.model import FAST
from druppel.store import FORMAT, MANIFEST, load_model
from druppel.taxonomy import Taxonomy
from druppel.writing import atomic

REGISTRY = "modellen"
"""Name of the registry in a project folder."""
POINTER = "huidig"
HISTORY = "geschiedenis.jsonl"
ADMIT, TRAIN, PROMOTE, ROLLBACK = ACTIONS = ("admit", "train", "promote", "rollback")
WORTH_LINKING = 1_000_000
"""Bytes from which identical files of two versions are kept once."""

_COUNTER = ".volgnummer"
_LOCK = ".slot"
_TAXONOMY = "taxonomy.toml"
_PATIENCE = 30.0  # seconds to wait for another process
_TRIES = 100  # to read pointer and history as they stand together
_BUSY = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)

_Hashes = dict[tuple[int, int, int, int], str]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that was done to a registry.

    Attributes
    ----------
    date : str
        ISO 8601, in UTC, to the second.
    action : {"admit", "train", "promote", "rollback"}
    number : int
        The version it was done with; after ``promote`` and ``rollback`` the current one.
    previous : int or None
        The version that was current before; None where there was none.
    by : str
        Who did it.
    reason : str
        Why, or for ``admit`` and ``train`` a note on the version.
    """

    date: str
    action: str
    number: int
    previous: int | None
    by: str
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Version:
    """A version of the model.

    Attributes
    ----------
    number : int
    folder : Path
        Its model folder.
    title : str
        Name and version as every result tells them; ``""`` where the manifest cannot be read.
    created : str
        When it came into the registry (ISO 8601); for a folder that was put there by hand, when
        its manifest was written.
    note : str
        What was noted when it came.
    current : bool
    promoted : int
        How many times it was promoted.
    problem : str or None
        What is wrong with its files.
    """

    number: int
    folder: Path
    title: str
    created: str
    note: str
    current: bool
    promoted: int
    problem: str | None

    @property
    def sound(self) -> bool:
        """Whether all its files are there and have their checksums."""
        return self.problem is None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        return {**asdict(self), "folder": str(self.folder), "sound": self.sound}


@dataclass(frozen=True, slots=True)
class LabelDifferences:
    """How the labels of one taxonomy differ from those of another.

    Attributes
    ----------
    added, removed : tuple of str
        Slugs of categories, leaves and signals, in the order of their taxonomy.
    moved : tuple of (str, str, str)
        Leaves under another category: slug, old category and new one.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    moved: tuple[tuple[str, str, str], ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.moved)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        return asdict(self)


def compare_labels(old: Taxonomy, new: Taxonomy) -> LabelDifferences:
    """Tell which labels `new` has more, fewer or elsewhere than `old`.

    Examples
    --------
    >>> taxonomy = Taxonomy.load()
    >>> bool(compare_labels(taxonomy, taxonomy))
    False
    """
    return LabelDifferences(
        added=tuple(slug for slug in new.names if slug not in old.names),
        removed=tuple(slug for slug in old.names if slug not in new.names),
        moved=tuple(
            (leaf, old.parent[leaf], parent)
            for leaf, parent in new.parent.items()
            if old.parent.get(leaf, parent) != parent
        ),
    )


@dataclass(frozen=True, slots=True)
class _Pointer:
    """What the pointer says.

    Attributes
    ----------
    number : int or None
        The current version; None where nothing was ever promoted.
    before : tuple of int
        The versions to go back to, the nearest last.
    event : Event or None
        What made it so.
    """

    number: int | None = None
    before: tuple[int, ...] = ()
    event: Event | None = None

    def after(self, event: Event) -> _Pointer:
        """Return what the pointer says once a promotion or rollback is done."""
        if event.action == ROLLBACK:
            return _Pointer(event.number, self.before[:-1], event)
        if self.number in (None, event.number):
            return _Pointer(event.number, self.before, event)
        return _Pointer(event.number, (*self.before, self.number), event)


class Registry:
    """A folder of model versions with a pointer to the current one.

    Any number of processes may read and change it at once. Reading takes no lock, and needs no
    right to write.

    Parameters
    ----------
    folder : Path
        Need not exist; the first change makes it.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    # --- reading --------------------------------------------------------------------------

    def versions(self) -> list[Version]:
        """Return all versions by number, every file of them checked.

        A file that several versions share is read once. Foreign entries are left out: what is
        no folder, or not named by a number.
        """
        try:
            current = self._pointer().number
        except ModelError:
            current = None  # they are wanted all the more
        return self._versions(self._numbers(), current)

    def version(self, number: int) -> Version:
        """Return one version, its files checked.

        Raises
        ------
        ModelError
            If there is no such version.
        """
        if number not in self._numbers():
            there = ", ".join(map(str, self._numbers())) or "none"
            msg = f"{self.folder}: no version {number}. Versions there: {there}."
            raise ModelError(msg)
        try:
            current = self._pointer().number
        except ModelError:
            current = None
        return self._versions([number], current)[0]

    def current(self) -> Version:
        """Return the current version, its files checked.

        Raises
        ------
        ModelError
            If nothing was promoted, or the pointer or the version it names is damaged; the
            message says which versions are sound.
        """
        number = self._pointer().number
        if number is None:
            msg = f"{self.folder}: no current version (it has no {POINTER!r}). {self._advice()}"
            raise ModelError(msg)
        if number not in self._numbers():
            msg = (
                f"{self.folder / POINTER}: names version {number}, which is missing. "
                f"{self._advice(number)}"
            )
            raise ModelError(msg)
        version = self._versions([number], number)[0]
        if version.problem is not None:
            msg = f"{version.folder}: {version.problem}. {self._advice(number)}"
            raise ModelError(msg)
        return version

    def previous(self) -> int | None:
        """Return the number that a rollback would go back to, or None.

        Raises
        ------
        ModelError
            If the pointer is damaged.
        """
        before = self._pointer().before
        return before[-1] if before else None

    def history(self) -> list[Event]:
        """Return all that was done, oldest first; lines that are no event are left out."""
        event, events = self._last_event(), self._events()
        for _ in range(_TRIES):
            # Read between two looks at the same pointer, the history is not ahead of it.
            after = self._last_event()
            if after == event:
                break
            event, events = after, self._events()
        if _is_missing(event, events):
            assert event is not None
            events.append(event)
        return events

    def taxonomy(self, number: int) -> Taxonomy:
        """Read the taxonomy of a version, to compare with `compare_labels`.

        Raises
        ------
        ModelError, TaxonomyError
            If there is no such version, or it has no taxonomy that can be read.
        """
        return Taxonomy.load(self.version(number).folder / _TAXONOMY)

    def next_number(self) -> int:
        """Return the number that the next version will have, unless another takes it first.

        A number is given out once: not again after its version was deleted, and not again
        after the training that took it failed.
        """
        known = [-1, *self._numbers(), *(event.number for event in self._events())]
        with contextlib.suppress(OSError, ValueError):
            known.append(int((self.folder / _COUNTER).read_text(encoding="ascii")) - 1)
        return max(known) + 1

    # --- changing -------------------------------------------------------------------------

    def reserve(self) -> Path:
        """Return the folder for a new version, which no other caller will get.

        The folder does not exist yet: write it whole, as `druppel.store.save_model` does, and
        then `register` it.

        Raises
        ------
        ModelError
            If the registry cannot be written.
        """
        with self._locked():
            return self.folder / str(self._take_number())

    def register(self, folder: str | Path, *, by: str, note: str = "") -> Version:
        """Take note of a version that was written to a reserved folder.

        Files that are the same as in another version are kept once on the disk, as far as the
        file system can do that.

        Raises
        ------
        ModelError
            If it is no version of this registry, or not sound.
        """
        folder = Path(folder)
        number = _number(folder.name)
        if number is None or folder.parent.resolve() != self.folder.resolve():
            msg = f"{folder}: is no version of {self.folder}. Write it where 'reserve' says."
            raise ModelError(msg)
        self._demand_sound(number)
        with self._locked():
            link_identical(self.folder / str(number), self._others(number))
            self._append(_event(TRAIN, number, self._pointer_or_replayed().number, by, note))
        return self.version(number)

    def admit(self, source: str | Path, note: str, *, by: str = "") -> Version:
        """Copy a model from elsewhere into the registry, if nothing is wrong with it.

        What is copied is what its manifest lists, and checked is the copy: format, checksums,
        taxonomy, and that it opens in every profile. Nothing of it is run. `compare_labels`
        tells how its labels differ; the current version stays the current one.

        Parameters
        ----------
        source : str or Path
            A model folder, or what `resolve_model` takes for one.
        note : str
            Where it comes from, say.
        by : str, default=""

        Raises
        ------
        ModelError
            If it is no sound model, or the registry cannot be written.
        """
        source = resolve_model(source)
        manifest, problem = _read_manifest(source)
        if problem is not None:
            msg = f"{source}: {problem}. Get the model anew."
            raise ModelError(msg)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(prefix=".nieuw.", dir=self.folder))
        except OSError as error:
            msg = f"{self.folder}: cannot write there ({error.strerror}). Check the folder."
            raise ModelError(msg) from None
        try:
            for name in (MANIFEST, *manifest["sha256"]):
                _copy(source / name, temporary / name)
            try:
                _open_every_profile(temporary)
            except ModelError as error:
                # She knows the model by where it comes from, not by where it was looked at.
                raise ModelError(str(error).replace(str(temporary), str(source))) from None
            problem = _problem(temporary, {})
            if problem is not None:
                msg = f"{source}: {problem}. Get the model anew."
                raise ModelError(msg)
            temporary.chmod(0o755)
            with self._locked():
                number = self._take_number()
                link_identical(temporary, self._others(number))
                temporary.replace(self.folder / str(number))
                self._append(_event(ADMIT, number, self._pointer_or_replayed().number, by, note))
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return self.version(number)

    def promote(self, number: int, *, by: str, reason: str) -> Version:
        """Make a version the current one.

        It is checked first, and opened in every profile; whether it is good enough is for the
        caller to judge. Promoting the current version changes nothing and is no event.

        Raises
        ------
        ModelError
            If there is no such version, it is not sound, or the registry cannot be written.
        """
        self._demand_sound(number)
        _open_every_profile(self.folder / str(number))
        with self._locked():
            pointer = self._pointer_or_replayed()
            # A damaged pointer is written anew in any case.
            if pointer.number != number or not self._has_pointer():
                self._point(pointer.after(_event(PROMOTE, number, pointer.number, by, reason)))
        return self._now(number)

    def rollback(self, *, by: str, reason: str) -> Version:
        """Go back to the version that was current before the current one was promoted.

        A second rollback goes one further back. What was rolled back is not gone: promote it
        again to go forward. After promotions of 1, 2 and 3 and a rollback, the current version
        is 2; after a promotion of 4 the way back is from 4 to 2 to 1.

        Raises
        ------
        ModelError
            If there is nothing to go back to, or what there is is not sound.
        """
        with self._locked():
            pointer = self._pointer()
            if not pointer.before:
                msg = (
                    f"{self.folder}: no earlier version to go back to. "
                    f"{self._advice(pointer.number, back=False)}"
                )
                raise ModelError(msg)
            number = pointer.before[-1]
            problem = "missing"
            if number in self._numbers():
                problem = _problem(self.folder / str(number), {}) or ""
            if problem:
                msg = (
                    f"{self.folder / str(number)}: the version to go back to is not sound: "
                    f"{problem}. {self._advice(pointer.number, back=False)}"
                )
                raise ModelError(msg)
            self._point(pointer.after(_event(ROLLBACK, number, pointer.number, by, reason)))
        return self._now(number)

    # --- within ---------------------------------------------------------------------------

    def _numbers(self) -> list[int]:
        try:
            entries = list(self.folder.iterdir())
        except OSError:
            return []
        numbers = (_number(entry.name) for entry in entries if entry.is_dir())
        return sorted(number for number in numbers if number is not None)

    def _has_models(self) -> bool:
        """Whether this is a registry at all, rather than a folder with years in it."""
        return any((self.folder / str(n) / MANIFEST).is_file() for n in self._numbers())

    def _others(self, number: int) -> list[Path]:
        return [self.folder / str(other) for other in self._numbers() if other != number]

    def _versions(self, numbers: Iterable[int], current: int | None) -> list[Version]:
        events = self.history()
        hashes: _Hashes = {}
        versions = []
        for number in numbers:
            folder = self.folder / str(number)
            manifest, problem = _read_manifest(folder)
            came = [e for e in events if e.number == number and e.action in (ADMIT, TRAIN)]
            versions.append(
                Version(
                    number=number,
                    folder=folder,
                    title=f"{manifest['name']} {manifest['version']}" if manifest else "",
                    created=came[0].date if came else _written(folder),
                    note=came[0].reason if came else "",
                    current=number == current,
                    promoted=sum(e.number == number and e.action == PROMOTE for e in events),
                    problem=problem or _problem(folder, hashes),
                )
            )
        return versions

    def _now(self, number: int) -> Version:
        """Return a version as the current one, whatever another process promoted meanwhile."""
        return self._versions([number], number)[0]

    def _demand_sound(self, number: int) -> None:
        version = self.version(number)
        if version.problem is not None:
            msg = (
                f"{version.folder}: {version.problem}. Nothing is changed. "
                f"{self._advice(number, back=False)}"
            )
            raise ModelError(msg)

    def _advice(self, number: int | None = None, *, back: bool = True) -> str:
        """Say what to do when the current version `number` is no good."""
        hashes: _Hashes = {}
        sound = [n for n in self._numbers() if n != number]
        sound = [n for n in sound if _problem(self.folder / str(n), hashes) is None]
        if not sound:
            return "There is no other sound version: train one, or admit one from elsewhere."
        listed = ", ".join(map(str, sound))
        one = f"promote one of the sound versions ({listed}): 'druppel promote {sound[-1]}'"
        with contextlib.suppress(ModelError):
            before = self._pointer().before
            if back and before and before[-1] in sound:
                return f"Go back to version {before[-1]} with 'druppel rollback', or {one}."
        return one[0].upper() + one[1:] + "."

    def _has_pointer(self) -> bool:
        try:
            return self._pointer().number is not None
        except ModelError:
            return False

    def _pointer(self) -> _Pointer:
        path = self.folder / POINTER
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return _Pointer()
        except OSError as error:
            msg = f"{path}: cannot be read ({error.strerror}). Check the folder."
            raise ModelError(msg) from None
        try:
            said = json.loads(data)
            event = _parse_event(said["event"])
            pointer = _Pointer(said["number"], tuple(said["before"]), event)
            if event is None or event.number != pointer.number:
                raise ValueError
            if not all(_is_number(n) for n in (pointer.number, *pointer.before)):
                raise ValueError
        except (ValueError, KeyError, TypeError, RecursionError):
            known = [e.number for e in self._events() if e.action in (PROMOTE, ROLLBACK)]
            last = f" The last that the history tells of is {known[-1]}." if known else ""
            listed = ", ".join(
                str(n) for n in self._numbers() if _problem(self.folder / str(n), {}) is None
            )
            msg = (
                f"{path}: damaged, it names no version.{last} Set it anew with 'druppel promote'; "
                f"sound versions: {listed or 'none'}."
            )
            raise ModelError(msg) from None
        return pointer

    def _pointer_or_replayed(self) -> _Pointer:
        """Return what the pointer says or, where it is missing or damaged, the history."""
        with contextlib.suppress(ModelError):
            pointer = self._pointer()
            if pointer.number is not None:
                return pointer
        pointer = _Pointer()
        for event in self._events():
            if event.action in (PROMOTE, ROLLBACK):
                pointer = pointer.after(event)
        return pointer

    def _events(self) -> list[Event]:
        try:
            data = (self.folder / HISTORY).read_bytes()
        except OSError:
            return []
        events = []
        for line in data.split(b"\n"):
            with contextlib.suppress(ValueError, RecursionError):
                event = _parse_event(json.loads(line))
                if event is not None:
                    events.append(event)
        return events

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other processes from changing the registry, and mend what a crash left."""
        path = self.folder / _LOCK
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            file = path.open("a+b")
        except OSError as error:
            msg = f"{self.folder}: cannot write there ({error.strerror}). Check the folder."
            raise ModelError(msg) from None
        with file:
            _lock(file, path)
            event = self._last_event()
            if _is_missing(event, self._events()):
                assert event is not None
                self._append(event)  # a crash came between pointer and history
            yield

    def _last_event(self) -> Event | None:
        """Return what made the pointer as it is; None where there is none, or a damaged one."""
        try:
            return self._pointer().event
        except ModelError:
            return None

    def _take_number(self) -> int:
        number = self.next_number()
        with atomic(self.folder / _COUNTER) as stream:
            stream.write(b"%d\n" % (number + 1))
        return number

    def _point(self, pointer: _Pointer) -> None:
        """Replace the pointer, and put its event in the history."""
        assert pointer.event is not None
        said = {
            "number": pointer.number,
            "before": list(pointer.before),
            "event": pointer.event.to_dict(),
        }
        with atomic(self.folder / POINTER) as stream:
            stream.write(_json(said))
        # On the disk before the history is: that never tells what the pointer does not know.
        _sync_folder(self.folder)
        with contextlib.suppress(OSError):  # it is done; the next change adds it
            self._append(pointer.event)

    def _append(self, event: Event) -> None:
        path = self.folder / HISTORY
        with path.open("a+b") as stream:
            end = stream.seek(0, os.SEEK_END)
            if end:
                stream.seek(end - 1)
                if stream.read(1) != b"\n":
                    stream.write(b"\n")  # closes a line that a crash cut short
            stream.write(_json(event.to_dict()))
            stream.flush()
            os.fsync(stream.fileno())


def resolve_model(path: str | Path) -> Path:
    """Return the model folder that a path stands for.

    Parameters
    ----------
    path : str or Path
        A model folder; or a registry, or a project folder with one, of which the current
        version is meant.

    Raises
    ------
    ModelError
        If it is none of these, or the current version is not sound.
    """
    path = Path(path)
    if (path / MANIFEST).is_file():
        return path
    for folder in (path / REGISTRY, path):
        registry = Registry(folder)
        if (folder / POINTER).exists() or registry._has_models():
            return registry.current().folder
    msg = (
        f"{path}: no model there. Looked for {MANIFEST} (a model folder), {POINTER} (a registry) "
        f"and {REGISTRY}/{POINTER} (a project folder). Give the path of one of these."
    )
    raise ModelError(msg)


def link_identical(folder: Path, others: Iterable[Path], *, smallest: int = WORTH_LINKING) -> int:
    """Keep files that two model folders have in common once, as hard links.

    An encoder of 34 MB is the same in every version. A file is linked only where both have the
    checksum of their manifests; where the file system has no links, the copy stays. That is
    safe as long as nobody changes a file in place, and `druppel.store.save_model` never does;
    smaller files, which a person might open in an editor, stay copies.

    Parameters
    ----------
    folder : Path
        The folder whose files are replaced by links.
    others : iterable of Path
    smallest : int, default=1_000_000
        Size in bytes of the smallest file to link.

    Returns
    -------
    int
        Number of bytes saved.
    """
    saved = 0
    manifest, problem = _read_manifest(folder)
    if problem is not None:
        return saved
    hashes: _Hashes = {}
    candidates = [(other, _read_manifest(other)[0].get("sha256", {})) for other in others]
    for name, sha256 in sorted(manifest["sha256"].items()):
        path = folder / name
        for other, known in candidates:
            twin = other / name
            if known.get(name) != sha256 or not (twin.is_file() and path.is_file()):
                continue
            size = path.stat().st_size
            if path.is_symlink() or twin.is_symlink() or size < smallest:
                continue
            if path.samefile(twin):
                break
            if _sha256(twin, hashes) == sha256 == _sha256(path, hashes):
                with contextlib.suppress(OSError, NotImplementedError):
                    _replace_by_link(path, twin)
                    saved += size
                    break
    return saved


def _replace_by_link(path: Path, twin: Path) -> None:
    link = path.with_name(f".{path.name}.link")
    link.unlink(missing_ok=True)
    link.hardlink_to(twin)
    try:
        link.replace(path)
    except OSError:
        link.unlink(missing_ok=True)
        raise


def _open_every_profile(folder: Path) -> None:
    for profile in load_model(folder, FAST).decisions:
        if profile != FAST:
            load_model(folder, profile)


def _copy(source: Path, target: Path) -> None:
    try:
        if not source.is_file():  # a pipe would never end
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        shutil.copyfile(source, target)
    except OSError as error:
        msg = f"{source}: cannot be copied ({error.strerror}). Get the model anew."
        raise ModelError(msg) from None


def _number(name: str) -> int | None:
    """Return the version that a folder name stands for; ``03`` and ``.0`` are none."""
    return int(name) if name.isascii() and name.isdigit() and str(int(name)) == name else None


def _is_number(value: object) -> bool:
    return type(value) is int and value >= 0


def _read_manifest(folder: Path) -> tuple[dict[str, Any], str | None]:
    """Read what the registry needs of a manifest: name, version and checksums.

    Returns
    -------
    manifest : dict
        Empty where it cannot be read.
    problem : str or None
        Why.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except OSError:
        return {}, f"{MANIFEST} is missing"
    except (ValueError, RecursionError):
        return {}, f"{MANIFEST} is damaged"
    found = manifest.get("format") if isinstance(manifest, dict) else None
    if found != FORMAT:
        return {}, f"model format {found!r}; this version of Druppel reads format {FORMAT}"
    files = manifest.get("sha256")
    if (
        not all(isinstance(manifest.get(key), str) for key in ("name", "version"))
        or not isinstance(files, dict)
        or not all(isinstance(sha256, str) for sha256 in files.values())
    ):
        return {}, f"{MANIFEST} is damaged"
    if not all(_is_plain_name(name) for name in files):
        return {}, f"{MANIFEST} names a file outside the model folder"
    return manifest, None


def _is_plain_name(name: str) -> bool:
    return name.isprintable() and Path(name).name == name and "\\" not in name and ":" not in name


def _problem(folder: Path, hashes: _Hashes) -> str | None:
    """Say what is wrong with the files of a version, or None."""
    manifest, problem = _read_manifest(folder)
    if problem is not None:
        return problem
    for name, sha256 in manifest["sha256"].items():
        path = folder / name
        try:
            if not path.is_file():
                return f"{name} is missing"
            if _sha256(path, hashes) != sha256:
                return f"{name} is damaged, its checksum differs"
        except OSError as error:
            return f"{name} cannot be read ({error.strerror})"
    try:
        Taxonomy.load(folder / _TAXONOMY)
    except TaxonomyError:
        return f"{_TAXONOMY} is no taxonomy that this version of Druppel reads"
    return None


def _sha256(path: Path, hashes: _Hashes) -> str:
    """Checksum of a file; of one that several versions share, computed once."""
    with path.open("rb") as stream:
        about = os.fstat(stream.fileno())
        key = (about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns)
        if key not in hashes:
            hashes[key] = hashlib.file_digest(stream, "sha256").hexdigest()
    return hashes[key]


def _written(folder: Path) -> str:
    with contextlib.suppress(OSError):
        moment = datetime.fromtimestamp((folder / MANIFEST).stat().st_mtime, UTC)
        return moment.isoformat(timespec="seconds")
    return ""


def _event(action: str, number: int, previous: int | None, by: str, reason: str) -> Event:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Event(now, action, number, previous, by, reason)


def _is_missing(event: Event | None, events: Iterable[Event]) -> bool:
    """Whether the event of the pointer is not the last of its kind in the history."""
    done = [e for e in events if e.action in (PROMOTE, ROLLBACK)]
    return event is not None and done[-1:] != [event]


def _parse_event(said: Any) -> Event | None:
    """Return the event that a line of the history tells of, or None."""
    if not isinstance(said, Mapping) or set(said) != set(Event.__slots__):
        return None
    event = Event(**said)
    good = (
        all(isinstance(text, str) for text in (event.date, event.by, event.reason))
        and event.action in ACTIONS
        and _is_number(event.number)
        and (event.previous is None or _is_number(event.previous))
    )
    return event if good else None


def _json(value: Mapping[str, Any]) -> bytes:
    # Half a surrogate pair, as an odd user name may hold, can only be escaped.
    line = json.dumps(value, ensure_ascii=False) + "\n"
    return line.encode("utf-8", "backslashreplace")


def _sync_folder(folder: Path) -> None:
    """Put a replaced name on the disk, where the system can do that for a folder."""
    if sys.platform == "win32":
        return
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _lock(file: IO[bytes], path: Path) -> None:
    """Wait for the lock; closing the file, or the end of the process, lets go of it."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            _try_lock(file)
        except OSError as error:
            if error.errno not in _BUSY:
                msg = (
                    f"{path}: cannot be locked ({error.strerror}). Keep the project on a disk of "
                    "this computer."
                )
                raise ModelError(msg) from None
            if time.monotonic() > deadline:
                msg = f"{path.parent}: another druppel is changing it. Wait, and try again."
                raise ModelError(msg) from None
            time.sleep(0.01)
        else:
            return


if sys.platform == "win32":
    import msvcrt

    def _try_lock(file: IO[bytes]) -> None:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _try_lock(file: IO[bytes]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
