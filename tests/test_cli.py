"""The installed command, as its users run it."""

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from python_calamine import CalamineWorkbook
from tests.conftest import ROOT, tiny_config, tiny_rows, write_jsonl
from tests.test_tables import workbook

from druppel.cli import Mode, Profile
from druppel.model import MODES, PROFILES
from druppel.tables import open_table
from druppel.taxonomy import Taxonomy

EXAMPLE = ROOT / "examples" / "antwoorden.xlsx"


def rows_of(path):
    header, *rows = CalamineWorkbook.from_path(path).get_sheet_by_index(0).to_python()
    return [dict(zip(header, row, strict=True)) for row in rows]


def test_version_and_help(run):
    assert run("--version").stdout.startswith("druppel 1.")
    assert "Usage" in run("--help").stdout
    assert run().returncode == 2


@pytest.mark.parametrize(
    "command", ["label", "train", "evaluate", "explain", "taxonomy", "corpus check"]
)
def test_every_command_has_help(run, command):
    done = run(*command.split(), "--help")
    assert done.returncode == 0
    assert "Usage: druppel " + command in done.stdout


def test_importing_druppel_is_cheap():
    heavy = ("numpy", "sklearn", "spacy", "pandas")
    code = f"import sys, druppel; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_label_a_workbook(run, tmp_path):
    done = run("label", EXAMPLE, "-o", "uit.xlsx")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "12 rows: 11 labelled" in done.stderr
    rows = rows_of(tmp_path / "uit.xlsx")
    source = rows_of(EXAMPLE)
    assert [r["Toelichting"] for r in rows] == [r["Toelichting"] for r in source]
    assert [r["Nummer"] for r in rows] == [r["Nummer"] for r in source]
    assert [r["Datum"] for r in rows] == [r["Datum"] for r in source]
    assert rows[0]["herhaling"] == "neg"
    assert rows[1]["bejegening"] == "pos"
    assert rows[9]["sentiment"] == ""
    assert rows[0]["model"].startswith("druppel-nl ")
    sheets = CalamineWorkbook.from_path(tmp_path / "uit.xlsx").sheet_names
    assert sheets == ["Antwoorden", "Toelichting"]


def test_label_to_a_pipe_is_jsonl_by_the_contract(run):
    jsonschema = pytest.importorskip("jsonschema")
    from druppel.output import json_schema

    done = run("label", EXAMPLE, "-q")
    assert done.returncode == 0
    assert done.stderr == ""
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == 12
    for line in lines:
        jsonschema.validate(line, json_schema())
        for found in (*line["aspects"], *line["signals"]):
            assert line["Toelichting"][found["start"] : found["end"]] == found["evidence"]


def test_label_to_a_list(run):
    done = run("label", EXAMPLE, "--format", "list")
    assert "herhaling/meermaals_contact" in done.stdout
    assert "geen labels" in done.stdout


def test_label_standard_input_lines(run):
    done = run("label", "-", "-q", stdin=b"Veel te duur.\n\nTop!\n")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["text"] for line in lines] == ["Veel te duur.", "", "Top!"]
    assert lines[0]["irritations"] == ["prijs"]


def test_label_standard_input_csv(run):
    content = "nr;tekst\n1;Veel te duur.\n2;Top!\n"
    done = run("label", "-", "--text-column", "tekst", "--format", "csv", stdin=content.encode())
    rows = list(csv.DictReader(done.stdout.splitlines(), delimiter=";"))
    assert [row["nr"] for row in rows] == ["1", "2"]
    assert rows[0]["prijs"] == "neg"
    assert "," in rows[0]["sentiment_score"]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "xlsx", "parquet"])
def test_every_output_format_keeps_rows_and_order(run, tmp_path, suffix):
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    write_jsonl(
        tmp_path / "in.jsonl",
        [{"id": str(i), "text": t, "sentiment": "oud"} for i, t in enumerate(["duur", "", "top"])],
    )
    done = run("label", "in.jsonl", "--text-column", "text", "-o", f"uit.{suffix}")
    assert done.returncode == 0, done.stderr
    with open_table(tmp_path / f"uit.{suffix}") as table:
        rows = list(table.rows)
    assert [row["id"] for row in rows] == ["0", "1", "2"]
    assert [row["text"] or "" for row in rows] == ["duur", "", "top"]
    assert [row["sentiment_input"] for row in rows] == ["oud"] * 3
    assert all(row["model"].startswith("druppel-nl ") for row in rows)


