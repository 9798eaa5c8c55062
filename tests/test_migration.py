import tomllib

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from tests.conftest import TINY_TAXONOMY

from druppel.corpus import GoldAspect, LabelledText
from druppel.corrections import MEASUREMENT, Decision, History, labelled_texts
from druppel.errors import TaxonomyError
from druppel.migration import (
    Plan,
    advise,
    follow,
    migrate_history,
    migrate_labels,
    migrate_taxonomy,
    summary,
)
from druppel.taxonomy import Taxonomy

DATE = "2026-01-02T03:04:05+00:00"
TAXONOMY = """\
# Onze eigen indeling.

format = 1

# Alles over de winkel.
[[label]]
slug = "winkel"
name_nl = "Winkel"
name_en = "Shop"
definition = "Alles in de winkel."
counter_definition = "Wat thuis komt is bezorging."
examples = []
seeds = []

[[label]]
slug = "kassa"  # niet de webkassa
parent = "winkel"
name_nl = "Kassa"
name_en = "Checkout"
definition = "Afrekenen."
counter_definition = ""
examples = ["Maar één kassa open."]
seeds = []
# Te weinig voorbeelden; hernoemen?
[[label]]
slug = 'sfeer'
parent = 'winkel'
name_nl = "Sfeer"
name_en = "Mood"
definition = "Hoe het er is; lange rijen zijn kassa."
counter_definition = ""
examples = []
seeds = []

# --- Thuis ---

[[label]]
slug = "thuis"
name_nl = "Thuis"
name_en = "Home"
definition = ""
counter_definition = ""
examples = []
seeds = []

[[label]]
slug = "bezorging"
parent = "thuis"
name_nl = "Bezorging"
name_en = "Delivery"
definition = "De bezorging aan huis."
counter_definition = ""
examples = []
seeds = []

# --- Signalen ---

[[signal]]
slug = "weg"
name_nl = "Weg"
name_en = "Leaving"
definition = "De klant gaat weg."
counter_definition = ""
examples = []
seeds = []

[[signal]]
slug = "klaagt"
name_nl = "Klaagt"
name_en = "Complains"
definition = "Dient een klacht in."
counter_definition = ""
examples = []
seeds = []
"""
SPLIT = """
[[split]]
from = "bezorging"
into = ["bezorger", "pakket"]

[[label]]
slug = "bezorger"
definition = "Hoe de bezorger zich gedraagt."
examples = ["De bezorger gooide het over de schutting."]

[[label]]
slug = "pakket"
name_nl = "Het pakket"
definition = "Wat er in het pakket zit en hoe het eraan toe is."
examples = ["De doos was ingedeukt."]
"""


def step(kind, **keys):
    lines = []
    for key, value in keys.items():
        key = key.rstrip("_")
        lines.append(f"{key} = {value!r}")
    return "\n".join([f"[[{kind}]]", *lines, ""])


def text(*aspects, signals=(), words="Alles was zoals het was.", id="t1"):
    gold = tuple(GoldAspect(*aspect) for aspect in aspects)
    return LabelledText(id, words, gold, "negatief", signals, None, None, None, f"a.jsonl:{id}")


def decision(*aspects, analyst="anna", words="Alles was zoals het was.", **more):
    gold = tuple(GoldAspect(*aspect) for aspect in aspects)
    return Decision(words, gold, "negatief", (), analyst=analyst, source="blad.xlsx", **more)


def aspects_of(one):
    return [(a.leaf, a.polarity, a.evidence) for a in one.aspects]


# --- plans --------------------------------------------------------------------------------


