"""The installed command, as its users run it."""

import csv
import gzip
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from python_calamine import CalamineWorkbook
from tests.conftest import ROOT, tiny_config, tiny_rows, write_jsonl
from tests.test_reading import workbook

from druppel.cli import Mode, Profile
from druppel.model import MODES, PROFILES
from druppel.reading import open_table
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
        rows = list(table.read())
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
            "no column 'Tekst'. The columns are: Nummer",
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
            row = list(table.read())[205]
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
    assert "no column 'rapport'" in done.stderr
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


# --- batches ------------------------------------------------------------------------------


@pytest.fixture
def small(run, tiny_trained):
    """The command with the small model, which opens fast."""

    def _run(*arguments, **options):
        return run("label", *arguments, "--model", tiny_trained.folder, **options)

    return _run


def test_a_folder_gives_a_folder(small, tmp_path):
    source = tmp_path / "golf"
    source.mkdir()
    (source / "a.csv").write_text("nr;antwoord\n1;lange rij\n", encoding="utf-8")
    (source / "b.txt").write_text("heerlijk gegeten\n", encoding="utf-8")
    workbook(source / "c.xlsx", [["antwoord"], ["koude soep"], ["geen"]])
    done = small("golf", "-o", "uit", "--summary", "samen.json")
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in (tmp_path / "uit").iterdir()) == ["a.csv", "b.csv", "c.xlsx"]
    assert "3 files: 4 rows: 4 labelled" in done.stderr
    found = json.loads((tmp_path / "samen.json").read_text(encoding="utf-8"))
    assert (found["rows"], found["model"]) == (4, "klein 0.1")
    assert [Path(file["output"]).name for file in found["files"]] == ["a.csv", "b.csv", "c.xlsx"]
    assert found["irritations"]["wachten"] == 1
    again = small("golf", "-o", "uit2", "--format", "parquet", "-q")
    assert again.returncode == 0
    assert again.stderr == ""
    names = sorted(p.name for p in (tmp_path / "uit2").iterdir())
    assert names == ["a.parquet", "b.parquet", "c.parquet"]


def test_one_bad_file_does_not_cost_the_others(small, tmp_path):
    (tmp_path / "a.csv").write_text("", encoding="utf-8")
    (tmp_path / "b.csv").write_text("nr;antwoord\n1;lange rij\n", encoding="utf-8")
    done = small("a.csv", "b.csv", "-o", "uit")
    assert done.returncode == 1
    assert "a.csv: empty" in done.stderr
    assert "1 of 2 files could not be labelled" in done.stderr
    assert [p.name for p in (tmp_path / "uit").iterdir() if not p.name.startswith(".")] == ["b.csv"]


