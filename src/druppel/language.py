"""Tell Dutch from other languages, carefully: a short or odd text is taken for Dutch."""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import Any

from druppel.result import DUTCH

# Languages that customers in the Netherlands and Belgium write; fewer candidates make short
# texts surer. Afrikaans is left out: it is too near to Dutch dialect.
_LANGUAGES = (
    *("ar", "bg", "cs", "da", "de", "el", "en", "es", "fa", "fi", "fr", "he", "hi", "hu", "id"),
    *("it", "ja", "ko", "nl", "no", "pl", "pt", "ro", "ru", "sv", "tr", "uk", "zh"),
)
_MIN_WORDS = 4
_KNOWN_SHARE = 0.75
_MIN_CONFIDENCE = 0.8


def detect_language(text: str, known: float) -> str | None:
    """Return the ISO 639-1 code of a text's language, or None where it has no words.

    Parameters
    ----------
    text : str
    known : float
        Share of the words that stood in the model's Dutch training texts; where most did, there
        is nothing to detect.

    Examples
    --------
    >>> detect_language("The parcel never arrived and nobody answers", known=0.2)
    'en'
    >>> detect_language("top service", known=0.5)
    'nl'
    >>> detect_language("🙂 123", known=1.0) is None
    True
    """
    letters = [ch for ch in text if ch.isalpha()]
    if not letters:
        return None
    if known >= _KNOWN_SHARE:
        return DUTCH
    latin = sum("LATIN" in unicodedata.name(ch, "") for ch in letters[:200])
    is_latin = latin > len(letters[:200]) / 2
    if is_latin and len(text.split()) < _MIN_WORDS:
        return DUTCH
    language, confidence = _identifier().classify(text[:5000])
    return language if confidence >= _MIN_CONFIDENCE or not is_latin else DUTCH


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(_LANGUAGES)
    return identifier
