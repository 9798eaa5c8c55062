"""How fast `druppel label` goes through a file, on one and on several workers, and what it holds.

    python benchmarks/batch.py [--rows 20000] [--profile snel] [--workers 1 2] [--format csv]

Answers are made from the corpus: 27 words on average, one in five a bare "geen" or "nvt", three in
ten word for word the same as another. Each run is the installed command in a process of its own,
start included; the columns compare runs of one call, since the speed of a machine differs from
hour to hour. Memory is that of the process and its workers together, at its highest.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import spacy

ROOT = Path(__file__).parents[1]
_SHORT = ("geen", "nvt", "top", "niks", "prima", "-", "goed")
_LOOK = 0.2  # seconds between looks at the memory


def answers(n_rows: int, seed: int = 0) -> Iterator[str]:
    """Give so many answers, realistic in length and in how often one comes again."""
    texts = []
    for path in sorted((ROOT / "training" / "corpus").glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            text = " ".join(json.loads(line)["text"].split())
            if len(text.split()) > 5:
                texts.append(text)
    draw = random.Random(seed)
    for number in range(n_rows):
        if draw.random() < 0.2:
            yield draw.choice(_SHORT)
        else:
            text = draw.choice(texts)
            yield text if draw.random() < 0.3 else f"{text} {number}"


def write(path: Path, n_rows: int) -> int:
    """Write a file of answers; return its number of words."""
    words = 0
    rows = ((number, text) for number, text in enumerate(answers(n_rows)))
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = pa.schema([("nr", pa.int64()), ("antwoord", pa.string())])
        with pq.ParquetWriter(path, schema) as writer:
            for batch in iter(lambda: [r for r, _ in zip(rows, range(10_000), strict=False)], []):
                words += sum(len(text.split()) for _, text in batch)
                columns = [pa.array(column) for column in zip(*batch, strict=True)]
                writer.write_table(pa.Table.from_arrays(columns, schema=schema))
        return words
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, delimiter=";")
        if path.suffix == ".csv":
            writer.writerow(["nr", "antwoord"])
        for number, text in rows:
            words += len(text.split())
            if path.suffix == ".csv":
                writer.writerow([number, text])
            else:
                stream.write(json.dumps({"nr": number, "antwoord": text}, ensure_ascii=False))
                stream.write("\n")
    return words


def run(command: list[str]) -> tuple[float, int]:
    """Run a command; return its seconds and the most bytes that it and its children held."""
    began = time.monotonic()
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    most = 0
    ended = threading.Event()

    def look() -> None:
        nonlocal most
        parent = psutil.Process(process.pid)
        while not ended.wait(_LOOK):
            held = 0
            try:
                for one in (parent, *parent.children(recursive=True)):
                    held += one.memory_info().rss
            except psutil.Error:
                continue
            most = max(most, held)

    watcher = threading.Thread(target=look)
    watcher.start()
    code = process.wait()
    seconds = time.monotonic() - began
    ended.set()
    watcher.join()
    if code:
        sys.exit(f"{' '.join(command)}: exit code {code}")
    return seconds, most


def main() -> None:
    """Run the benchmark and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--profile", nargs="+", default=["snel"])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--format", nargs="+", default=["csv"], choices=["csv", "jsonl", "parquet"])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--model", help="another model folder")
    arguments = parser.parse_args()
    command = str(Path(sys.executable).with_name("druppel"))
    tokeniser = spacy.blank("nl").tokenizer
    texts = list(answers(min(arguments.rows, 20_000)))
    began = time.monotonic()
    for _ in tokeniser.pipe(texts):
        pass
    blank = len(texts) / (time.monotonic() - began)
    print(f"blank tokeniser: {blank:,.0f} texts/s\n")
    print("| format | profile | workers | s | rows/s | x first | x tokeniser | peak MB |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for form in arguments.format:
            source = Path(folder) / f"in.{form}"
            write(source, arguments.rows)
            for profile in arguments.profile:
                first = None
                for n_workers in arguments.workers:
                    best, most = float("inf"), 0
                    for _ in range(arguments.rounds):
                        target = Path(folder) / f"uit.{form}"
                        given = ["label", str(source), "-o", str(target), "--profile", profile]
                        given += ["--workers", str(n_workers), "--text-column", "antwoord"]
                        given += ["--model", arguments.model] if arguments.model else []
                        seconds, held = run([command, *given])
                        best, most = min(best, seconds), max(most, held)
                    first = first or best
                    rate = arguments.rows / best
                    print(
                        f"| {form} | {profile} | {n_workers} | {best:.1f} | {rate:,.0f} | "
                        f"{first / best:.2f} | {rate / blank:.2f} | {most / 1e6:,.0f} |",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