def test_a_plan_is_read_from_a_file(tmp_path):
    path = tmp_path / "plan.toml"
    path.write_text("\ufeff" + step("rename", from_="a", to="b"), encoding="utf-8")
    plan = Plan.load(path)
    assert plan.name == "plan.toml"
    assert plan.rename_map() == {"a": "b"}
    with pytest.raises(TaxonomyError, match="cannot be read"):
        Plan.load(tmp_path / "niets.toml")
    path.write_bytes(b"# \xff")
    with pytest.raises(TaxonomyError, match="not UTF-8 at byte 2"):
        Plan.load(path)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("", "changes nothing"),
        ("[[rename", "not valid TOML"),
        ("a = " + "[" * 5000 + "]" * 5000, "nested too deeply"),
        ("\n[[renam]]\nfrom = 'a'", r"plan:2: unknown \[\[renam\]\]; did you mean 'rename'"),
        ("[rename]\nfrom = 'a'", r"plan:1: write \[\[rename\]\]"),
        (step("rename", from_="a"), r"plan:1: \[\[rename\]\] lacks 'to'"),
        (step("rename", from_="a", to="a"), "called that already"),
        (step("rename", from_="a", too="b"), "unknown key 'too'; did you mean 'to'"),
        (step("rename", from_=["a"], to="b"), "'from' must be one slug"),
        (step("rename", from_="a", to="Te laat"), "must be lower-case"),
        (step("rename", from_="a", to="a\\1"), "must be lower-case"),
        (step("merge", from_=["a", "a"], into="b"), "a list of different slugs"),
        (step("merge", from_=[], into="b"), "a list of different slugs"),
        (step("merge", from_=["a", 1], into="b"), "a list of different slugs"),
        (step("split", from_="a", into=["b"]), "two or more"),
        (step("split", from_="a", into=["a", "b"]), "Give every part a new slug"),
        (step("remove", leaf="a", signal="b"), "name one leaf, category or signal"),
        (step("remove", slug="a"), "unknown key 'slug'"),
        (step("remove", leaf="a", reason=3), "'reason' must be text"),
        (step("label", name_nl="A"), r"\[\[label\]\] lacks 'slug'"),
        (step("label", slug="a", examples=[1]), "'examples' must be a list of texts"),
        (step("signal", slug="a", parent="b"), "unknown key 'parent'"),
        (step("label", slug="a", name_nl=3), "'name_nl' must be text"),
    ],
)
def test_what_is_no_plan_is_told(source, words):
    with pytest.raises(TaxonomyError, match=words):
        Plan.parse(source)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (step("rename", from_="kasa", to="b"), "plan:1: no label 'kasa'; did you mean 'kassa'"),
        (step("rename", from_="kassa", to="sfeer"), r"is there already\. Use \[\[merge\]\]"),
        (step("rename", from_="kassa", to="b") * 2, "plan:4: line 1 says already"),
        (
            step("rename", from_="kassa", to="b") + step("rename", from_="sfeer", to="b"),
            "plan:4: line 1 makes 'b' already",
        ),
        (
            step("rename", from_="kassa", to="sfeer") + step("rename", from_="sfeer", to="kassa"),
            "cannot come back in the same plan",
        ),
        (
            step("rename", from_="kassa", to="b") + step("label", slug="b", parent="winkel"),
            "Leave out the entry at line 4",
        ),
        (step("merge", from_=["kassa", "weg"], into="b"), "'kassa' is a leaf, 'weg' a signal"),
        (step("merge", from_=["kassa"], into="weg"), "'weg' is a signal, 'kassa' a leaf"),
        (step("merge", from_=["kassa"], into="sfer"), "did you mean 'sfeer'.*rename"),
        (step("merge", from_=["kassa"], into="kassa"), "nothing but itself"),
        (
            step("merge", from_=["kassa", "sfeer"], into="b") + step("signal", slug="b"),
            r"line 4 describes 'b' under \[\[signal\]\]",
        ),
        (
            step("merge", from_=["kassa", "sfeer"], into="bezorging")
            + step("remove", leaf="bezorging"),
            "line 4 does away with 'bezorging'",
        ),
        (step("split", from_="winkel", into=["a", "b"]), "is a category, and texts bear"),
        (step("move", leaf="winkel", to_category="thuis"), "is a category, not a leaf"),
        (
            step("move", leaf="kassa", to_category="tuis"),
            "no category 'tuis'; did you mean 'thuis'",
        ),
        (step("move", leaf="kassa", to_category="sfeer"), "no category 'sfeer'"),
        (
            step("move", leaf="kassa", to_category="thuis") + step("remove", leaf="kassa"),
            "is moved, and at line 4 there is a remove",
        ),
        (
            step("move", leaf="bezorging", to_category="winkel")
            + step("remove", category="thuis")
            + step("move", leaf="kassa", to_category="thuis"),
            "'thuis' is removed at line 4",
        ),
        (step("remove", leaf="weg"), "'weg' is a signal, not a leaf"),
        (step("remove", leaf="bezorging"), "category 'thuis' has no leaf any more"),
        (step("remove", category="thuis"), "leaf 'bezorging' is in 'thuis', which is removed"),
        (
            step("split", from_="bezorging", into=["a", "b"]) + step("remove", category="thuis"),
            "leaf 'a' is in 'thuis', which is removed",
        ),
        (step("label", slug="kassa"), "in the taxonomy already"),
        (step("label", slug="a", parent="winkel") * 2, "described twice"),
        (step("label", slug="a", parent="winkl"), "no category 'winkl'.*did you mean 'winkel'"),
        (step("label", slug="a"), "the new category 'a' has no leaf"),
        (step("rename", from_="kassa", to="sentiment"), "the taxonomy after plan.*a column"),
    ],
)
def test_a_plan_that_does_not_fit_the_taxonomy_is_told(source, words):
    with pytest.raises(TaxonomyError, match=words):
        migrate_taxonomy(TAXONOMY, Plan.parse(source))


