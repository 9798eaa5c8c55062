"""Split a text into clauses with character offsets into the original.

spaCy's blank Dutch tokeniser finds the words (it knows *zo'n*, *'s*, *d.w.z.*); the rules here
decide after or before which word a clause ends. A clause is the unit of evidence.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spacy.tokenizer import Tokenizer

MIN_TOKENS = 2
"""A clause is not cut off before it has this many tokens."""

LONG_TOKENS = 14
"""From this many tokens on, softer boundaries count too."""

# After these a contrast follows: praise and blame belong in clauses of their own.
_CONTRAST = frozenset(
    ("maar", "echter", "hoewel", "ondanks", "behalve", "daarentegen", "nochtans", "desondanks")
    + ("jammer", "helaas", "spijtig")
)
# These do so only after a comma: "alleen met een brief" is no contrast.
_CONTRAST_AFTER_COMMA = frozenset(("alleen", "enkel", "terwijl", "wel", "al"))
# Before these, "maar" means "only": "maar de helft", "maar twee".
_QUANTITY = re.compile(r"\d.*|een|één|de|het|twee|drie|vier|half|weinig|zelden|beperkt|amper")
# Where a text runs on without punctuation, these begin a new step of the story.
_STEP = frozenset(
    ("en", "dus", "want", "omdat", "toen", "daarna", "vervolgens", "nu", "ook", "verder")
    + ("uiteindelijk", "waarop", "waarna", "of")
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_SENTENCE_END = re.compile(r"[.!?…]+")
_SOFT_END = re.compile(r"[;:,]|-+|–|—")
# Texts beyond this length are tokenised in pieces, so that one monstrous "word" cannot make
# the tokeniser's affix search quadratic.
_PIECE = 2_000
_WORD_AND_OFFSET = ["ORTH", "IDX"]


@dataclass(frozen=True, slots=True)
class Segment:
    """A clause; ``source[start:end] == text`` always holds."""

    text: str
    start: int
    end: int


class Segmenter:
    """Cut texts into clauses.

    Examples
    --------
    >>> segmenter = Segmenter()
    >>> for s in segmenter.split("Vriendelijk geholpen, maar ik hing er 40 minuten aan."):
    ...     print(s.start, s.end, s.text)
    0 21 Vriendelijk geholpen,
    22 53 maar ik hing er 40 minuten aan.
    """

    def __init__(self) -> None:
        import spacy

        self._tokenizer: Tokenizer = spacy.blank("nl").tokenizer

    def split(self, text: str) -> tuple[Segment, ...]:
        """Return the clauses of `text` in order; none for a text of only white space.

        The clauses do not overlap, and what lies between them is white space.
        """
        bounds = self._boundaries(text)
        segments = []
        for start, end in zip([0, *bounds], [*bounds, len(text)], strict=True):
            piece = text[start:end]
            stripped = piece.strip()
            if stripped:
                at = start + piece.index(stripped[0])
                segments.append(Segment(stripped, at, at + len(stripped)))
        return tuple(segments)

    def _tokens(self, text: str) -> list[tuple[str, int]]:
        """Words with their offsets."""
        tokens: list[tuple[str, int]] = []
        strings = self._tokenizer.vocab.strings
        for base in range(0, len(text), _PIECE):
            # Half a surrogate pair cannot be encoded; a stand-in of one character keeps offsets.
            piece = _SURROGATE.sub("\ufffd", text[base : base + _PIECE])
            # As numbers: an object for each token takes longer than finding the tokens.
            numbers = self._tokenizer(piece).to_array(_WORD_AND_OFFSET).tolist()
            tokens += [(strings[word], base + at) for word, at in numbers]
        return tokens

    def _boundaries(self, text: str) -> list[int]:
        """Offsets at which a new clause begins."""
        bounds: list[int] = []
        size = 0  # words in the running clause
        ended = False  # the running clause has closed with . ! ? or a line end
        soft = False  # the previous token was a comma or the like
        tokens = self._tokens(text)
        for number, (word, at) in enumerate(tokens):
            if word.isspace():
                ended = ended or (size > 0 and "\n" in word)
                continue
            if _SENTENCE_END.fullmatch(word):
                ended = size > 0
                continue
            is_word = word.isalnum() or any(ch.isalnum() for ch in word)
            if ended and is_word:
                bounds.append(at)
                size, ended = 0, False
            elif is_word and size >= MIN_TOKENS:
                lower = word.lower()
                contrast = lower in _CONTRAST or (soft and lower in _CONTRAST_AFTER_COMMA)
                if contrast and lower == "maar" and not soft:
                    following = tokens[number + 1][0].lower() if number + 1 < len(tokens) else ""
                    contrast = not _QUANTITY.fullmatch(following)
                if contrast or (size >= LONG_TOKENS and (soft or lower in _STEP)):
                    bounds.append(at)
                    size = 0
            soft = bool(_SOFT_END.fullmatch(word))
            size += is_word
        return bounds