def test_the_question_is_used(run, tmp_path):
    (tmp_path / "in.csv").write_text("vraag,antwoord\nWat kan er beter?,niets\n", encoding="utf-8")
    column = run("label", "in.csv", "--text-column", "antwoord", "--question-column", "vraag", "-q")
    option = run(
        "label", "in.csv", "--text-column", "antwoord", "--question", "Wat kan er beter?", "-q"
    )
    none = run("label", "in.csv", "--text-column", "antwoord", "-q")
    score = [json.loads(d.stdout)["sentiment"]["score"] for d in (column, option, none)]
    assert score[0] == score[1] != score[2]
    assert run("label", "in.csv", "--question", "a", "--question-column", "b").returncode == 2


def test_formulas_do_not_come_alive(run, tmp_path):
    path = workbook(tmp_path / "in.xlsx", [["antwoord"], ["x"]])
    write_jsonl(tmp_path / "in.jsonl", [{"antwoord": "=1+1 te duur"}, {"antwoord": "-slecht"}])
    run("label", "in.jsonl", "-o", "uit.csv")
    run("label", "in.jsonl", "-o", "uit.xlsx")
    assert path.exists()
    with (tmp_path / "uit.csv").open(encoding="utf-8") as lines:
        assert [r["antwoord"] for r in csv.DictReader(lines)] == ["'=1+1 te duur", "'-slecht"]
    assert [r["antwoord"] for r in rows_of(tmp_path / "uit.xlsx")] == ["=1+1 te duur", "-slecht"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["label", "weg.xlsx"], "weg.xlsx: cannot be opened"),
        (
            ["label", EXAMPLE, "--text-column", "Tekst"],
            "No column 'Tekst'. The columns are: Nummer",
        ),
        (["label", EXAMPLE, "-o", "uit.pdf"], "cannot write that kind of file"),
        (["label", EXAMPLE, "-o", "weg/uit.xlsx"], "cannot write there"),
        (["label", EXAMPLE, "-o", EXAMPLE], "is the input"),
        (["label", EXAMPLE, "--model", "weg"], "no model there"),
        (["label", EXAMPLE, "--sheet", "Blad9"], "no readable sheet 'Blad9'"),
        (["train", "weg.toml"], "cannot read the configuration"),
        (["evaluate", "weg.jsonl"], "no .jsonl file"),
        (["taxonomy", "weg.toml"], "cannot read the taxonomy"),
        (["corpus", "check", "weg"], "no .jsonl file"),
    ],
    ids=lambda value: " ".join(map(str, value))[-40:] if isinstance(value, list) else "",
)
def test_expected_failures_are_one_line_and_exit_1(run, tmp_path, arguments, words):
    done = run(*arguments)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_an_unclear_text_column_is_asked_for(run, tmp_path):
    (tmp_path / "in.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    done = run("label", "in.csv")
    assert done.returncode == 1
    assert "--text-column. The columns are: a, b" in done.stderr


def test_wrong_use_is_exit_2(run):
    assert run("label").returncode == 2
    assert run("label", "x.csv", "--bestaat-niet").returncode == 2
    assert run("label", EXAMPLE, "--format", "pdf").returncode == 2
    assert run("label", EXAMPLE, "--format", "list", "-o", "uit.csv").returncode == 2


def test_a_reader_that_leaves_is_no_error(run, tmp_path):
    (tmp_path / "in.txt").write_text("te duur\n" * 5000, encoding="utf-8")
    command = f"{sys.executable} -c 'from druppel.cli import main; main()' label in.txt -q"
    done = subprocess.run(
        f"{command} | head -1",
        shell=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert len(done.stdout.splitlines()) == 1
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_interrupt_leaves_nothing_behind(tmp_path):
    (tmp_path / "in.txt").write_text("De trein was weer te laat vandaag.\n" * 60_000, "utf-8")
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from druppel.cli import main; main()",
            "label",
            "in.txt",
            "-q",
            "-o",
            "uit.csv",
        ],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".uit.csv.*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert [p.name for p in tmp_path.iterdir()] == ["in.txt"]


def test_train_evaluate_and_label_with_an_own_taxonomy(run, tmp_path):
    tiny_config(tmp_path)
    done = run("train", "config.toml")
    assert done.returncode == 0, done.stderr
    assert "irritation.micro" in done.stdout
    assert run("train", "config.toml").returncode == 1
    assert run("train", "config.toml", "--force", "-q").stderr == ""
    figures = json.loads(run("evaluate", "corpus.jsonl", "--model", "model", "--json").stdout)
    assert figures["n_texts"] == len(tiny_rows())
    assert figures["figures"]["irritation.micro"][0] > 0.8
    assert "wachten" in run("evaluate", "corpus.jsonl", "--model", "model").stdout
    line = run("label", "-", "-q", "--model", "model", stdin=b"lange rij bij de kassa\n").stdout
    assert json.loads(line)["irritations"] == ["wachten"]


def test_explain(run):
    done = run("explain", "Ik hing een half uur in de wacht.")
    assert done.returncode == 0
    assert "✓" in done.stdout
    assert "telefonie" in done.stdout
    as_json = json.loads(run("explain", "Top!", "--json").stdout)
    assert as_json["result"]["sentiment"]["label"] == "positief"


def test_taxonomy(run):
    shown = run("taxonomy").stdout
    for label in Taxonomy.load().leaves:
        assert label.slug in shown
    assert len(json.loads(run("taxonomy", "--json").stdout)["leaves"]) == 39


def test_corpus_check(run, tmp_path):
    tiny_config(tmp_path)
    good = run("corpus", "check", "corpus.jsonl", "--taxonomy", "taxonomy.toml")
    assert good.returncode == 0
    assert "in_de_rij" in good.stdout
    write_jsonl(tmp_path / "slecht.jsonl", [{**tiny_rows()[0], "sentiment": "boos"}])
    bad = run("corpus", "check", "slecht.jsonl", "--taxonomy", "taxonomy.toml")
    assert bad.returncode == 1
    assert "slecht.jsonl:1: sentiment must be" in bad.stderr


def test_the_shipped_corpus_is_sound(run):
    done = run("corpus", "check", ROOT / "training" / "corpus", "--min-examples", "60")
    assert done.returncode == 0, done.stderr
    assert "needed" not in done.stderr


def test_no_customer_text_in_messages(run, tmp_path):
    secret = "geheim-merkteken-7731"
    (tmp_path / "in.csv").write_text(f"a,antwoord\n1,{secret},{secret}\n", encoding="utf-8")
    (tmp_path / "in.jsonl").write_text(f'{{"text": "{secret}"}}\n{{"text": "{secret}\n', "utf-8")
    (tmp_path / "gold.jsonl").write_text(f'{{"id": "1", "text": "{secret}"}}\n', "utf-8")
    for arguments in (
        ["label", "in.csv"],
        ["label", "in.jsonl"],
        ["evaluate", "gold.jsonl"],
        ["corpus", "check", "gold.jsonl"],
        ["label", "in.csv", "--text-column", "x"],
    ):
        assert secret not in run(*arguments).stderr


def test_a_late_column_and_a_clash_are_kept(run, tmp_path):
    rows = [{"text": "top", "sentiment": "A"} for _ in range(210)]
    rows[205] |= {"klantnr": "77", "sentiment": "B", "sentiment_input": "C"}
    write_jsonl(tmp_path / "in.jsonl", rows)
    run("label", "in.jsonl", "--text-column", "text", "-o", "uit.csv")
    run("label", "in.jsonl", "--text-column", "text", "-o", "uit.jsonl")
    for name in ("uit.csv", "uit.jsonl"):
        with open_table(tmp_path / name) as table:
            row = list(table.rows)[205]
        assert row["klantnr"] == "77"
        assert (row["sentiment_input2"], row["sentiment_input"]) == ("B", "C")


def test_half_a_surrogate_pair_is_labelled(run, tmp_path):
    (tmp_path / "in.jsonl").write_text('{"text": "x \\ud800 veel te duur"}\n', encoding="utf-8")
    done = run("label", "in.jsonl", "-q")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["irritations"] == ["prijs"]


def test_a_full_disk_is_one_line(tmp_path):
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                "from druppel.cli import main; main()",
                "label",
                EXAMPLE,
                "-q",
                "--format",
                "csv",
            ],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.strip().splitlines() == ["druppel: No space left on device."]