# --- taxonomies ---------------------------------------------------------------------------


def test_renaming_changes_nothing_but_the_slug():
    plan = Plan.parse(
        step("rename", from_="kassa", to="afrekenen")
        + step("rename", from_="winkel", to="zaak")
        + step("rename", from_="weg", to="vertrek")
    )
    changed = migrate_taxonomy(TAXONOMY, plan)
    lines = [
        (old, new)
        for old, new in zip(TAXONOMY.splitlines(), changed.splitlines(), strict=True)
        if old != new
    ]
    assert lines == [
        ('slug = "winkel"', 'slug = "zaak"'),
        ('slug = "kassa"  # niet de webkassa', 'slug = "afrekenen"  # niet de webkassa'),
        ('parent = "winkel"', 'parent = "zaak"'),
        ("parent = 'winkel'", 'parent = "zaak"'),
        ('slug = "weg"', 'slug = "vertrek"'),
    ]


def test_merging_into_a_leaf_that_stays():
    changed = migrate_taxonomy(
        TAXONOMY, Plan.parse(step("merge", from_=["sfeer", "kassa"], into="kassa"))
    )
    begin = TAXONOMY.index("# Te weinig voorbeelden")
    end = TAXONOMY.index("# --- Thuis ---")
    assert changed == TAXONOMY[:begin] + TAXONOMY[end:]


def test_merging_under_a_new_slug():
    changed = migrate_taxonomy(
        TAXONOMY,
        Plan.parse(
            step("merge", from_=["kassa", "bezorging", "sfeer"], into="alles")
            + step("remove", category="thuis")
        ),
    )
    taxonomy = Taxonomy.parse(changed)
    assert taxonomy.parent == {"alles": "winkel"}
    assert taxonomy.names["alles"] == "Kassa"
    assert "# --- Thuis ---" in changed
    assert "# --- Signalen ---" in changed


def test_merging_under_a_new_description():
    plan = Plan.parse(
        step("merge", from_=["kassa", "sfeer"], into="in_de_zaak")
        + step("label", slug="in_de_zaak", definition="Kassa en sfeer.")
    )
    leaf = Taxonomy.parse(migrate_taxonomy(TAXONOMY, plan)).leaves[0]
    assert (leaf.slug, leaf.parent, leaf.name_nl) == ("in_de_zaak", "winkel", "In de zaak")
    assert leaf.definition == "Kassa en sfeer."


def test_merging_categories_keeps_their_leaves():
    plan = Plan.parse(step("merge", from_=["thuis"], into="winkel"))
    taxonomy = Taxonomy.parse(migrate_taxonomy(TAXONOMY, plan))
    assert taxonomy.parent == dict.fromkeys(("kassa", "sfeer", "bezorging"), "winkel")


def test_splitting_puts_the_parts_where_the_old_leaf_was():
    changed = migrate_taxonomy(TAXONOMY, Plan.parse(SPLIT))
    begin = TAXONOMY.index('[[label]]\nslug = "bezorging"')
    end = TAXONOMY.index("# --- Signalen ---")
    new = """\
[[label]]
slug = "bezorger"
parent = "thuis"
name_nl = "Bezorger"
name_en = "Bezorger"
definition = "Hoe de bezorger zich gedraagt."
counter_definition = ""
examples = ["De bezorger gooide het over de schutting."]
seeds = []

[[label]]
slug = "pakket"
parent = "thuis"
name_nl = "Het pakket"
name_en = "Het pakket"
definition = "Wat er in het pakket zit en hoe het eraan toe is."
counter_definition = ""
examples = ["De doos was ingedeukt."]
seeds = []

"""
    assert changed == TAXONOMY[:begin] + new + TAXONOMY[end:]


