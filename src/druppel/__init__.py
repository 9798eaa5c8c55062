"""Druppel tags Dutch free-text feedback with the irritations that customers express.

>>> from druppel import Labeler
>>> labeler = Labeler.load()
>>> labeler.label("Ik hing veertig minuten in de wacht.").irritations
('telefonie',)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "1.3.0"

__all__ = ["DruppelError", "Labeler", "Result", "Taxonomy", "__version__"]

if TYPE_CHECKING:
    from druppel.errors import DruppelError
    from druppel.labeler import Labeler
    from druppel.result import Result
    from druppel.taxonomy import Taxonomy

# Loaded at first use: `import druppel` costs nothing, and `druppel --help` neither.
_HOME = {
    "DruppelError": "druppel.errors",
    "Labeler": "druppel.labeler",
    "Result": "druppel.result",
    "Taxonomy": "druppel.taxonomy",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    msg = f"module 'druppel' has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return sorted(__all__)
