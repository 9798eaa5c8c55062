"""Print how well personal data is found in the cases, and how fast.

    python benchmarks/masking.py [CASES.jsonl]

Cases with an odd number were used to write the patterns, those with an even number only to
measure. A find counts when its kind and both its ends are right.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from druppel.masking import KINDS, Masker

CASES = Path(__file__).resolve().parents[1] / "tests" / "cases" / "masking.jsonl"


@dataclass
class Score:
    """Counts per kind: what was to be found, what was found, and what is in both."""

    expected: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)

    def precision(self, kind: str) -> float:
        """Share of what was found that is right."""
        return self.right[kind] / self.found[kind] if self.found[kind] else 1.0

    def recall(self, kind: str) -> float:
        """Share of what was to be found that was."""
        return self.right[kind] / self.expected[kind] if self.expected[kind] else 1.0


def read_cases(path: Path = CASES) -> list[dict[str, Any]]:
    """Read the cases: dictionaries with `id`, `text` and `found`."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def finds(masker: Masker, text: str) -> list[tuple[str, str]]:
    """What is found in a text, as the cases write it."""
    return [(item.kind, text[item.start : item.end]) for item in masker.find(text)]


def measure(masker: Masker, cases: list[dict[str, Any]]) -> Score:
    """Count what is found in the cases."""
    score = Score()
    for case in cases:
        expected = Counter((kind, string) for kind, string in case["found"])
        found = Counter(finds(masker, case["text"]))
        for counts, total in (
            (expected, score.expected),
            (found, score.found),
            (expected & found, score.right),
        ):
            for (kind, _), count in counts.items():
                total[kind] += count
    return score


def main() -> None:
    """Print the tables."""
    cases = read_cases(Path(sys.argv[1]) if len(sys.argv) > 1 else CASES)
    began = time.perf_counter()
    masker = Masker()
    started = time.perf_counter() - began
    masker.mask(cases[0]["text"] + " 06 12345678")
    first = time.perf_counter() - began
    odd = measure(masker, [case for case in cases if int(case["id"][1:]) % 2])
    even = measure(masker, [case for case in cases if not int(case["id"][1:]) % 2])
    print("            odd: n  precision  recall    even: n  precision  recall")
    for kind in KINDS:
        row = f"{kind:10}"
        for score in (odd, even):
            row += (
                f"{score.expected[kind]:8d}{score.precision(kind):10.3f}{score.recall(kind):9.3f}"
            )
        print(row)

    words = " ".join(case["text"] for case in cases).split()
    texts = [" ".join(words[at : at + 27]) for at in range(0, len(words) - 27, 9)]
    plain = [case["text"] for case in cases if not case["found"]]
    words = " ".join(plain).split()
    plain = [" ".join(words[at : at + 27]) for at in range(0, len(words) - 27, 3)]
    print(f"\nstart {started:.2f} s, with the first text {first:.2f} s")
    for name, batch in (("cases", texts), ("cases with nothing to mask", plain)):
        began = time.perf_counter()
        for text in batch:
            masker.mask(text)
        print(
            f"{len(batch) / (time.perf_counter() - began):8.0f} texts of 27 words a second: {name}"
        )


if __name__ == "__main__":
    main()