def test_splitting_into_what_exists_and_what_is_new():
    plan = Plan.parse(
        step("split", from_="kassa", into=["sfeer", "wachtrij"])
        + step("split", from_="weg", into=["klaagt", "stapt_over"])
    )
    taxonomy = Taxonomy.parse(migrate_taxonomy(TAXONOMY, plan))
    assert set(taxonomy.parent) == {"sfeer", "wachtrij", "bezorging"}
    assert taxonomy.names["stapt_over"] == "Stapt over"
    assert [s.slug for s in taxonomy.signals] == ["stapt_over", "klaagt"]


def test_moving_to_a_new_category():
    plan = Plan.parse(
        step("move", leaf="bezorging", to_category="levering")
        + step("rename", from_="bezorging", to="aan_huis")
        + step("move", leaf="sfeer", to_category="thuis")
        + step("rename", from_="thuis", to="elders")
        + '[[label]]\nslug = "levering"\nname_nl = "Levering \\"thuis\\"\\u007f"\n'
        + step("signal", slug="nieuw")
    )
    changed = migrate_taxonomy(TAXONOMY, plan)
    taxonomy = Taxonomy.parse(changed)
    assert taxonomy.parent == {"kassa": "winkel", "sfeer": "elders", "aan_huis": "levering"}
    assert taxonomy.names["levering"] == 'Levering "thuis"\x7f'
    assert [s.slug for s in taxonomy.signals] == ["weg", "klaagt", "nieuw"]
    assert changed.index("levering") < changed.index("# --- Signalen ---")
    assert changed.endswith("seeds = []\n")
    assert '\n\n[[signal]]\nslug = "nieuw"' in changed


def test_removing_takes_the_comment_right_above_along():
    changed = migrate_taxonomy(TAXONOMY, Plan.parse(step("remove", leaf="sfeer", reason="vaag")))
    assert "Te weinig voorbeelden" not in changed
    assert "# --- Thuis ---" in changed
    assert "sfeer" not in Taxonomy.parse(changed).names
    last = migrate_taxonomy(TAXONOMY, Plan.parse(step("remove", signal="klaagt")))
    assert last == TAXONOMY[: TAXONOMY.index('\n[[signal]]\nslug = "klaagt"')]


def test_line_ends_are_kept():
    source = TAXONOMY.replace("\n", "\r\n").removesuffix("\r\n")
    changed = migrate_taxonomy(source, Plan.parse(SPLIT + step("signal", slug="nieuw")))
    assert changed.count("\n") == changed.count("\r\n")
    assert {"bezorger", "nieuw"} <= set(Taxonomy.parse(changed).names)


@pytest.mark.parametrize(
    "source",
    [
        TAXONOMY.replace('slug = "kassa"', '"slug" = "kassa"'),
        TAXONOMY.replace(
            'definition = "Afrekenen."', 'definition = """\n[[label]]\nslug = "kassa"\n"""'
        ),
        TAXONOMY.replace(
            '[[label]]\nslug = "kassa"',
            '[[label]]\ncounter_definition = """\nslug = "kassa"\n"""\nslug = "kassa"',
        ).replace('definition = "Afrekenen."\ncounter_definition = ""', 'definition = ""'),
        'format = 1\nlabel = [{slug = "winkel", name_nl = "", name_en = "", definition = "", '
        'counter_definition = "", examples = [], seeds = []}, {slug = "kassa", parent = "winkel", '
        'name_nl = "", name_en = "", definition = "", counter_definition = "", examples = [], '
        "seeds = []}]\n",
    ],
)
def test_an_unusual_layout_is_refused_rather_than_spoilt(source):
    Taxonomy.parse(source)
    with pytest.raises(TaxonomyError, match="Write every"):
        migrate_taxonomy(source, Plan.parse(step("rename", from_="kassa", to="afrekenen")))


def test_values_over_several_lines_are_kept():
    source = TAXONOMY.replace(
        'examples = ["Maar één kassa open."]',
        'examples = [\n  "Een.", # ja\n  # twee\n  "Twee.",\n]',
    ).replace(
        'definition = "Afrekenen."', 'definition = """\n# geen commentaar\n\u2028# ook niet"""'
    )
    changed = migrate_taxonomy(source, Plan.parse(step("rename", from_="kassa", to="afrekenen")))
    assert changed == source.replace('slug = "kassa"', 'slug = "afrekenen"')


SHIPPED = Taxonomy.load()


