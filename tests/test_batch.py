"""Whole files: every format in and out, several texts a row, kills, poison, and what is told."""

import csv
import gzip
import json
import os
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from tests.conftest import write_jsonl

from druppel import journal as journals
from druppel.batch import CHUNK, Assignment, Run, Summary, TextColumn, files_of, target_in
from druppel.errors import InputError, ModelError
from druppel.labeler import Labeler
from druppel.reading import Opening, open_table
from druppel.workers import Workers

TEXTS = ["lange rij bij de kassa", "de soep was koud en flauw", "", "heerlijk gegeten", "geen"]


@pytest.fixture
def load(tiny_trained):
    return partial(Labeler.load, tiny_trained.folder)


def csv_file(path, texts):
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, delimiter=";")
        writer.writerow(["nr", "antwoord"])
        writer.writerows(enumerate(texts))
    return path


def rows_of(path, **options):
    with open_table(path, Opening(**options)) as table:
        return list(table.read())


def many(count):
    """Texts of which some come again, one of them after thousands of others."""
    return [f"{TEXTS[i % 5]} {i if i % 3 else ''}".strip() for i in range(count)]


# --- formats ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "suffix", ["csv", "tsv", "csv.gz", "jsonl", "jsonl.gz", "xlsx", "parquet", "sav"]
)
def test_every_format_goes_in_and_out(tmp_path, load, suffix):
    if suffix == "sav":
        pytest.importorskip("pyreadstat")
    run = Run(Workers(load))
    source = csv_file(tmp_path / "in.csv", TEXTS)
    there, back = tmp_path / f"heen.{suffix}", tmp_path / "terug.csv"
    kind = suffix.split(".")[0].replace("tsv", "csv")
    run.to_file(str(source), there, kind)
    asked = Run(Workers(load), Assignment((TextColumn("antwoord"),)))
    summary = asked.to_file(str(there), back, "csv")
    rows = rows_of(back)
    assert [row["nr"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert [row["antwoord"] for row in rows] == TEXTS
    assert [row["irritaties"] for row in rows] == ["wachten", "smaak", "", "", ""]
    assert (summary.rows, summary.labelled, summary.empty) == (5, 4, 1)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["in.csv", there.name, "terug.csv"])


def test_spss_keeps_what_it_knows_and_gets_labels(tmp_path, load):
    pyreadstat = pytest.importorskip("pyreadstat")
    import datetime

    import pandas as pd

    frame = pd.DataFrame(
        {
            "resp": [1.0, 2.0, 3.0],
            "geslacht": [1.0, 2.0, 9.0],
            "datum": [datetime.date(2026, 1, 2), None, datetime.date(2025, 12, 31)],
            "cijfer": [7.5, None, 3.0],
            "open": ["lange rij bij de kassa", "", "heerlijk gegeten"],
        }
    )
    pyreadstat.write_sav(
        frame,
        str(tmp_path / "in.sav"),
        file_label="Onderzoek",
        column_labels={"geslacht": "Geslacht", "open": "Wat kan er beter?"},
        variable_value_labels={"geslacht": {1: "man", 2: "vrouw", 9: "onbekend"}},
        missing_ranges={"geslacht": [9]},
        variable_measure={"geslacht": "nominal"},
        variable_format={"cijfer": "F4.1"},
    )
    told = []
    run = Run(Workers(load), Assignment((TextColumn("open"),)), warn=told.append)
    run.to_file(str(tmp_path / "in.sav"), tmp_path / "uit.sav", "sav")
    assert any("its heading as the question" in message for message in told)
    before, old = pyreadstat.read_sav(str(tmp_path / "in.sav"), user_missing=True)
    after, new = pyreadstat.read_sav(str(tmp_path / "uit.sav"), user_missing=True)
    pd.testing.assert_frame_equal(before, after[list(before.columns)])
    for kept in ("file_label",):
        assert getattr(new, kept) == getattr(old, kept)
    for name in before.columns:
        assert new.column_names_to_labels[name] == old.column_names_to_labels[name]
        assert new.variable_measure[name] == old.variable_measure[name]
        assert new.variable_value_labels.get(name) == old.variable_value_labels.get(name)
        assert new.missing_ranges.get(name) == old.missing_ranges.get(name)
    assert new.original_variable_types["cijfer"] == "F4.1"
    assert new.original_variable_types["datum"].startswith("DATE")
    assert list(after["ergernis_wachten"].fillna(-1)) == [1, -1, 0]
    assert list(after["lof_smaak"].fillna(-1)) == [0, -1, 1]
    assert new.column_names_to_labels["ergernis_wachten"] == "Ergernis: Wachten"
    assert new.variable_value_labels["ergernis_wachten"] == {0.0: "nee", 1.0: "ja"}
    assert new.variable_value_labels["sentiment"][1.0] == "negatief"


def test_spss_durations_and_moments_come_back_exactly(tmp_path, load):
    pyreadstat = pytest.importorskip("pyreadstat")
    import pandas as pd

    frame = pd.DataFrame(
        {
            "wacht": [108_000.0, -60.0, 86_400.0],
            "ligduur": [108_000.0, 5.0, None],
            "dag": [13_899_949_200.0, 13_899_945_600.0, None],
            "open": ["lange rij", "geen", "heerlijk gegeten"],
        }
    )
    forms = {"wacht": "TIME8", "ligduur": "DTIME12", "dag": "DATE11"}
    pyreadstat.write_sav(frame, str(tmp_path / "in.sav"), variable_format=forms, note="aantekening")
    run = Run(Workers(load), Assignment((TextColumn("open"),)))
    for suffix in ("sav", "parquet", "xlsx", "jsonl"):
        run.to_file(str(tmp_path / "in.sav"), tmp_path / f"uit.{suffix}", suffix)
    after, meta = pyreadstat.read_sav(str(tmp_path / "uit.sav"), disable_datetime_conversion=True)
    pd.testing.assert_frame_equal(frame, after[list(frame.columns)], check_dtype=False)
    assert {name: meta.original_variable_types[name] for name in forms} == forms
    assert meta.notes == ["aantekening"]


def test_names_that_spss_does_not_allow(tmp_path, load):
    pyreadstat = pytest.importorskip("pyreadstat")
    names = ["1e indruk", "Wat kan er beter?", "all", "Wat kan er beter!", "é" * 60, "nr"]
    write_jsonl(tmp_path / "in.jsonl", [dict.fromkeys(names, "lange rij bij de kassa")])
    run = Run(Workers(load), Assignment((TextColumn(names[0]), TextColumn(names[1]))))
    run.to_file(str(tmp_path / "in.jsonl"), tmp_path / "uit.sav", "sav")
    _, meta = pyreadstat.read_sav(str(tmp_path / "uit.sav"))
    assert all(len(name.encode()) <= 64 for name in meta.column_names)
    assert len({name.lower() for name in meta.column_names}) == len(meta.column_names)
    assert set(names) <= {*meta.column_labels, *meta.column_names}
    assert "Wat_kan_er_beter_ergernis_wachten" in meta.column_names


def test_numbers_and_dates_keep_their_types_in_parquet(tmp_path, load):
    pq = pytest.importorskip("pyarrow.parquet")
    rows = [
        {"nr": 1, "cijfer": 7, "ja": True, "lang": 2**70, "text": "heerlijk gegeten"},
        {"nr": 2, "cijfer": 7.5, "ja": None, "lang": 1, "text": "lange rij"},
    ]
    write_jsonl(tmp_path / "in.jsonl", rows)
    run = Run(Workers(load), Assignment((TextColumn("text"),)))
    run.to_file(str(tmp_path / "in.jsonl"), tmp_path / "uit.parquet", "parquet")
    table = pq.read_table(tmp_path / "uit.parquet")
    types = {f.name: str(f.type) for f in table.schema}
    assert (types["nr"], types["cijfer"], types["ja"]) == ("int64", "double", "bool")
    assert types["lang"] == "string"
    assert types["controleren"] == "bool"
    assert types["sentiment_score"] == "double"
    assert table["lang"].to_pylist() == [str(2**70), "1"]


def test_parquet_keeps_its_metadata_and_masks_a_column_of_numbers(tmp_path, load):
    pa = pytest.importorskip("pyarrow")
    pytest.importorskip("phonenumbers")
    import pyarrow.parquet as pq

    fields = [pa.field("nr", pa.int32(), nullable=False), ("tel", pa.int64())]
    schema = pa.schema(fields, metadata={"bron": "golf 3"})
    table = pa.table({"nr": [1, 2], "tel": [612345678, 12]}, schema=schema)
    pq.write_table(table, tmp_path / "in.parquet")
    run = Run(Workers(load, mask=True), Assignment((TextColumn("tel"),)), mask=True)
    run.to_file(str(tmp_path / "in.parquet"), tmp_path / "uit.parquet", "parquet")
    back = pq.read_table(tmp_path / "uit.parquet")
    assert back["tel"].to_pylist() == ["[TELEFOON]", "12"]
    assert back.schema.field("nr") == fields[0]
    assert back.schema.metadata[b"bron"] == b"golf 3"


def test_more_rows_than_a_sheet_holds_is_told_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr("druppel.batch.EXCEL_ROWS", 4)
    source = csv_file(tmp_path / "in.csv", TEXTS)

    def never():
        raise AssertionError

    with pytest.raises(InputError, match=r"has 5 rows, .* holds 3 .* \.parquet"):
        Run(Workers(never)).to_file(str(source), tmp_path / "uit.xlsx", "xlsx")
    assert [p.name for p in tmp_path.iterdir()] == ["in.csv"]


# --- several texts, several files ---------------------------------------------------------


def test_several_text_columns_each_with_its_question(tmp_path, load):
    write_jsonl(
        tmp_path / "in.jsonl",
        [{"a": "lange rij bij de kassa", "b": "heerlijk gegeten"}, {"a": "", "b": "geen"}],
    )
    columns = (TextColumn("a", "Wat kan er beter?"), TextColumn("b", "Wat ging er goed?"))
    run = Run(Workers(load), Assignment(columns))
    summary = run.to_file(str(tmp_path / "in.jsonl"), tmp_path / "uit.jsonl", "jsonl")
    assert (summary.rows, summary.answers, summary.labelled, summary.empty) == (2, 4, 3, 1)
    first, second = rows_of(tmp_path / "uit.jsonl")
    labeler = load()
    for row in (first, second):
        for column in columns:
            expected = labeler.label(row[column.name], column.question)
            assert row["labels"][column.name] == expected.to_dict()
    run.to_file(str(tmp_path / "in.jsonl"), tmp_path / "uit.csv", "csv")
    flat = rows_of(tmp_path / "uit.csv")
    assert (flat[0]["a_irritaties"], flat[0]["b_smaak"]) == ("wachten", "pos")


def test_a_heading_that_asks_is_the_question(tmp_path, load):
    (tmp_path / "in.csv").write_text("Wat kan er beter?\nlange rij\n", encoding="utf-8")
    told = []
    run = Run(Workers(load), warn=told.append)
    run.to_file(str(tmp_path / "in.csv"), tmp_path / "uit.jsonl", "jsonl")
    (row,) = rows_of(tmp_path / "uit.jsonl")
    with_question = load().label("lange rij", "Wat kan er beter?").to_dict()
    assert {k: row[k] for k in with_question} == with_question
    assert any("its heading as the question" in message for message in told)


def test_folders_and_names_of_outputs(tmp_path):
    for name in ("b.csv", "a.xls", ".verborgen.csv", "lees.docx", "~$a.xlsx"):
        (tmp_path / name).write_text("x")
    assert files_of([str(tmp_path)]) == [str(tmp_path / "a.xls"), str(tmp_path / "b.csv")]
    (tmp_path / "leeg").mkdir()
    with pytest.raises(InputError, match="holds no file"):
        files_of([str(tmp_path / "leeg")])
    names = {("a.xls", None): "a.xlsx", ("a.txt", None): "a.csv", ("a.csv.gz", None): "a.csv.gz"}
    names |= {("a.tsv", "csv"): "a.tsv", ("a.csv.gz", "sav"): "a.sav"}
    for (source, format), name in names.items():
        assert target_in(Path("uit"), source, format) == Path("uit") / name


# --- workers ------------------------------------------------------------------------------


def test_any_number_of_workers_gives_the_same(tmp_path, load):
    format = "jsonl"
    source = csv_file(tmp_path / "in.csv", many(3 * CHUNK + 7))
    outputs = []
    for n in (1, 2, 3):
        target = tmp_path / f"uit{n}.{format}"
        workers = Workers(load, n)
        summary = Run(workers).to_file(str(source), target, format)
        workers.close()
        assert summary.rows == 3 * CHUNK + 7
        outputs.append(target.read_bytes())
    assert outputs[0] == outputs[1] == outputs[2]


class Counting:
    """A labeler that counts, or dies of, certain texts."""

    def __init__(self, load):
        self._labeler = load()
        self.model = self._labeler.model
        self.seen = []

    def label_many(self, texts, questions, scores):
        self.seen += texts
        for text in texts:
            if "gif" in text:
                raise ValueError(text)
            if "dood" in text:
                os._exit(9)
        return self._labeler.label_many(texts, questions, scores)

    def label(self, text, question=None, score=None):
        return next(iter(self.label_many([text], [question], [score])))


def counting(load):
    return Counting(load)


def test_a_text_that_comes_again_is_labelled_once(tmp_path, load):
    labeler = Counting(load)
    source = csv_file(tmp_path / "in.csv", [*["geen", "top"] * CHUNK, "iets anders", "geen"])
    Run(Workers(lambda: labeler)).to_file(str(source), tmp_path / "uit.csv", "csv")
    assert sorted(labeler.seen) == ["geen", "iets anders", "top"]


@pytest.mark.parametrize("n_workers", [1, 2])
def test_a_poisoned_row_costs_only_itself(tmp_path, load, n_workers):
    texts = many(2 * CHUNK)
    texts[700] = "vol gif en geheim-7731"
    if n_workers > 1:
        texts[1001] = "de dood van een proces, geheim-7731"
    source = csv_file(tmp_path / "in.csv", texts)
    workers = Workers(partial(counting, load), n_workers)
    summary = Run(workers).to_file(str(source), tmp_path / "uit.csv", "csv")
    workers.close()
    Run(Workers(load)).to_file(str(source), tmp_path / "goed.csv", "csv")
    rows, good = rows_of(tmp_path / "uit.csv"), rows_of(tmp_path / "goed.csv")
    poisoned = [700, 1001][: summary.failed]
    assert summary.failed == n_workers
    for i, (row, expected) in enumerate(zip(rows, good, strict=True)):
        error = row.pop("error")
        if i in poisoned:
            assert error.startswith("could not be labelled")
            assert "geheim" not in error
            assert row["controleren"] == "ja"
        else:
            assert error == ""
            assert row == expected


@pytest.mark.parametrize("n_workers", [1, 2])
def test_a_model_that_cannot_be_opened_is_told(tmp_path, n_workers):
    source = csv_file(tmp_path / "in.csv", TEXTS)
    workers = Workers(partial(Labeler.load, tmp_path / "weg"), n_workers)
    with pytest.raises(ModelError, match="no model there"):
        Run(workers).to_file(str(source), tmp_path / "uit.csv", "csv")
    workers.close()
    assert [p.name for p in tmp_path.iterdir()] == ["in.csv"]


def test_what_the_machine_lacks_is_no_fault_of_a_row(tmp_path, load):
    class Full(Counting):
        def label_many(self, texts, questions, scores):
            raise OSError(28, "No space left on device")

    source = csv_file(tmp_path / "in.csv", TEXTS)
    with pytest.raises(OSError, match="No space left"):
        Run(Workers(lambda: Full(load))).to_file(str(source), tmp_path / "uit.csv", "csv")


def test_an_unreadable_row_is_kept_with_its_error(tmp_path, load):
    (tmp_path / "in.jsonl").write_text('{"text": "lange rij"}\n{"text": "kapot\n', "utf-8")
    run = Run(Workers(load))
    summary = run.to_file(str(tmp_path / "in.jsonl"), tmp_path / "uit.csv", "csv")
    rows = rows_of(tmp_path / "uit.csv")
    assert [bool(row["error"]) for row in rows] == [False, True]
    assert rows[1]["error"].endswith("in.jsonl:2: not a JSON object")
    assert [row["controleren"] for row in rows] == [rows[0]["controleren"], "ja"]
    assert (summary.labelled, summary.failed) == (1, 1)


def children_of(pid):
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True)
    return {int(word) for word in found.stdout.split()}


