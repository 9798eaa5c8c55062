import pytest
from tests.conftest import TINY_TAXONOMY

from druppel.errors import TaxonomyError
from druppel.taxonomy import Taxonomy

ENTRY = """
[[label]]
slug = "{slug}"
{parent}
name_nl = "N"
name_en = "N"
definition = ""
counter_definition = ""
examples = []
seeds = []
"""


def entry(slug, parent=None):
    return ENTRY.format(slug=slug, parent=f'parent = "{parent}"' if parent else "")


def test_shipped_taxonomy_is_complete():
    taxonomy = Taxonomy.load()
    assert (len(taxonomy.categories), len(taxonomy.leaves), len(taxonomy.signals)) == (14, 39, 5)
    for label in (*taxonomy.categories, *taxonomy.leaves, *taxonomy.signals):
        assert label.name_nl
        assert label.name_en
        assert label.definition
        assert label.counter_definition
        assert label.seeds
    assert all(label.examples for label in (*taxonomy.leaves, *taxonomy.signals))


def test_leaves_know_their_category(tiny_taxonomy):
    assert tiny_taxonomy.parent == {
        "in_de_rij": "wachten",
        "op_antwoord": "wachten",
        "eten": "smaak",
    }
    assert tiny_taxonomy.names["in_de_rij"] == "In de rij"


@pytest.mark.parametrize(
    ("source", "line", "words"),
    [
        ("format = 1\n" + entry("a") + entry("b", "a") + entry("a"), 23, "stands at line 3"),
        ("format = 1\n" + entry("a") + entry("b", "x"), 13, "does not exist"),
        ("format = 1\n" + entry("aap") + entry("b", "aapp"), 13, "did you mean 'aap'"),
        ("format = 1\n" + entry("a", "b") + entry("b", "a"), 3, "cycle a → b → a"),
        ("format = 1\n" + entry("a", "a"), 3, "cycle a → a"),
        (
            "format = 1\n" + entry("a") + entry("b", "a") + entry("c", "b"),
            23,
            "more than two levels",
        ),
        ("format = 1\n" + entry("a"), 3, "has no leaf"),
        ("format = 1\n" + entry("Aap") + entry("b", "Aap"), 3, "must be lower-case"),
        ("format = 1\nlabels = 3\n", 2, "did you mean 'label'"),
        ("format = 1\n" + entry("model") + entry("b", "model"), 3, "name of a column"),
        ("format = 2\n" + entry("a") + entry("b", "a"), 1, "'format' must be 1"),
        ("format = 1\n", 1, "no [[label]] entries"),
        ("format = 1\n\n[[label]]\nslug = 'a'\nnames_nl = 'x'\n", 3, "unknown key 'names_nl'"),
        ("format = 1\n\n[[label]]\nslug = 'a'\n", 3, "lacks definition"),
    ],
    ids=[
        "duplicate",
        "no-parent",
        "near-parent",
        "cycle",
        "own-parent",
        "three-levels",
        "no-leaf",
        "upper-case",
        "unknown-key",
        "reserved",
        "format",
        "empty",
        "unknown-field",
        "missing-field",
    ],
)
def test_error_points_at_the_line(tmp_path, source, line, words):
    path = tmp_path / "eigen.toml"
    path.write_text(source, encoding="utf-8")
    with pytest.raises(TaxonomyError) as caught:
        Taxonomy.load(path)
    message = str(caught.value)
    assert f"{path}:{line}:" in message
    assert words in message


def test_broken_toml_names_file_and_line(tmp_path):
    path = tmp_path / "eigen.toml"
    path.write_text("format = 1\n[[label]\n", encoding="utf-8")
    with pytest.raises(TaxonomyError, match=r"eigen\.toml: not valid TOML.*line 2"):
        Taxonomy.load(path)


@pytest.mark.parametrize("content", [None, b"format = 1 # \xff"])
def test_unreadable_file_is_told(tmp_path, content):
    path = tmp_path / "eigen.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TaxonomyError, match=r"eigen\.toml"):
        Taxonomy.load(path)


def test_digest_follows_the_text():
    again = Taxonomy.parse(TINY_TAXONOMY)
    other = Taxonomy.parse(TINY_TAXONOMY.replace("Wachten", "Wacht"))
    assert again.digest == Taxonomy.parse(TINY_TAXONOMY).digest != other.digest