@given(st.sampled_from(sorted(SHIPPED.names)))
@settings(max_examples=20, deadline=None)
def test_renaming_there_and_back_leaves_no_trace(slug):
    there = Plan.parse(step("rename", from_=slug, to="iets_heel_anders"))
    back = Plan.parse(step("rename", from_="iets_heel_anders", to=slug))
    changed = migrate_taxonomy(SHIPPED.source, there)
    assert changed != SHIPPED.source
    assert migrate_taxonomy(changed, back) == SHIPPED.source


_LEAVES = st.sampled_from(["kassa", "sfeer", "bezorging"])
_CATEGORIES = st.sampled_from(["winkel", "thuis"])
_SIGNALS = st.sampled_from(["weg", "klaagt"])
_NEW = st.sampled_from(["x", "y", "z"])
_ANY = _LEAVES | _CATEGORIES | _SIGNALS | _NEW  # mostly a plan that does not fit


def _steps(kind, old, other):
    """Steps on labels of one kind, that fit more often than not."""
    return st.one_of(
        st.builds(lambda a, b: step("rename", from_=a, to=b), old, _NEW | other),
        st.builds(
            lambda a, b: step("merge", from_=a, into=b),
            st.lists(old, min_size=1, max_size=3),
            _NEW | other,
        ),
        st.builds(
            lambda a, b: step("split", from_=a, into=b),
            old,
            st.lists(_NEW | _NEW | other, min_size=2, max_size=3),
        ),
        st.builds(lambda a: step("remove", **{kind: a}), old),
    )


_STEPS = st.one_of(
    _steps("leaf", _LEAVES, _LEAVES),
    _steps("category", _CATEGORIES, _CATEGORIES),
    _steps("signal", _SIGNALS, _SIGNALS),
    _steps("leaf", _ANY, _ANY),
    st.builds(lambda a, b: step("move", leaf=a, to_category=b), _LEAVES, _CATEGORIES | _ANY),
    st.builds(lambda a, b: step("label", slug=a, parent=b), _NEW, _CATEGORIES | _NEW),
    st.builds(lambda a: step("label", slug=a), _NEW),
    st.builds(lambda a: step("signal", slug=a), _NEW),
)
_TEXTS = st.builds(
    lambda aspects, signals: text(*aspects, signals=tuple(signals)),
    st.lists(st.tuples(_LEAVES, st.sampled_from(["neg", "pos", "neu"])), max_size=4, unique=True),
    st.lists(st.sampled_from(["weg", "klaagt"]), max_size=2, unique=True),
)


@given(st.lists(_STEPS, min_size=1, max_size=3), st.lists(_TEXTS, max_size=4))
@settings(max_examples=300, deadline=None)
def test_any_plan_is_refused_or_leaves_labels_that_exist(steps, texts):
    try:
        plan = Plan.parse("".join(steps))
        changed = migrate_taxonomy(TAXONOMY, plan)
    except TaxonomyError as error:
        event("refused")
        assert "laid out" not in str(error)  # noqa: PT017 (it is not known which are refused)
        return
    event("carried out")
    old, new = Taxonomy.parse(TAXONOMY), Taxonomy.parse(changed)
    for slug in old.names:
        after = plan.apply_to_slug(slug)
        assert after is None or after in new.names
        assert (after is None) == (slug in plan.split_map or slug in plan.removed)
    for options in plan.split_map.values():
        assert set(options) <= set(new.names)
    assert set(plan.rename_map()) | set(plan.split_map) | set(plan.removed) >= set(old.names) - set(
        new.names
    )
    migrated = migrate_labels(texts, plan, new, date=DATE)
    assert len(migrated.texts) + len(migrated.needs_human) == len(texts)
    signals = {s.slug for s in new.signals}
    for one in (*migrated.texts, *(u.proposed for u in migrated.needs_human)):
        pairs = [(a.leaf, a.polarity) for a in one.aspects]
        assert len(set(pairs)) == len(pairs)
        assert {leaf for leaf, _ in pairs} <= set(new.parent)
        assert set(one.signals) <= signals
        assert len(set(one.signals)) == len(one.signals)
    advise(plan, old, new)


# --- labels -------------------------------------------------------------------------------


