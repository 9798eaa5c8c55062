"""A project folder, without training."""

import json
import shutil
from dataclasses import replace

import openpyxl
import pytest

from druppel.corrections import MEASUREMENT, TRAINING, Decision, GoldAspect
from druppel.errors import ConfigError, InputError
from druppel.project import Examples, Project, init

NEW = """
[[label]]
slug = "planten"
name_nl = "Planten"
definition = "Hoe de planten erbij staan."

[[label]]
slug = "plant_dood"
parent = "planten"
name_nl = "Dode plant"
definition = "Een plant die dood of ziek is."
"""


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """A project as `init` makes it; copy it before changing it."""
    return init(tmp_path_factory.mktemp("project") / "tuin").project.folder


@pytest.fixture
def folder(fresh, tmp_path):
    return shutil.copytree(fresh, tmp_path / "tuin")


def decide(text, *leaves, date="2026-01-01T00:00:00+00:00", part=TRAINING, analyst="noor"):
    aspects = tuple(GoldAspect(leaf, "neg") for leaf in leaves)
    return Decision(text, aspects, "negatief", (), date=date, part=part, analyst=analyst)


def fill(path, rows):
    """Write rows into a sheet, by heading."""
    book = openpyxl.load_workbook(path)
    sheet = book["Beoordelen"]
    column = {cell.value: cell.column for cell in sheet[1]}
    for number, row in enumerate(rows, start=2):
        for heading, value in row.items():
            if heading not in column:
                column[heading] = sheet.max_column + 1
                sheet.cell(1, column[heading], heading)
            sheet.cell(number, column[heading], value)
    book.save(path)


def test_init_leaves_a_folder_in_use_alone(folder):
    with pytest.raises(ConfigError, match="not empty"):
        init(folder)
    project = Project.load(folder / "correcties.xlsx" / "..")
    assert project.registry.current().number == 0
    assert len(project.held_out()[0].texts) > 1_000


CONFIGS = {
    "unknown": ("weigth = 2\n", "did you mean 'weight'"),
    "negative": ("own_c = -1\n", "must be a number above 0"),
    "text": ('weight = "3"\n', "must be a number above 0"),
    "share": ("review_share = 1.5\n", "below 1"),
}


@pytest.mark.parametrize("case", CONFIGS)
def test_a_wrong_setting_is_named(case, folder):
    line, words = CONFIGS[case]
    (folder / "druppel.toml").write_text(f'format = 1\nname = "x"\n{line}', encoding="utf-8")
    with pytest.raises(ConfigError, match=words):
        Project.load(folder)


def test_outside_a_project(run):
    done = run("corrections", "list")
    assert done.returncode == 1
    assert "druppel init" in done.stderr


def test_labels_of_ones_own_become_a_taxonomy(tmp_path):
    rows = [
        ("geen stroom", "gebouw > stroom"),
        ("lamp stuk", "Gebouw > Verlichting | gebouw > stroom"),
        ("te duur", "prijs"),
        ("3 weken", "2e lijn > wachten"),
        ("", "prijs"),
        ("zonder label", " "),
    ]
    begun = init(tmp_path / "eigen", examples=Examples(rows, "x.csv", measure_share=0.25))
    project = begun.project
    assert (begun.n_examples, begun.n_without) == (4, 2)
    assert project.origins.fresh
    # The shipped taxonomy has a category `prijs`; this is another one.
    assert "prijs" not in project.taxonomy.names
    assert "prijs" in project.taxonomy.names.values()
    decisions = project.history.state().decisions
    assert sum(d.part == MEASUREMENT for d in decisions) == 1
    assert [len(d.aspects) for d in decisions] == [1, 2, 1, 1]
    assert {d.sentiment for d in decisions} == {None}
    assert [s.slug for s in project.taxonomy.signals] == [
        s.slug for s in project.base_taxonomy.signals
    ]


def test_examples_without_labels_are_refused(tmp_path):
    with pytest.raises(InputError, match="both a text and a label"):
        init(tmp_path / "leeg", examples=Examples([("a", "")], "x.csv"))


def test_what_measures_is_not_learnt(folder):
    project = Project.load(folder)
    text = "De kassamedewerker gaf mij bij het afrekenen veel te weinig wisselgeld terug."
    project.history.add(
        [
            decide(text, "onvriendelijk", part=MEASUREMENT),
            decide(f"{text} Jammer", "onvriendelijk"),
            decide("De rozenstruik was al na twee dagen helemaal verdord.", "kwaliteit"),
        ]
    )
    material = project.material()
    assert (len(material.training), material.left_out) == (1, 1)
    assert [len(one.texts) for one in project.held_out()][1] == 1


