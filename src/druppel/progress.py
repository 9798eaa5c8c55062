"""How long work is shown to a person who waits."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Shown what a run is doing."""

    def begin(self, stage: str, total: int | None) -> None:
        """Begin a stage of so many rows, or an unknown number."""

    def advance(self, rows: int) -> None:
        """So many rows further."""

    def end(self) -> None:
        """Done."""


class NoProgress:
    """Shows nothing."""

    def begin(self, stage: str, total: int | None) -> None:
        """Do nothing."""

    def advance(self, rows: int) -> None:
        """Do nothing."""

    def end(self) -> None:
        """Do nothing."""