def test_labels_follow_a_rename():
    plan = Plan.parse(
        step("rename", from_="kassa", to="rij") + step("rename", from_="weg", to="vertrek")
    )
    old = text(("kassa", "neg", "Alles"), ("sfeer", "pos"), signals=("weg", "klaagt"))
    other = text(("sfeer", "pos"), id="t2")
    migrated = migrate_labels([old, other], plan)
    new = migrated.texts[0]
    assert aspects_of(new) == [("rij", "neg", "Alles"), ("sfeer", "pos", None)]
    assert new.signals == ("vertrek", "klaagt")
    assert (new.id, new.where, new.sentiment) == (old.id, old.where, old.sentiment)
    assert migrated.texts[1] is other
    assert migrated.changed == (new,)
    assert aspects_of(old)[0][0] == "kassa"  # what is given is never changed


def test_a_merge_joins_what_is_the_same_and_keeps_what_differs():
    plan = Plan.parse(step("merge", from_=["kassa", "sfeer"], into="zaak"))
    texts = [
        text(("kassa", "neg"), ("sfeer", "neg", "Alles"), ("bezorging", "neg")),
        text(("kassa", "neg", "Alles"), ("sfeer", "pos", "was"), id="t2"),
        text(("kassa", "neg"), ("kassa", "pos"), id="t3"),
        text(("kassa", "neg", "Alles"), ("sfeer", "neg", "was"), id="t4"),
    ]
    migrated = migrate_labels(texts, plan)
    assert [aspects_of(one) for one in migrated.texts] == [
        [("zaak", "neg", "Alles"), ("bezorging", "neg", None)],
        [("zaak", "neg", "Alles"), ("zaak", "pos", "was")],
        [("zaak", "neg", None), ("zaak", "pos", None)],
        [("zaak", "neg", "Alles")],
    ]
    assert [one.id for one in migrated.joined] == ["t1", "t4"]
    assert [one.id for one in migrated.mixed] == ["t2"]  # t3 was mixed before


def test_a_removed_label_leaves_the_text():
    plan = Plan.parse(step("remove", leaf="sfeer") + step("remove", signal="weg"))
    migrated = migrate_labels([text(("sfeer", "neg"), ("kassa", "neg"), signals=("weg",))], plan)
    assert aspects_of(migrated.texts[0]) == [("kassa", "neg", None)]
    assert migrated.texts[0].signals == ()
    assert not migrated.joined


def test_a_split_asks_a_human_with_a_proposal():
    plan = Plan.parse(SPLIT + step("rename", from_="kassa", to="rij"))
    taxonomy = Taxonomy.parse(migrate_taxonomy(TAXONOMY, plan))
    words = "De kassa ging goed. De bezorgers waren onbeleefd, de doos ingedeukt. Tja."
    old = text(
        ("kassa", "pos", "De kassa ging goed."),
        ("bezorging", "neg", "De bezorgers waren onbeleefd"),
        ("bezorging", "pos", "de doos ingedeukt"),
        words=words,
    )
    vague = text(("bezorging", "neg", "Tja."), words="Tja.", id="t2")
    migrated = migrate_labels([old, vague, text(("kassa", "neg"), id="t3")], plan, taxonomy)
    assert [one.id for one in migrated.texts] == ["t3"]
    first, second = migrated.needs_human
    assert first.text is old
    assert [(c.old, c.polarity, c.proposal) for c in first.choices] == [
        ("bezorging", "neg", "bezorger"),
        ("bezorging", "pos", "pakket"),
    ]
    assert {c.options for c in first.choices} == {("bezorger", "pakket")}
    assert [leaf for leaf, _, _ in aspects_of(first.proposed)] == ["rij", "bezorger", "pakket"]
    assert second.choices[0].proposal is None
    assert second.proposed.aspects == ()
    without = migrate_labels([old], plan).needs_human[0]
    assert [c.proposal for c in without.choices] == [None, None]


def test_a_split_signal_asks_a_human():
    plan = Plan.parse(step("split", from_="weg", into=["klaagt", "stapt_over"]))
    taxonomy = Taxonomy.parse(migrate_taxonomy(TAXONOMY, plan))
    migrated = migrate_labels(
        [text(signals=("weg",), words="Ik dien een klacht in.")], plan, taxonomy
    )
    assert [(c.polarity, c.proposal) for c in migrated.needs_human[0].choices] == [(None, "klaagt")]
    assert migrated.needs_human[0].proposed.signals == ("klaagt",)