# --- kills, full disks ----------------------------------------------------------------------

KILLED = """
import os, random, signal, sys, time
from functools import partial
from pathlib import Path
from druppel.batch import Run
from druppel.journal import journal_path
from druppel.labeler import Labeler
from druppel.workers import Workers

class Slow(Labeler):
    def label_many(self, *given):
        time.sleep(0.02)
        return super().label_many(*given)

model, source, target, format, n_workers, kills = sys.argv[1:]
source, target = source, Path(target)
labeler = Slow.load(model)
load = partial(Slow.load, model) if int(n_workers) > 1 else lambda: labeler
moment = random.Random(7)

def run():
    return Run(Workers(load, int(n_workers))).to_file(source, target, format, resume=True)

def length(target):
    part = journal_path(target)
    return part.stat().st_size if part.exists() else 0

killed = grown = size = 0
for _ in range(int(kills)):
    child = os.fork()
    if not child:
        os.setpgid(0, 0)
        run()
        os._exit(0)
    limit = time.monotonic() + 60 * (int(n_workers) > 1)
    while time.monotonic() < limit:  # processes need some seconds before there is work to kill
        if target.exists() or length(target) > max(size, 100):
            break
        time.sleep(0.05)
    time.sleep(moment.uniform(0, 0.35))
    os.killpg(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    killed += os.WIFSIGNALED(status)
    now = length(target)
    grown += now > size
    size = now
run()
print(killed, grown)
"""


