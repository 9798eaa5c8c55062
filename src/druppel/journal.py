"""What a long run has done so far, kept beside its output, so that it can go on after a kill."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from druppel.errors import InputError

_FRAME = struct.Struct(">II")  # length and checksum of what follows
_LEVEL = 1  # of compression: the fastest
_JOB, _ENTRY, _DONE = b"J", b"E", b"D"  # kinds of frames
_SUFFIX = ".druppel-part"


class Journal:
    """Entries in a file that are whole or absent: one that a kill cut short is dropped.

    Parameters
    ----------
    path : Path or None
        None for a file without name, which is gone when this process is.
    job : mapping
        What the work is, as plain data; a journal of other work is not continued.
    resume : bool, default=False
        Whether to go on where an earlier run of the same work ended.

    Attributes
    ----------
    n_entries : int
        Number of entries so far.

    Raises
    ------
    InputError
        If it cannot be written there, or another process is at the same work.
    """

    def __init__(self, path: Path | None, job: Mapping[str, Any], *, resume: bool = False) -> None:
        self.path = path
        self.n_entries = 0
        self.other_work = False
        self.done: dict[str, Any] | None = None
        self._file: IO[bytes] = _open(path)
        key = hashlib.blake2b(json.dumps(job, sort_keys=True).encode(), digest_size=16).hexdigest()
        frames = self._frames() if resume else iter(())
        first = next(frames, None)
        if first is not None and first[:2] == (_JOB, key.encode()):
            end = first[2]
            for kind, data, end in frames:  # noqa: B007 (the last end is wanted)
                if kind == _DONE:
                    self.done = json.loads(data)
                else:
                    self.n_entries += 1
            self._file.seek(end)
            self._file.truncate()
            return
        self.other_work = first is not None
        self._file.seek(0)
        self._file.truncate()
        self._write(_JOB, key.encode())

    def append(self, entry: bytes) -> None:
        """Add an entry; it is on the disk when this returns."""
        self._write(_ENTRY, entry)
        self.n_entries += 1

    def entries(self) -> Iterator[bytes]:
        """Give all entries from the first on."""
        for kind, data, _ in self._frames():
            if kind == _ENTRY:
                yield data

    def finish(self, outcome: Mapping[str, Any]) -> None:
        """Put what came of the work in place of the entries."""
        first = next(self._frames())
        self._file.seek(first[2])
        self._file.truncate()
        self.n_entries = 0
        self.done = dict(outcome)
        self._write(_DONE, json.dumps(self.done).encode())

    def close(self, *, keep: bool) -> None:
        """Close the file, and remove it unless a later run is to go on with it."""
        if self.path is not None and not keep:
            self.path.unlink(missing_ok=True)
        self._file.close()

    def _write(self, kind: bytes, data: bytes) -> None:
        frame = kind + zlib.compress(data, _LEVEL)
        self._file.seek(0, os.SEEK_END)
        self._file.write(_FRAME.pack(len(frame), zlib.crc32(frame)) + frame)
        self._file.flush()
        if self.path is not None:
            os.fsync(self._file.fileno())

    def _frames(self) -> Iterator[tuple[bytes, bytes, int]]:
        """Give the kind and data of each whole frame, with the offset of its end."""
        position = 0
        while True:
            self._file.seek(position)
            head = self._file.read(_FRAME.size)
            if len(head) < _FRAME.size:
                return
            length, checksum = _FRAME.unpack(head)
            frame = self._file.read(length)
            if len(frame) < length or zlib.crc32(frame) != checksum:
                return
            position += _FRAME.size + length
            yield frame[:1], zlib.decompress(frame[1:]), position


def journal_path(target: Path) -> Path:
    """Where the journal of an output stands: beside it, hidden.

    Examples
    --------
    >>> journal_path(Path("uit.csv")).name
    '.uit.csv.druppel-part'
    """
    return target.with_name(f".{target.name}{_SUFFIX}")


def content_hash(path: Path) -> str:
    """Hash of a file's content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "blake2b").hexdigest()[:32]


def _open(path: Path | None) -> IO[bytes]:
    if path is None:
        return tempfile.TemporaryFile()
    try:
        file = path.open("r+b" if path.exists() else "w+b")
    except OSError as error:
        msg = f"{path.parent}: cannot write there ({error.strerror}). Check the folder."
        raise InputError(msg) from None
    try:
        import fcntl
    except ImportError:
        return file  # Windows: two runs for one output are not kept apart
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        msg = f"{path}: another druppel is writing that output. Wait for it, or name another file."
        raise InputError(msg) from None
    return file