def test_decisions_older_than_a_label_do_not_deny_it(folder):
    taxonomy = folder / "taxonomie.toml"
    taxonomy.write_text(taxonomy.read_text(encoding="utf-8") + NEW, encoding="utf-8")
    project = Project.load(folder)
    old, first, later = (
        decide(f"verhaal {i} over een plant", leaf, date=f"2026-0{i}-01T00:00:00+00:00")
        for i, leaf in ((1, "kwaliteit"), (2, "plant_dood"), (3, "kwaliteit"))
    )
    project.history.add([old, first, later])
    assert project.material().unlooked == {"plant_dood": frozenset({old.key})}


def test_an_analyst_that_is_named_goes_before_the_sheet(folder, run):
    sheet = folder / "correcties.xlsx"
    row = {
        "tekst": "Te duur.",
        "sentiment": "negatief",
        "label 1": "te_duur",
        "polariteit 1": "neg",
    }
    fill(sheet, [{**row, "gecontroleerd": "ja", "analist": "root"}])
    assert run("corrections", "add", sheet, "--project", folder).returncode == 0
    fill(sheet, [{**row, "sentiment": "neutraal"}])
    done = run("corrections", "add", sheet, "--project", folder, "--analyst", "Piet")
    assert "the sheet names root" in done.stderr
    assert "1 texts are in conflict" in done.stderr
    (conflict,) = Project.load(folder).history.state().conflicts
    assert {d.analyst for d in conflict.decisions} == {"root", "Piet"}


def test_a_damaged_current_model_can_be_replaced(folder, run):
    registry = Project.load(folder).registry
    spare = registry.admit(folder / "modellen" / "0", "reserve")
    (folder / "modellen" / "0" / "words.txt").unlink()
    assert run("label", "-", "--model", folder, stdin=b"tekst").returncode == 1
    added = run("models", "add", spare.folder, "--project", folder)
    assert added.returncode == 0, added.stderr
    done = run("promote", spare.number, "--project", folder)
    assert done.returncode == 0, done.stderr
    assert "cannot be opened" in done.stderr
    listed = json.loads(run("models", "list", "--json", "--project", folder).stdout)
    assert [v["number"] for v in listed["versions"] if v["current"]] == [spare.number]


def test_a_split_must_be_chosen(folder, run, tmp_path):
    project = Project.load(folder)
    project.history.add([decide("Xyz abc qwerty.", "te_duur")])
    plan = tmp_path / "plan.toml"
    plan.write_text(
        '[[split]]\nfrom = "te_duur"\ninto = ["abonnement_duur", "artikel_duur"]\n',
        encoding="utf-8",
    )
    tried = run("taxonomy", "migrate", plan, "--dry-run", "--project", folder)
    assert "nog niets veranderd" in tried.stdout
    assert Project.load(folder).counts().get("te_duur", 0) > 1
    sheet = tmp_path / "splitsen.xlsx"
    done = run("taxonomy", "migrate", plan, "-o", sheet, "--project", folder)
    assert done.returncode == 0, done.stderr
    assert not Project.load(folder).history.state().decisions
    fill(sheet, [{"gecontroleerd": "ja"}])
    refused = run("corrections", "add", sheet, "--project", folder)
    assert refused.returncode == 1
    assert "abonnement_duur" in refused.stderr
    fill(sheet, [{"label 1": "prijs/artikel_duur"}])
    assert run("corrections", "add", sheet, "--project", folder).returncode == 0
    (decision,) = Project.load(folder).history.state().decisions
    assert [a.leaf for a in decision.aspects] == ["artikel_duur"]
    assert replace(decision, aspects=()).part == TRAINING


def test_an_empty_sheet_has_todays_labels(folder, run, tmp_path):
    taxonomy = folder / "taxonomie.toml"
    taxonomy.write_text(taxonomy.read_text(encoding="utf-8") + NEW, encoding="utf-8")
    sheet = tmp_path / "leeg.xlsx"
    assert run("corrections", "sheet", "-o", sheet, "--project", folder).returncode == 0
    words = {
        cell for row in openpyxl.load_workbook(sheet)["Lijsten"].values for cell in row if cell
    }
    assert "planten/plant_dood" in words
    assert run("corrections", "sheet", "-o", sheet, "--project", folder).returncode == 1