def test_slugs_are_followed_through_several_plans():
    plans = [
        Plan.parse(step("rename", from_="kassa", to="rij") + step("remove", leaf="sfeer")),
        Plan.parse(step("split", from_="rij", into=["wachten", "betalen"])),
        Plan.parse(step("rename", from_="weg", to="sfeer")),  # a new meaning for an old slug
        Plan.parse(step("merge", from_=["wachten", "bezorging"], into="wachten")),
    ]
    slugs = ["winkel", "kassa", "sfeer", "bezorging", "weg"]
    assert follow(plans, slugs) == {
        "kassa": "",
        "sfeer": "",
        "bezorging": "wachten",
        "weg": "sfeer",
    }
    assert follow([], slugs) == {}


def test_what_a_base_learnt_is_kept_under_the_new_name():
    """As training uses it: labels of the base's corpus, and of its weights."""
    from druppel.retraining import Origins, carry_over

    base = Taxonomy.parse(TAXONOMY)
    plan = Plan.parse(
        SPLIT
        + step("merge", from_=["kassa", "sfeer"], into="zaak")
        + step("rename", from_="thuis", to="aan_huis")
        + step("rename", from_="weg", to="vertrek")
    )
    new = Taxonomy.parse(migrate_taxonomy(TAXONOMY, plan))
    origins = Origins.of(base, new, follow([plan], base.names))
    assert origins.sources == {
        **{"winkel": ("winkel",), "aan_huis": ("thuis",), "zaak": ("kassa", "sfeer")},
        **{"bezorger": (), "pakket": (), "vertrek": ("weg",), "klaagt": ("klaagt",)},
    }
    texts = [
        text(("kassa", "neg"), ("sfeer", "neg"), signals=("weg",)),
        text(("bezorging", "neg"), id="t2"),
    ]
    (kept,) = carry_over(migrate_labels(texts, plan).texts, base, new)
    assert (aspects_of(kept), kept.signals) == ([("zaak", "neg", None)], ("vertrek",))


# --- decisions ----------------------------------------------------------------------------


def run(history, plan, taxonomy=None):
    """Migrate a history as the command does: withdraw, then append."""
    decisions, withdrawn = history.decisions()
    migrated, withdraw = migrate_history(decisions, withdrawn, plan, taxonomy, date=DATE)
    batch = history.begin()
    for number in withdraw:
        batch.withdraw(number, "anna")
    batch.close()
    history.add(migrated.changed)
    return migrated


def test_decisions_are_written_anew_and_nothing_is_changed(tmp_path):
    history = History(tmp_path / "correcties")
    history.add([decision(("kassa", "neg", "Alles"), where="Blad!3", remark="let op")])
    before = (tmp_path / "correcties" / "0001.jsonl").read_bytes()
    plan = Plan.parse(step("rename", from_="kassa", to="rij"), name="plan.toml")
    run(history, plan)
    assert (tmp_path / "correcties" / "0001.jsonl").read_bytes() == before
    (new,) = history.state().decisions
    assert aspects_of(new) == [("rij", "neg", "Alles")]
    assert (new.source, new.where, new.date) == ("migratie: plan.toml", "1:1", DATE)
    assert (new.analyst, new.remark, new.number) == ("anna", "let op", "2:1")
    assert run(history, plan).changed == ()  # a second time there is nothing left to do


def test_who_agreed_agrees_and_who_differed_differs(tmp_path):
    history = History(tmp_path / "correcties")
    history.add(
        [
            decision(("kassa", "neg"), words="een"),
            decision(("kassa", "neg"), words="een", analyst="bram"),
            decision(("kassa", "neg"), words="twee"),
            decision(("sfeer", "neg"), words="twee", analyst="bram"),
            decision(("kassa", "neg"), words="drie"),
            decision(("bezorging", "neg"), words="drie", analyst="bram"),
            decision(("bezorging", "neg"), words="vier", analyst="bram"),
            decision(("kassa", "neg"), words="vier", settles=True),
        ]
    )
    history.add([decision(("sfeer", "neg"), words="een")])  # anna comes back on it
    assert [c.decisions[0].text for c in history.state().conflicts] == ["een", "twee", "drie"]
    run(history, Plan.parse(step("merge", from_=["kassa", "sfeer"], into="zaak")))
    state = history.state()
    assert {d.text: aspects_of(d)[0][0] for d in state.decisions} == {
        **{"een": "zaak", "twee": "zaak"},  # the merge ended these conflicts
        "vier": "zaak",  # settled it was, and settled it stays
    }
    (conflict,) = state.conflicts
    assert {aspects_of(d)[0][0] for d in conflict.decisions} == {"zaak", "bezorging"}