def test_output_follows_a_link(run, tmp_path):
    (tmp_path / "echt.csv").write_text("oud")
    (tmp_path / "link.csv").symlink_to("echt.csv")
    run("label", EXAMPLE, "-o", "link.csv")
    assert (tmp_path / "link.csv").is_symlink()
    assert "irritaties" in (tmp_path / "echt.csv").read_text(encoding="utf-8")


def test_profiles_and_modes_of_the_command_are_those_of_the_model():
    assert tuple(Profile) == PROFILES
    assert tuple(Mode) == MODES


@pytest.mark.parametrize("option", [("--profile", "snelst"), ("--mode", "soepel")])
def test_an_unknown_profile_or_mode_is_wrong_use(run, option):
    done = run("label", EXAMPLE, *option)
    assert done.returncode == 2
    assert option[1] in done.stderr


def labelled(run, *options, stdin):
    done = run("label", "-", "--text-column", "tekst", "--format", "jsonl", *options, stdin=stdin)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_label_with_profile_and_mode(run):
    table = b"tekst\nDe monteur kwam niet opdagen en niemand belde terug.\nTe duur en traag.\n"
    counts = {}
    for mode in MODES:
        rows, _ = labelled(run, "--profile", "snel", "--mode", mode, stdin=table)
        counts[mode] = sum(len(row["aspects"]) for row in rows)
    assert counts["ruim"] > counts["streng"]