@pytest.mark.parametrize(
    ("format", "n_workers", "kills"), [("csv", 1, 20), ("xlsx", 1, 3), ("jsonl", 2, 2)]
)
def test_killed_at_random_and_resumed_equals_one_run(
    tmp_path, load, tiny_trained, format, n_workers, kills
):
    source = csv_file(tmp_path / "in.csv", many(60 * CHUNK + 11))
    whole, target = tmp_path / f"heel.{format}", tmp_path / f"uit.{format}"
    Run(Workers(load)).to_file(str(source), whole, format)
    script = tmp_path / "gedood.py"
    script.write_text(KILLED, encoding="utf-8")
    given = [script, tiny_trained.folder, source, target, format, n_workers, kills]
    done = subprocess.run(
        [sys.executable, *map(str, given)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    killed, grown = map(int, done.stdout.split())
    assert killed == kills
    assert grown >= (3 if kills > 3 else 1)
    assert rows_of(target) == rows_of(whole)
    if format != "xlsx":  # a workbook holds the time at which it was made
        assert target.read_bytes() == whole.read_bytes()
    left = {p.name for p in tmp_path.iterdir()}
    assert left == {"in.csv", "gedood.py", whole.name, target.name}


@pytest.mark.skipif(os.name != "posix" or not shutil.which("ps"), reason="needs ps")
def test_processes_end_when_the_first_is_killed(tmp_path, tiny_trained):
    source = csv_file(tmp_path / "in.csv", many(200 * CHUNK))
    command = [sys.executable, "-c", "from druppel.cli import main; main()", "label", source]
    command += ["-o", tmp_path / "uit.csv", "--model", tiny_trained.folder, "--workers", "2"]
    process = subprocess.Popen([*map(str, command)], stderr=subprocess.DEVNULL)
    part = journals.journal_path(tmp_path / "uit.csv")
    limit = time.monotonic() + 60
    while time.monotonic() < limit and not (part.exists() and part.stat().st_size > 100):
        time.sleep(0.05)
    children = children_of(process.pid)
    assert len(children) >= 2
    process.kill()
    process.wait()
    while time.monotonic() < limit and any(Path(f"/proc/{pid}").exists() for pid in children):
        time.sleep(0.1)
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)


def test_a_journal_of_other_work_is_not_continued(tmp_path, load):
    told = []
    source = csv_file(tmp_path / "in.csv", many(3 * CHUNK))
    target = tmp_path / "uit.csv"
    run = Run(Workers(load), warn=told.append)

    def broken(*given, **options):
        raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("druppel.batch.write_table", broken)
        with pytest.raises(OSError, match="No space left"):
            run.to_file(str(source), target, "csv")
    assert "with --resume" in told[-1]
    assert journals.journal_path(target).exists()
    csv_file(source, ["heel iets anders"] * 5)
    run.to_file(str(source), target, "csv", resume=True)
    assert any("another input" in message for message in told)
    assert [row["antwoord"] for row in rows_of(target)] == ["heel iets anders"] * 5
    assert not journals.journal_path(target).exists()


def test_after_a_full_disk_the_labels_so_far_are_used(tmp_path, load):
    source = csv_file(tmp_path / "in.csv", many(4 * CHUNK))
    target = tmp_path / "uit.csv"
    written = []

    def full(self, entry):
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        written.append(entry)
        append(self, entry)

    append = journals.Journal.append
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("druppel.journal.Journal.append", full)
        with pytest.raises(OSError, match="No space left"):
            Run(Workers(load)).to_file(str(source), target, "csv")
    assert not target.exists()
    labeler = Counting(load)
    told = []
    Run(Workers(lambda: labeler), warn=told.append).to_file(str(source), target, "csv", resume=True)
    assert any(f"going on after row {2 * CHUNK:,}" in message for message in told)
    assert len(rows_of(target)) == 4 * CHUNK
    assert not {text for text in labeler.seen if text.endswith(tuple("0123456789"))} & set(
        many(2 * CHUNK)
    )


def test_two_runs_do_not_write_one_output(tmp_path, load):
    pytest.importorskip("fcntl")
    source = csv_file(tmp_path / "in.csv", TEXTS)
    target = tmp_path / "uit.csv"
    held = journals.Journal(journals.journal_path(target), {"x": 1})
    with pytest.raises(InputError, match="another druppel"):
        Run(Workers(load)).to_file(str(source), target, "csv")
    held.close(keep=False)
    Run(Workers(load)).to_file(str(source), target, "csv")


# --- what is told -------------------------------------------------------------------------


def test_cells_that_are_no_text_are_counted(tmp_path, load):
    write_jsonl(tmp_path / "in.jsonl", [{"t": "top"}, {"t": 12}, {"t": None}, {"t": 3.5}])
    run = Run(Workers(load), Assignment((TextColumn("t"),)))
    summary = run.to_file(str(tmp_path / "in.jsonl"), tmp_path / "uit.jsonl", "jsonl")
    assert (summary.not_text, summary.first_not_text) == (2, 2)
    assert [row["t"] for row in rows_of(tmp_path / "uit.jsonl")] == ["top", 12, None, 3.5]


def test_a_cut_off_file_gives_the_rows_before(tmp_path, load):
    content = gzip.compress(
        b"nr;antwoord\n" + b"".join(b"%d;lange rij %d\n" % (i, i) for i in range(9000))
    )
    (tmp_path / "in.csv.gz").write_bytes(content[: len(content) // 2])
    told = []
    summary = Run(Workers(load), warn=told.append).to_file(
        str(tmp_path / "in.csv.gz"), tmp_path / "uit.csv", "csv"
    )
    assert summary.cut_off
    assert 1000 < summary.rows < 9000
    assert "cut off" in told[0]
    assert len(rows_of(tmp_path / "uit.csv")) == summary.rows


def test_a_summary_survives_as_json():
    summary = Summary(rows=3, labelled=2, seconds=1.5)
    summary.irritations.update(["smaak", "smaak", "wachten"])
    again = Summary.from_dict(json.loads(json.dumps(summary.to_dict())))
    assert again == summary
    again.merge(summary)
    assert again.irritations["smaak"] == 4
    assert again.rows == 6


def test_masked_texts_leave_without_personal_data(tmp_path, load):
    pytest.importorskip("phonenumbers")
    text = "lange rij bij de kassa, bel mij op 06-12345678 of mail jan@voorbeeld.nl"
    write_jsonl(tmp_path / "in.jsonl", [{"t": text}, {"t": 612345678}, {"t": 12}])
    run = Run(Workers(load, mask=True), Assignment((TextColumn("t"),)), mask=True)
    for suffix in ("jsonl", "csv"):
        run.to_file(str(tmp_path / "in.jsonl"), tmp_path / f"uit.{suffix}", suffix)
        content = (tmp_path / f"uit.{suffix}").read_text(encoding="utf-8")
        assert "06-12345678" not in content
        assert "voorbeeld.nl" not in content
        assert "612345678" not in content
    first, number, other = rows_of(tmp_path / "uit.jsonl")
    assert (number["t"], other["t"]) == ("[TELEFOON]", 12)
    assert first["t"].startswith("lange rij bij de kassa, ")
    assert "[TELEFOON]" in first["t"]
    assert first["aspects"]
    for found in (*first["aspects"], *first["signals"]):
        assert first["t"][found["start"] : found["end"]] == found["evidence"]
