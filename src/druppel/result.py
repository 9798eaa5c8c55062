"""What a labelled text looks like: frozen values with the field names of the output contract."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

POLARITIES = ("neg", "pos", "neu")
"""Polarity of an aspect; `neg` makes it an irritation."""

SENTIMENTS = ("negatief", "positief", "neutraal", "gemengd")
"""Sentiment of a whole text."""

TABLE_COLUMNS_BEFORE = ("sentiment", "sentiment_score", "irritaties", "signalen", "controleren")
TABLE_COLUMNS_AFTER = ("aspecten", "bewijs", "taal", "model")
"""Columns that Druppel adds to a table, around those of the categories."""

DUTCH = "nl"
"""The language that is labelled; a text in another gets empty labels."""


@dataclass(frozen=True, slots=True)
class Sentiment:
    """Sentiment of a whole text: one of `SENTIMENTS`, and a score from -1 (negative) to 1."""

    label: str
    score: float


@dataclass(frozen=True, slots=True)
class Aspect:
    """One thing the customer talks about, with the words that show it.

    `leaf` is None where only the category is sure. `start` and `end` count characters in
    the original text, so ``text[start:end] == evidence``.
    """

    category: str
    leaf: str | None
    polarity: str
    probability: float
    start: int
    end: int
    evidence: str


@dataclass(frozen=True, slots=True)
class Signal:
    """A loyalty or escalation signal of the whole text, with the words that show it."""

    signal: str
    probability: float
    start: int
    end: int
    evidence: str


@dataclass(frozen=True, slots=True)
class Result:
    """Everything Druppel says of one text.

    Attributes
    ----------
    sentiment : Sentiment or None
        None where there is nothing to judge: an empty text, or one in another language.
    aspects : tuple of Aspect
        Irritations, praise and neutral mentions, in the order of the text.
    signals : tuple of Signal
    language : str or None
        ISO 639-1 code; None where the text has no words.
    review : bool
        True when a person should look: the model is unsure or outside what it knows.
    model : str
        Name and version of the model that labelled the text.
    """

    sentiment: Sentiment | None
    aspects: tuple[Aspect, ...]
    signals: tuple[Signal, ...]
    language: str | None
    review: bool
    model: str

    @property
    def irritations(self) -> tuple[str, ...]:
        """Categories with a negative aspect, in order of first mention, each once."""
        return tuple(dict.fromkeys(a.category for a in self.aspects if a.polarity == "neg"))

    def to_dict(self) -> dict[str, Any]:
        """Return the output contract as plain data, ready for JSON.

        Examples
        --------
        >>> result = Result(None, (), (), None, False, "druppel-nl 1.0.0")
        >>> result.to_dict()["irritations"]
        []
        """
        return {
            "sentiment": _plain(self.sentiment) if self.sentiment else None,
            "irritations": list(self.irritations),
            "aspects": [_plain(aspect) for aspect in self.aspects],
            "signals": [_plain(signal) for signal in self.signals],
            "language": self.language,
            "review": self.review,
            "model": self.model,
        }

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Result:
        """Return the result that `to_dict` gave.

        Examples
        --------
        >>> result = Result(Sentiment("neutraal", 0.0), (), (), "nl", False, "druppel-nl 1.0.0")
        >>> Result.from_dict(result.to_dict()) == result
        True
        """
        return cls(
            sentiment=Sentiment(**found["sentiment"]) if found["sentiment"] else None,
            aspects=tuple(Aspect(**aspect) for aspect in found["aspects"]),
            signals=tuple(Signal(**signal) for signal in found["signals"]),
            language=found["language"],
            review=found["review"],
            model=found["model"],
        )


def _plain(part: Sentiment | Aspect | Signal) -> dict[str, Any]:
    """The fields of a part; `dataclasses.asdict` copies values, eight times as slow."""
    return {name: getattr(part, name) for name in part.__slots__}
