"""A small taxonomy and corpus of our own, and a model trained on them once a session."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from druppel.labeler import Labeler
from druppel.taxonomy import Taxonomy
from druppel.training import Config, Trained, train

ROOT = Path(__file__).parents[1]

TINY_TAXONOMY = """\
format = 1

[[label]]
slug = "wachten"
name_nl = "Wachten"
name_en = "Waiting"
definition = "De klant wacht te lang."
counter_definition = ""
examples = ["Ik wacht al uren."]
seeds = []

[[label]]
slug = "in_de_rij"
parent = "wachten"
name_nl = "In de rij"
name_en = "Queue"
definition = "Wachten in een rij."
counter_definition = ""
examples = []
seeds = []

[[label]]
slug = "op_antwoord"
parent = "wachten"
name_nl = "Op antwoord"
name_en = "For an answer"
definition = "Wachten op antwoord."
counter_definition = ""
examples = []
seeds = []

[[label]]
slug = "smaak"
name_nl = "Smaak"
name_en = "Taste"
definition = "Hoe het smaakt."
counter_definition = ""
examples = []
seeds = []

[[label]]
slug = "eten"
parent = "smaak"
name_nl = "Eten"
name_en = "Food"
definition = "Hoe het eten smaakt."
counter_definition = ""
examples = []
seeds = []

[[signal]]
slug = "weg"
name_nl = "Weg"
name_en = "Leaving"
definition = "De klant gaat weg."
counter_definition = ""
examples = []
seeds = []
"""

_QUEUE = ["een uur in de rij gestaan", "de rij was eindeloos", "lange rij bij de kassa"]
_ANSWER = ["nooit antwoord gekregen", "geen reactie op mijn mail", "niemand schrijft terug"]
_BAD = ["de soep was koud en flauw", "het brood was oud", "taaie biefstuk gegeten"]
_GOOD = ["heerlijk gegeten", "de soep was lekker", "wat een smakelijk brood"]
_LEAVE = ["ik kom nooit meer", "volgende keer ga ik ergens anders heen"]
_NONE = ["geen opmerkingen", "wij waren met zijn vieren", "het was dinsdag"]
# Long enough that the same complaint by two authors is no near duplicate.
_SCENES = [
    "op zaterdag met mijn neef uit Zwolle en zijn drie kinderen",
    "tijdens onze trouwdag vorig voorjaar vlak bij de haven",
    "na het werk in die zaak aan het Marktplein naast de bakker",
    "terwijl mijn schoonmoeder jarig werd en er taart stond",
    "ergens halverwege augustus gedurende een hittegolf buiten",
    "samen met collega's van kantoor vanwege ons jubileum",
]


def tiny_rows() -> list[dict[str, object]]:
    """Labelled texts of six authors, every leaf in company of the others."""
    rows: list[dict[str, object]] = []

    def add(
        author: int,
        text: str,
        aspects: list[tuple[str, str, str]],
        sentiment: str,
        signals: tuple[str, ...] = (),
    ) -> None:
        rows.append(
            {
                "id": f"t{len(rows)}",
                "text": text,
                "aspects": [
                    {"leaf": leaf, "polarity": polarity, "evidence": evidence}
                    for leaf, polarity, evidence in aspects
                ],
                "sentiment": sentiment,
                "signals": list(signals),
                "author": f"auteur {author}",
            }
        )

    for author in range(6):
        for i in range(3):
            queue, answer = _QUEUE[i], _ANSWER[(i + author) % 3]
            bad, good = _BAD[(i + author) % 3], _GOOD[(i + 2 * author) % 3]
            place = _SCENES[author]
            add(author, f"{queue} {place}", [("in_de_rij", "neg", queue)], "negatief")
            add(author, f"{answer} {place}", [("op_antwoord", "neg", answer)], "negatief")
            add(author, f"{place} {bad}", [("eten", "neg", bad)], "negatief")
            add(author, f"{place} {good}", [("eten", "pos", good)], "positief")
            add(
                author,
                f"{good.capitalize()} {place}, maar {queue}.",
                [("eten", "pos", good.capitalize()), ("in_de_rij", "neg", queue)],
                "gemengd",
            )
            leave = _LEAVE[(i + author) % 2]
            add(author, f"{place} {bad}. {leave}!", [("eten", "neg", bad)], "negatief", ("weg",))
            add(author, f"{_NONE[i]} {place}", [], "neutraal")
    return rows


def write_jsonl(path: Path, rows: list[dict[str, object]]) -> Path:
    """Write rows as JSONL."""
    path.write_text(
        "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8"
    )
    return path


def tiny_config(folder: Path, **changes: object) -> Path:
    """Write taxonomy, corpus and a configuration to a folder; return the configuration's path."""
    (folder / "taxonomy.toml").write_text(TINY_TAXONOMY, encoding="utf-8")
    write_jsonl(folder / "corpus.jsonl", tiny_rows())
    shipped = (ROOT / "training" / "config.toml").read_text(encoding="utf-8")
    values = {
        "name": "klein",
        "version": "0.1",
        "output": "model",
        "taxonomy": "taxonomy.toml",
        "corpus": "corpus.jsonl",
        "encoder": "",
        "cases": "",
        "folds": 3,
        "test_share": 0.2,
        "min_positives": 2,
        **changes,
    }
    lines = []
    for line in shipped.splitlines():
        key = line.split("=")[0].strip()
        lines.append(f"{key} = {json.dumps(values[key])}" if key in values else line)
    path = folder / "config.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tiny_taxonomy() -> Taxonomy:
    """Three leaves under two categories, and one signal."""
    return Taxonomy.parse(TINY_TAXONOMY)


@pytest.fixture(scope="session")
def tiny_trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A model trained on the small corpus."""
    return train(Config.load(tiny_config(tmp_path_factory.mktemp("klein"))))


@pytest.fixture(scope="session")
def tiny_encoded(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The same with the encoder of the model that ships."""
    encoder = str(ROOT / "models" / "druppel-nl")
    folder = tmp_path_factory.mktemp("klein-encoder")
    return train(Config.load(tiny_config(folder, encoder=encoder)))


@pytest.fixture(scope="session")
def labeler() -> Labeler:
    """The model that ships."""
    return Labeler.load()


@pytest.fixture(scope="session")
def fast_labeler() -> Labeler:
    """The model that ships, without its encoder."""
    return Labeler.load(profile="snel")


@pytest.fixture
def run(tmp_path: Path):
    """Run the installed command in an empty folder and return the finished process."""
    command = shutil.which("druppel", path=str(Path(sys.executable).parent)) or "druppel"

    def _run(*args: object, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [command, *map(str, args)],
            input=stdin,
            capture_output=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONUTF8": "1"},
            check=False,
        )
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
        )

    return _run
