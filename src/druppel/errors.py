"""Errors that a user can act on.

Every message says what is wrong, where, and what to do next. No message ever holds a
customer's text: feedback is personal data.
"""


class DruppelError(Exception):
    """Base of all errors that Druppel raises on purpose."""


class InputError(DruppelError):
    """A file, column, row or argument that cannot be used as it is."""


class TaxonomyError(DruppelError):
    """A taxonomy file that is broken or contradicts itself."""


class CorpusError(DruppelError):
    """Labelled texts that are malformed or carry impossible labels."""


class ConfigError(DruppelError):
    """A training configuration that is incomplete or has impossible values."""


class ModelError(DruppelError):
    """A model folder that is missing, damaged or of another format."""


def summarise(problems: list[str], *, limit: int = 10) -> str:
    """Join a list of problems into one message, the first `limit` of them in full.

    Parameters
    ----------
    problems : list of str
        Each says what and where.
    limit : int, default=10
        How many are shown before only their count is.

    Returns
    -------
    str

    Examples
    --------
    >>> summarise(["a.jsonl:1: no text"])
    'a.jsonl:1: no text'
    >>> print(summarise(["one", "two", "three"], limit=2))
    one
    two
    … and 1 more.
    """
    shown = problems[:limit]
    if len(problems) > limit:
        shown.append(f"… and {len(problems) - limit} more.")
    return "\n".join(shown)