def test_label_with_scores(run):
    table = b"tekst;cijfer\nZoals verwacht.;1,0\nZoals verwacht.;5\nZoals verwacht.;nvt\n"
    rows, told = labelled(run, "--score-column", "cijfer", "--score-scale", "5", stdin=table)
    low, high, none = (row["sentiment"]["score"] for row in rows)
    assert low < none < high
    assert "1 scores are no number from 0 to 5" in told
    assert "nvt" not in told


def test_a_score_column_must_exist(run):
    done = run("label", EXAMPLE, "--score-column", "rapport")
    assert done.returncode == 1
    assert "No column 'rapport'" in done.stderr
    assert run("label", EXAMPLE, "--score-scale", "inf").returncode == 2


@pytest.fixture
def cases_file(tmp_path):
    rows = [
        {"id": "c1", "group": "rij", "text": "lange rij bij de kassa", "expect": ["wachten:neg"]},
        {"id": "c2", "group": "rij", "text": "lange rij bij de kassa", "forbid": ["wachten:neg"]},
    ]
    return write_jsonl(tmp_path / "gevallen.jsonl", rows)


def test_evaluate_cases(run, tiny_trained, cases_file):
    done = run("evaluate", "--cases", cases_file, "--model", tiny_trained.folder)
    assert done.returncode == 0, done.stderr
    assert "rij                    1 of   2" in done.stdout
    assert "c2: has wachten:neg" in done.stdout
    assert "irritation.micro" not in done.stdout


def test_evaluate_texts_and_cases_as_json(run, tmp_path, tiny_trained, cases_file):
    gold = write_jsonl(tmp_path / "goud.jsonl", tiny_rows())
    done = run("evaluate", gold, "--cases", cases_file, "--model", tiny_trained.folder, "--json")
    found = json.loads(done.stdout)
    assert found["cases"]["failures"] == {"c2": ["has wachten:neg"]}
    assert found["figures"]["irritation.micro"][0] > 0.9


def test_evaluate_nothing_is_wrong_use(run):
    assert run("evaluate").returncode == 2


def test_bad_cases_are_told_before_any_figure(run, tmp_path, tiny_trained):
    gold = write_jsonl(tmp_path / "goud.jsonl", tiny_rows())
    bad = write_jsonl(tmp_path / "slecht.jsonl", [{"id": "c1"}])
    done = run("evaluate", gold, "--cases", bad, "--model", tiny_trained.folder)
    assert done.returncode == 1
    assert done.stdout == ""
    assert f"{bad}:1: 'group' must be text" in done.stderr


def test_explain_with_a_score(run):
    done = run("explain", "Zoals verwacht.", "--score", "2", "--json")
    low = json.loads(done.stdout)["sentiments"]["negatief"]
    high = json.loads(run("explain", "Zoals verwacht.", "--score", "9", "--json").stdout)
    assert low > high["sentiments"]["negatief"]