def test_finished_files_are_not_labelled_again(small, tmp_path):
    (tmp_path / "a.csv").write_text("nr;antwoord\n1;lange rij\n", encoding="utf-8")
    (tmp_path / "b.csv").write_text("", encoding="utf-8")
    small("a.csv", "b.csv", "-o", "uit")
    (tmp_path / "b.csv").write_text("nr;antwoord\n1;lekker gegeten\n", encoding="utf-8")
    done = small("a.csv", "b.csv", "-o", "uit", "--resume")
    assert done.returncode == 0, done.stderr
    assert "a.csv: was labelled before" in done.stderr
    assert sorted(p.name for p in (tmp_path / "uit").iterdir()) == ["a.csv", "b.csv"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a.csv", "b.csv", "-o", "uit.csv"], "Name a folder"),
        (["a.csv", "a.jsonl", "-o", "uit", "--format", "csv"], "would hold both"),
        (["a.csv", "b.csv", "-o", "."], "is the input"),
        (["leeg", "-o", "uit"], "holds no file"),
        (["a.csv", "-o", "uit.ods"], "cannot write that kind of file"),
        (["a.csv", "--summary", "weg/s.json"], "cannot write there"),
        (["a.csv", "--summary", "a.csv"], "is an input or output"),
        (["a.csv", "-o", "uit.csv", "--summary", "uit.csv"], "is an input or output"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_impossible_outputs_are_told_before_the_work(small, tmp_path, arguments, words):
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("antwoord\nlange rij\n", encoding="utf-8")
    (tmp_path / "a.jsonl").write_text('{"antwoord": "x"}\n', encoding="utf-8")
    (tmp_path / "leeg").mkdir()
    done = small(*arguments)
    assert done.returncode == 1
    assert words in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    "options",
    [
        ["--resume"],
        ["--question", "a", "--question", "b"],
        ["--text-column", "x", "--text-column", "x"],
        ["--text-column", "x", "--text-column", "y", "--question", "a", "--question-column", "z"],
        ["--workers", "0"],
    ],
    ids=" ".join,
)
def test_wrong_use_of_batches_is_exit_2(run, options):
    assert run("label", EXAMPLE, *options).returncode == 2


def test_a_target_without_suffix_takes_the_format_named(small, tmp_path):
    (tmp_path / "in.csv").write_text("antwoord\nlange rij\n", encoding="utf-8")
    assert small("in.csv", "-o", "/dev/null", "--format", "csv").returncode == 0
    assert small("in.csv", "-o", "uit", "--format", "jsonl").returncode == 0
    assert json.loads((tmp_path / "uit").read_text())["irritations"] == ["wachten"]


def test_an_unexpected_error_shows_no_cell(tmp_path, tiny_trained):
    secret = "geheim-merkteken-7731"
    (tmp_path / "in.csv").write_text(f"antwoord\n{secret}\n", encoding="utf-8")
    code = (
        "import druppel.writing as w\n"
        "def broken(stream, rows, *rest): raise ValueError(str(list(rows)))\n"
        "w._WRITERS['csv'] = broken\n"
        "from druppel.cli import main; main()"
    )
    command = [sys.executable, "-c", code, "label", "in.csv", "-o", "uit.csv"]
    command += ["--model", str(tiny_trained.folder)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "unexpected ValueError" in done.stderr
    assert secret not in done.stderr
    assert "Traceback" not in done.stderr


def test_two_questions_in_one_pass(small, tmp_path):
    (tmp_path / "in.csv").write_text("a;b\nlange rij;heerlijk gegeten\n", encoding="utf-8")
    columns = ["--text-column", "a", "--text-column", "b"]
    questions = ["--question", "Wat kan er beter?", "--question", "Wat ging er goed?"]
    done = small("in.csv", "-o", "uit.xlsx", *columns, *questions)
    assert done.returncode == 0, done.stderr
    assert "1 rows with 2 answers: 2 labelled" in done.stderr
    (row,) = rows_of(tmp_path / "uit.xlsx")
    assert (row["a_irritaties"], row["b_sentiment"]) == ("wachten", "positief")


def test_mask_on_the_command(small, tmp_path):
    pytest.importorskip("phonenumbers")
    (tmp_path / "in.csv").write_text("antwoord\nlange rij, bel 06-12345678\n", encoding="utf-8")
    lines = small("in.csv", "--mask", "-q").stdout
    assert json.loads(lines)["antwoord"] == "lange rij, bel [TELEFOON]"
    assert "12345678" not in small("in.csv", "--mask", "--format", "list").stdout


def test_a_compressed_pipe_and_a_cut_off_file(small, tmp_path):
    lines = "".join(f"lange rij nummer {i * 7919}\n" for i in range(3000))
    data = gzip.compress(lines.encode())
    done = small("-", "-q", stdin=data)
    assert len(done.stdout.splitlines()) == 3000
    (tmp_path / "in.txt.gz").write_bytes(data[: len(data) // 2])
    cut = small("in.txt.gz", "-o", "uit.csv")
    assert cut.returncode == 1
    assert "cut off" in cut.stderr
    assert (tmp_path / "uit.csv").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_processes_end_promptly_when_broken_off(tmp_path, tiny_trained, number):
    (tmp_path / "in.txt").write_text(
        "".join(f"De rij was weer lang {i}.\n" for i in range(100_000)), "utf-8"
    )
    command = [sys.executable, "-c", "from druppel.cli import main; main()", "label", "in.txt"]
    command += ["-o", "uit.csv", "--model", str(tiny_trained.folder), "--workers", "2", "-q"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    part = tmp_path / ".uit.csv.druppel-part"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (part.exists() and part.stat().st_size > 100):
        time.sleep(0.05)
    began = time.monotonic()
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert time.monotonic() - began < 15
    assert "Traceback" not in errors
    assert [p.name for p in tmp_path.iterdir()] == ["in.txt"]


def test_a_full_disk_keeps_the_labels_for_a_resumed_run(tmp_path, tiny_trained):
    resource = pytest.importorskip("resource")
    (tmp_path / "in.txt").write_text(
        "".join(f"een uur in de rij gestaan bij de kassa {i}\n" for i in range(6000)),
        encoding="utf-8",
    )
    command = [sys.executable, "-c", "from druppel.cli import main; main()", "label", "in.txt"]
    command += ["-o", "uit.csv", "--model", str(tiny_trained.folder)]

    def small_disk():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    full = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, preexec_fn=small_disk, check=False
    )
    assert full.returncode == 1
    assert "the labels so far are kept" in full.stderr
    assert "File too large" in full.stderr
    assert not (tmp_path / "uit.csv").exists()
    done = subprocess.run(
        [*command, "--resume"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "going on after row" in done.stderr
    with open_table(tmp_path / "uit.csv") as table:
        rows = list(table.read())
    assert len(rows) == 6000
    assert all(row["irritaties"] == "wachten" and "error" not in row for row in rows)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.txt", "uit.csv"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_bar_is_shown_on_a_terminal_only(tmp_path, tiny_trained):
    import os
    import pty

    (tmp_path / "in.txt").write_text(
        "".join(f"De rij was weer lang {i}.\n" for i in range(4000)), encoding="utf-8"
    )
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", "from druppel.cli import main; main()", "label", "in.txt"]
    command += ["-o", "uit.csv", "--model", str(tiny_trained.folder)]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    process = subprocess.Popen(
        command, cwd=tmp_path, stderr=theirs, stdout=subprocess.PIPE, env=environment
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            chunk = os.read(ours, 4096)
        except OSError:
            break
        if not chunk:
            break
        shown += chunk
    process.communicate()
    os.close(ours)
    text = shown.decode("utf-8", "replace")
    assert process.returncode == 0
    assert "labelling" in text
    assert "/4000" in text
    assert "left" in text
    assert "4,000 rows: 4,000 labelled" in text