def test_a_conflict_after_a_settlement_stays(tmp_path):
    history = History(tmp_path / "correcties")
    history.add([decision(("sfeer", "neg"), analyst="bram")])
    history.add([decision(("kassa", "neg"), settles=True)])
    history.add([decision(("bezorging", "neg"), analyst="bram")])
    run(history, Plan.parse(step("rename", from_="kassa", to="rij")))
    (conflict,) = history.state().conflicts
    assert {aspects_of(d)[0][0] for d in conflict.decisions} == {"rij", "bezorging"}


def test_split_decisions_wait_for_a_human(tmp_path):
    history = History(tmp_path / "correcties")
    history.add(
        [
            decision(("kassa", "neg"), words="De bezorger riep.", part=MEASUREMENT),
            decision(("sfeer", "neg"), words="Iets anders."),
        ]
    )
    history.add([decision(("bezorging", "neg"), words="De bezorger riep.")])
    history.add([decision(("sfeer", "pos"), words="De bezorger riep.", analyst="bram")])
    plan = Plan.parse(SPLIT)
    taxonomy = Taxonomy.parse(migrate_taxonomy(TAXONOMY, plan))
    migrated = run(history, plan, taxonomy)
    (one,) = migrated.needs_human
    assert one.text.part == MEASUREMENT
    assert one.choices[0].proposal == "bezorger"
    state = history.state()
    assert [d.text for d in state.decisions] == ["Iets anders."]
    assert state.conflicts == ()
    assert labelled_texts(state.decisions, taxonomy)[1] == []
    history.add([one.proposed])  # the human agrees
    assert len(labelled_texts(history.state().decisions, taxonomy)[0]) == 2
    assert history.state().by_key[one.text.key].part == MEASUREMENT


# --- what is told -------------------------------------------------------------------------


def test_the_taxonomy_s_loose_ends_are_told():
    plan = Plan.parse(
        step("rename", from_="bezorging", to="aan_huis")
        + step("split", from_="kassa", into=["rij", "betalen"])
        + step("label", slug="rij", definition="Wachten.")
        + step("merge", from_=["klaagt"], into="weg")
    )
    old = Taxonomy.parse(TAXONOMY)
    new = Taxonomy.parse(migrate_taxonomy(TAXONOMY, plan))
    assert advise(plan, old, new) == [
        "betalen: heeft nog geen omschrijving (definition).",
        "weg: ga na of de omschrijving ook dekt wat onder klaagt viel.",
        "winkel: de omschrijving noemt bezorging, dat niet meer bestaat (nu aan_huis).",
        "sfeer: de omschrijving noemt kassa, dat niet meer bestaat.",
    ]


def test_the_summary_counts_and_holds_no_text():
    plan = Plan.parse(SPLIT + step("merge", from_=["kassa", "sfeer"], into="zaak"))
    taxonomy = Taxonomy.parse(migrate_taxonomy(TAXONOMY, plan))
    texts = [
        text(("kassa", "neg"), ("sfeer", "neg")),
        text(("kassa", "neg"), ("sfeer", "pos")),
        text(("bezorging", "neg"), words="De doos was open."),
        text(("bezorging", "neg"), words="Geheim."),
    ]
    told = summary(plan, migrate_labels(texts, plan, taxonomy))
    assert told == [
        "2 teksten herschreven.",
        "Bij 1 tekst vielen dubbele labels samen.",
        "Bij 1 tekst staat een label nu zowel negatief als positief. Beide zijn gebleven; kijk of "
        "dat klopt.",
        "bezorging is gesplitst in bezorger, pakket: bij 2 teksten moet een mens kiezen (bij 1 "
        "staat een voorstel). Tot die tijd leert het model er niet van.",
    ]


def test_the_plan_of_the_manual_works():
    from druppel import migration

    source = migration.__doc__.split("::\n", 1)[1].split("``[[label]]``")[0]
    plan = Plan.parse("\n".join(line[4:] for line in source.splitlines()))
    assert [one.action for one in plan.steps] == ["rename", "merge", "split", "move", "remove"]
    assert plan.entries


def test_a_tiny_taxonomy_survives():
    plan = Plan.parse(step("merge", from_=["in_de_rij", "op_antwoord"], into="wachten_lang"))
    changed = migrate_taxonomy(TINY_TAXONOMY, plan)
    assert tomllib.loads(changed)["label"][1]["slug"] == "wachten_lang"
