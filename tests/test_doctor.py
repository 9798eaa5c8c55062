"""What spoils training data: found where it is, and not where it is not."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import replace

import numpy as np
import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import ROOT, TINY_TAXONOMY, tiny_rows

from druppel import doctor
from druppel.corpus import GoldAspect, LabelledText, read_corpus
from druppel.corrections import MEASUREMENT, TRAINING, Decision, labelled_texts
from druppel.doctor import Curve, Diagnosis, as_text, examine, learning_curve, sheet_items
from druppel.model import LabelSpace
from druppel.result import POLARITIES, SENTIMENTS
from druppel.retraining import OutOfFold, out_of_fold
from druppel.review_sheet import read_sheet, write_sheet
from druppel.store import load_model
from druppel.targets import text_labels
from druppel.taxonomy import Taxonomy

LONG = "ik stond een vol uur te wachten bij de kassa van de winkel in Hoorn"


def decide(text: str, *labels: str, sentiment: str | None = "negatief", **more) -> Decision:
    """Decision with labels such as ``eten:neg``, ``eten:neg:evidence`` and ``weg``."""
    parts = [label.split(":") for label in labels]
    aspects = tuple(GoldAspect(*p) for p in parts if len(p) > 1)
    signals = tuple(p[0] for p in parts if len(p) == 1)
    return Decision(text, aspects, sentiment, signals, **more)


def crowd(n: int, *labels: str, **more) -> list[Decision]:
    """Different texts with the same labels."""
    made = []
    for i in range(n):
        letters = random.Random(f"{labels} {i}")
        words = ("".join(letters.choices("abdeghiklmnoprstuvwz", k=6)) for _ in range(6))
        made.append(decide(f"verhaal {' '.join(words)}", *labels, **more))
    return made


def judge(
    decisions: list[Decision],
    taxonomy: Taxonomy,
    beliefs: dict[int, dict[str, float]] | None = None,
    moods: dict[int, str] | None = None,
) -> OutOfFold:
    """A model that agrees with the decisions, except where it is said to believe other things."""
    texts, _ = labelled_texts(decisions, taxonomy)
    space = LabelSpace.of(taxonomy)
    rng = np.random.default_rng(0)
    truth = text_labels(texts, space)
    probability = np.where(truth == 1, 0.85, 0.03) + 0.05 * rng.random(truth.shape)
    for row, changes in (beliefs or {}).items():
        for label, value in changes.items():
            kind = "signal" if ":" not in label else "leaf"
            probability[row, space.names.index(f"{kind}:{label}")] = value
    sentiments = np.full((len(decisions), len(SENTIMENTS)), 0.05)
    for row, decision in enumerate(decisions):
        mood = (moods or {}).get(row) or decision.sentiment or "neutraal"
        sentiments[row, SENTIMENTS.index(mood)] = 0.85
    return OutOfFold(space, probability, np.full(len(space.names), 0.5), sentiments)


def look(decisions: list[Decision], taxonomy: Taxonomy, **more) -> Diagnosis:
    beliefs, moods = more.pop("beliefs", None), more.pop("moods", None)
    judged = judge(decisions, taxonomy, beliefs, moods)
    more.setdefault("counts", dict.fromkeys(taxonomy.names, 500))
    return examine(decisions, taxonomy, judged=judged, **more)


def kinds(diagnosis: Diagnosis) -> list[tuple[str, int]]:
    return sorted((finding.kind, finding.row) for finding in diagnosis.findings)


@pytest.fixture(scope="module")
def sound() -> list[Decision]:
    """Decisions in which nothing is wrong."""
    return [
        *crowd(20, "in_de_rij:neg"),
        *crowd(20, "op_antwoord:neg"),
        *crowd(20, "eten:neg", "weg"),
        *crowd(20, "eten:pos", sentiment="positief"),
        *crowd(20, sentiment="neutraal"),
    ]


# --- labels that a model doubts -----------------------------------------------------------


def test_nothing_is_found_where_nothing_is_wrong(sound, tiny_taxonomy) -> None:
    diagnosis = look(sound, tiny_taxonomy)
    assert diagnosis.healthy
    assert not diagnosis.unjudged
    assert sheet_items(diagnosis) == ([], [])
    assert "Niets gevonden" in as_text(diagnosis)
    assert "WAT NU" not in as_text(diagnosis)


CASES = {
    "missing": (
        40,
        {"in_de_rij:neg": 0.97},
        [("ontbreekt", 40)],
        "ontbreekt wachten/in_de_rij neg",
    ),
    "missing signal": (0, {"weg": 0.97}, [("ontbreekt", 0)], "ontbreekt signaal weg"),
    "wrong": (0, {"in_de_rij:neg": 0.001}, [("onterecht", 0)], "lijkt hier niet te horen (kans mi"),
    "wrong signal": (40, {"weg": 0.001}, [("onterecht", 40)], "signaal weg lijkt hier niet"),
    "polarity": (
        40,
        {"eten:neg": 0.02, "eten:pos": 0.96},
        [("polariteit", 40)],
        "smaak/eten neg: waarschijnlijk pos in plaats van neg",
    ),
    "both polarities": (40, {"eten:pos": 0.96}, [("ontbreekt", 40)], "ontbreekt smaak/eten pos"),
    "another label": (
        0,
        {"in_de_rij:neg": 0.001, "op_antwoord:neg": 0.95},
        [("ontbreekt", 0), ("onterecht", 0)],
        "",
    ),
    "some doubt": (0, {"in_de_rij:neg": 0.3, "op_antwoord:neg": 0.4}, [], ""),
}


@pytest.mark.parametrize("case", CASES)
def test_doubted_labels(case, sound, tiny_taxonomy) -> None:
    row, beliefs, expected, words = CASES[case]
    diagnosis = look(sound, tiny_taxonomy, beliefs={row: beliefs})
    assert kinds(diagnosis) == expected
    assert words in "".join(finding.advice for finding in diagnosis.findings)
    assert all(0 < finding.gain < 1 for finding in diagnosis.findings)


def test_what_was_confirmed_is_not_doubted_again(sound, tiny_taxonomy) -> None:
    beliefs = {0: {"in_de_rij:neg": 0.001}}
    assert kinds(look(sound, tiny_taxonomy, beliefs=beliefs, made=sound)) == [("onterecht", 0)]
    confirmed = [*sound, replace(sound[0], source="dokter.xlsx")]
    assert look(sound, tiny_taxonomy, beliefs=beliefs, made=confirmed).healthy


def test_a_doubted_sentiment(sound, tiny_taxonomy) -> None:
    diagnosis = look(sound, tiny_taxonomy, moods={3: "positief"})
    assert kinds(diagnosis) == [("sentiment", 3)]
    assert "positief in plaats van negatief" in diagnosis.findings[0].advice
    unjudged = [replace(sound[0], sentiment=None), *sound[1:]]
    assert look(unjudged, tiny_taxonomy, moods={0: "positief"}).healthy


def test_a_label_with_few_examples_is_not_doubted_by_a_model(sound, tiny_taxonomy) -> None:
    decisions = [*sound, *crowd(5, "eten:neu", sentiment="neutraal")]
    beliefs = {100: {"eten:neu": 0.001}, 0: {"eten:neu": 0.99}}
    diagnosis = look(decisions, tiny_taxonomy, beliefs=beliefs)
    assert not diagnosis.findings
    assert diagnosis.unjudged == ("eten:neu",)
    assert "Over 1 label valt nog niets te zeggen" in as_text(diagnosis)
    # What the base learnt from counts too.
    known, _ = labelled_texts(crowd(8, "eten:neu", question="Vroeger?"), tiny_taxonomy)
    diagnosis = look(decisions, tiny_taxonomy, beliefs=beliefs, known=known)
    assert {("onterecht", 100), ("ontbreekt", 0)} <= set(kinds(diagnosis))


def test_a_model_that_never_knows_a_label_does_not_doubt_it(sound, tiny_taxonomy) -> None:
    decisions = [*sound, *crowd(30, "eten:neu", sentiment="neutraal")]
    beliefs = {row: {"eten:neu": 0.001 * (row % 3)} for row in range(100, 130)}
    diagnosis = look(decisions, tiny_taxonomy, beliefs=beliefs)
    assert not diagnosis.findings
    assert diagnosis.unjudged == ("eten:neu",)


def test_what_measures_is_not_mended_by_the_model(sound, tiny_taxonomy) -> None:
    decisions = [replace(sound[0], part=MEASUREMENT), *sound[1:]]
    beliefs = {0: {"in_de_rij:neg": 0.001, "op_antwoord:neg": 0.99}}
    assert look(decisions, tiny_taxonomy, beliefs=beliefs, moods={0: "positief"}).healthy


def test_a_rare_label_gains_more(sound, tiny_taxonomy) -> None:
    beliefs = {0: {"in_de_rij:neg": 0.001}, 20: {"op_antwoord:neg": 0.001}}
    counts = {**dict.fromkeys(tiny_taxonomy.names, 500), "op_antwoord": 30}
    diagnosis = look(sound, tiny_taxonomy, beliefs=beliefs, counts=counts)
    assert [finding.row for finding in diagnosis.findings] == [20, 0]


def test_spoilt_labels_come_first() -> None:
    """Texts of the corpus, a model with a noise like that of the real one, one in ten spoilt."""
    taxonomy = Taxonomy.load()
    texts = read_corpus(ROOT / "training" / "corpus" / "a10.jsonl", taxonomy)[:390]
    rng = np.random.default_rng(7)
    decisions = [
        Decision(t.text, t.aspects, t.sentiment, t.signals, t.question, t.score) for t in texts
    ]
    space = LabelSpace.of(taxonomy)
    truth = text_labels(texts, space)
    probability = np.where(
        truth == 1, rng.beta(3, 1.5, truth.shape), rng.beta(0.5, 20, truth.shape)
    )
    right = np.array([SENTIMENTS.index(t.sentiment or "") for t in texts])
    sentiments = rng.dirichlet(np.full(4, 0.4), len(texts)) * 0.4
    sentiments[np.arange(len(texts)), right] += 0.6
    judged = OutOfFold(space, probability, np.full(len(space.names), 0.5), sentiments)
    spoilt = set(rng.permutation(len(texts))[:39].tolist())
    for i in spoilt:
        decisions[i] = spoil(decisions[i], taxonomy, rng)
    # Every label has examples enough elsewhere.
    known = read_corpus(ROOT / "training" / "corpus", taxonomy)[-4000:]
    found = examine(decisions, taxonomy, judged=judged, known=known)
    items, _ = sheet_items(found)
    rows = {decision.key: i for i, decision in enumerate(decisions)}
    first = [rows[item.key] for item in items]
    assert precision(first, spoilt, 10) >= 0.9  # by chance: 0.1
    assert precision(first, spoilt, 39) >= 0.6
    clean = examine(
        [Decision(t.text, t.aspects, t.sentiment, t.signals, t.question, t.score) for t in texts],
        taxonomy,
        judged=judged,
        known=known,
    )
    assert len(clean.by_row) < len(found.by_row)


def spoil(decision: Decision, taxonomy: Taxonomy, rng: np.random.Generator) -> Decision:
    """Drop, add or change one thing."""
    aspects = list(decision.aspects)
    leaves = [leaf.slug for leaf in taxonomy.leaves]
    other = [leaf for leaf in leaves if leaf not in {a.leaf for a in aspects}]
    new = str(rng.choice(other))
    polarity = POLARITIES[rng.integers(2)]
    kind = rng.integers(5) if aspects else 3 + rng.integers(2)
    if kind == 0:
        del aspects[0]
    elif kind == 1:
        aspects[0] = replace(aspects[0], leaf=new)
    elif kind == 2:
        turned = "neg" if aspects[0].polarity != "neg" else "pos"
        aspects = [replace(aspects[0], polarity=turned)]
    elif kind == 3:
        aspects.append(GoldAspect(new, polarity))
    else:
        moods = [s for s in SENTIMENTS if s != decision.sentiment]
        return replace(decision, sentiment=str(rng.choice(moods)))
    return replace(decision, aspects=tuple(aspects))


def precision(ranking: list[int], spoilt: set[int], k: int) -> float:
    return sum(i in spoilt for i in ranking[:k]) / k


def test_spoilt_labels_come_first_by_a_model_that_learnt_from_them(tiny_trained) -> None:
    """A taxonomy of one's own, learnt from nothing but the decisions, one in ten spoilt."""
    source = TINY_TAXONOMY
    for slug in ("in_de_rij", "op_antwoord", "eten"):
        source = source.replace(f'slug = "{slug}"', f'slug = "mijn_{slug}"')
    taxonomy = Taxonomy.parse(source)
    decisions = [
        decide(
            str(row["text"]),
            *(f"mijn_{a['leaf']}:{a['polarity']}:{a['evidence']}" for a in row["aspects"]),
            *row["signals"],
            sentiment=row["sentiment"],
        )
        for row in tiny_rows()
    ]
    rng = np.random.default_rng(1)
    spoilt = set(rng.permutation(len(decisions))[:12].tolist())
    for i in sorted(spoilt):
        decisions[i] = spoil(decisions[i], taxonomy, rng)
    own, _ = labelled_texts(decisions, taxonomy)
    judged = out_of_fold(load_model(tiny_trained.folder), taxonomy, own, [])
    items, _ = sheet_items(examine(decisions, taxonomy, judged=judged))
    rows = {decision.key: i for i, decision in enumerate(decisions)}
    ranking = [rows[item.key] for item in items]
    assert precision(ranking, spoilt, 5) >= 0.8  # by chance: 0.095
    assert precision(ranking, spoilt, 12) >= 0.5


# --- the same text elsewhere --------------------------------------------------------------

NEARLY = LONG.replace("Hoorn", "Hoorne")
SAME = {
    "the same text": (
        [decide(LONG, "in_de_rij:neg"), decide(LONG + "!", "op_antwoord:neg")],
        [0, 1],
    ),
    "other case and white space": (
        [decide(LONG, "in_de_rij:neg"), decide(LONG.upper(), "eten:neg")],
        [0, 1],
    ),
    "the same labels": ([decide(LONG, "in_de_rij:neg"), decide(LONG + "!", "in_de_rij:neg")], []),
    "a long text under another question": (
        [decide(LONG, "in_de_rij:neg", question="A?"), decide(LONG, "eten:neg", question="B?")],
        [0, 1],
    ),
    "a few words under another question": (
        [decide("de kassa", "in_de_rij:neg", question="A?"), decide("de kassa", question="B?")],
        [],
    ),
    "a few words under one question": (
        [
            decide("de kassa", question="B?", sentiment="neutraal"),
            decide("de kassa", "in_de_rij:neg", question="A?"),
            decide("De kassa.", "eten:neg", question="A?"),
        ],
        [1, 2],
    ),
    "only the sentiment": (
        [decide(LONG), decide(LONG + ".", sentiment="neutraal")],
        [0, 1],
    ),
    "a sentiment that nobody judged": ([decide(LONG), decide(LONG + ".", sentiment=None)], []),
    "a sentiment that the score explains": (
        [decide(LONG, score=1), decide(LONG + ".", sentiment="positief", score=9)],
        [],
    ),
    "only the signals": ([decide(LONG, "weg"), decide(LONG + ".")], [0, 1]),
    "most say the same": (
        [*(decide(LONG + "!" * i, "in_de_rij:neg") for i in range(3)), decide(LONG + ".")],
        [3],
    ),
    "nearly the same": (
        [
            decide(LONG, "in_de_rij:neg:bij de kassa"),
            decide(NEARLY, "op_antwoord:neg:bij de kassa"),
        ],
        [0, 1],
    ),
    "nearly the same without evidence": (
        [decide(LONG, "in_de_rij:neg"), decide(NEARLY, "op_antwoord:neg")],
        [0, 1],
    ),
    "nearly the same but for what shows the label": (
        [
            decide(LONG, "in_de_rij:neg:in Hoorn"),
            decide(NEARLY, "op_antwoord:neg:in Hoorne"),
        ],
        [],
    ),
    "nearly the same but for a negation": (
        [decide(LONG, "in_de_rij:neg"), decide(LONG.replace("ik", "ik niet"))],
        [],
    ),
    "the same words in another order": (
        [
            decide("wel lekker gegeten maar niet snel geholpen", "eten:pos:lekker gegeten"),
            decide("gegeten geholpen lekker maar niet snel wel"),
        ],
        [],
    ),
    "another little picture": (
        [decide("bedankt 👍", "eten:pos", sentiment="positief"), decide("bedankt 👎")],
        [],
    ),
}


@pytest.mark.parametrize("case", SAME)
def test_the_same_text_with_other_labels(case, tiny_taxonomy) -> None:
    decisions, expected = SAME[case]
    diagnosis = look(decisions, tiny_taxonomy)
    found = [f for f in diagnosis.findings if f.kind == doctor.SAME_TEXT]
    assert sorted(finding.row for finding in found) == expected


def test_only_the_same_text_is_wholly_the_same() -> None:
    rng = random.Random(0)
    for n in range(6, 26):
        words = [f"woord{rng.randint(0, 999)}" for _ in range(n)]
        near = doctor._near([" ".join(words), " ".join(reversed(words))], [True, True], 2)
        assert near[0][0][0] == 1
        assert 0.8 <= near[0][0][1] < 1.0


def test_what_the_other_text_has_is_told(tiny_taxonomy) -> None:
    decisions = [
        decide(LONG, "in_de_rij:neg", number="1:4"),
        decide(LONG + "!", "eten:neg", number="2:7", source="mei.xlsx", where="Beoordelen!9"),
    ]
    advice = look(decisions, tiny_taxonomy).findings[0].advice
    assert advice == (
        "dezelfde tekst, andere labels bij beslissing 2:7 (mei.xlsx Beoordelen!9): "
        "daar wel smaak/eten neg; daar niet wachten/in_de_rij neg"
    )


def known_text(text: str, *labels: str, **more) -> LabelledText:
    (made,), _ = labelled_texts([decide(text, *labels, **more)], Taxonomy.parse(TINY_TAXONOMY))
    return replace(made, id="a01-0007")


def test_the_shipped_corpus_is_compared_with(tiny_taxonomy) -> None:
    known = [known_text(LONG, "op_antwoord:neg"), known_text("iets heel anders", "in_de_rij:neg")]
    found = look([decide(LONG, "in_de_rij:neg")], tiny_taxonomy, known=known).findings
    assert [finding.kind for finding in found] == ["dubbel"]
    assert (
        "in het meegeleverde corpus (a01-0007): daar wel wachten/op_antwoord neg" in found[0].advice
    )


def test_a_label_of_her_own_was_not_looked_for_in_the_corpus(tiny_taxonomy) -> None:
    known = [known_text(LONG, "in_de_rij:neg")]
    decisions = [decide(LONG, "in_de_rij:neg", "eten:neg")]
    assert not look(decisions, tiny_taxonomy, known=known).findings


def test_a_text_that_measures_is_not_one_that_was_learnt_from(tiny_taxonomy) -> None:
    measure = decide(LONG, part=MEASUREMENT, number="3:1")
    other = decide("bij de balie van het ziekenhuis was het juist heel erg rustig vandaag")
    assert look([measure, other], tiny_taxonomy).healthy
    for learnt in ([decide(NEARLY)], [decide(LONG + "!")]):
        diagnosis = look([measure, *learnt], tiny_taxonomy)
        assert kinds(diagnosis) == [("lek", 0)]
    diagnosis = look([measure], tiny_taxonomy, known=[known_text(NEARLY)])
    assert kinds(diagnosis) == [("lek", 0)]
    assert "3:1" in as_text(diagnosis)
    assert sheet_items(diagnosis) == ([], [])  # no label mends it
    # Two that both measure, and a few words that many customers use, are no leak.
    assert look([measure, replace(measure, text=NEARLY)], tiny_taxonomy).healthy
    assert look([decide("top", part=MEASUREMENT), decide("Top!")], tiny_taxonomy).healthy


# --- what contradicts itself, or is not shown -----------------------------------------------


def test_a_sentiment_against_all_aspects(tiny_taxonomy) -> None:
    decisions = [
        decide("een", "eten:neg", sentiment="positief"),
        decide("twee", "eten:pos", sentiment="negatief"),
        decide("drie", "eten:pos", "in_de_rij:neg", sentiment="negatief"),
        decide("vier", "eten:neg", sentiment="gemengd"),
        decide("vijf", sentiment="positief"),
    ]
    assert kinds(look(decisions, tiny_taxonomy)) == [("tegenspraak", 0), ("tegenspraak", 1)]


def test_evidence_is_asked_of_long_texts_with_several_aspects(tiny_taxonomy) -> None:
    long = " ".join(f"woord{i}" for i in range(30))
    decisions = [
        decide(long, "eten:neg", "in_de_rij:neg"),
        decide(long + " a", "eten:neg:woord1", "in_de_rij:neg:woord9"),
        decide(long + " b", "eten:neg"),
        decide("kort", "eten:neg", "in_de_rij:neg"),
        decide(long.upper() + " c", "eten:neg", "in_de_rij:neg", part=MEASUREMENT),
    ]
    found = [f for f in look(decisions, tiny_taxonomy).findings if f.kind == doctor.EVIDENCE]
    assert [finding.row for finding in found] == [0]


# --- labels that are too small, or taken for each other -------------------------------------


def test_a_small_label_is_told_with_what_it_needs(sound, tiny_taxonomy) -> None:
    weak = {row: {"in_de_rij:neg": 0.4} for row in range(12)}  # found in 5 of the 17
    decisions = sound[3:]
    counts = {"op_antwoord": 500, "eten": 500, "weg": 500}
    diagnosis = look(decisions, tiny_taxonomy, beliefs=weak, counts=counts)
    (small,) = diagnosis.small
    assert (small.label, small.n_examples, small.basis) == ("in_de_rij", 17, "schatting")
    assert small.f1 == pytest.approx(10 / 22)
    assert 20 <= small.needed <= 60
    told = as_text(diagnosis)
    assert (
        f"wachten/in_de_rij: 17 voorbeelden, naar schatting ongeveer {small.needed} nodig" in told
    )


def test_a_small_label_that_is_found_well_is_large_enough(sound, tiny_taxonomy) -> None:
    assert not look(sound, tiny_taxonomy, counts={}).small


@pytest.mark.parametrize(
    ("n", "told"), [(0, "nog geen voorbeeld"), (1, "1 voorbeeld,"), (4, "4 vo")]
)
def test_hardly_any_example(n, told, sound, tiny_taxonomy) -> None:
    decisions = [*sound[20:], *crowd(n, "in_de_rij:neg")]
    judged = judge(decisions, tiny_taxonomy)
    columns = [i for i, name in enumerate(judged.space.names) if "in_de_rij" in name]
    judged.probability[:, columns] = 0.001  # never learnt
    (small,) = examine(decisions, tiny_taxonomy, judged=judged).small
    assert (small.label, small.n_examples, small.basis) == ("in_de_rij", n, "vuistregel")
    diagnosis = examine(decisions, tiny_taxonomy, judged=judged)
    assert f"wachten/in_de_rij: {told}" in as_text(diagnosis)
    assert "meestal zijn er ongeveer 50 nodig" in as_text(diagnosis)


def test_a_measured_curve_tells_what_is_needed(sound, tiny_taxonomy) -> None:
    weak = {row: {"in_de_rij:neg": 0.4} for row in range(15)}
    curve = Curve((5, 10, 13), (0.1, 0.3, 0.37), 20)
    diagnosis = look(
        sound, tiny_taxonomy, beliefs=weak, counts={"in_de_rij": 0}, curves={"in_de_rij": curve}
    )
    small = next(s for s in diagnosis.small if s.label == "in_de_rij")
    assert (small.basis, small.needed) == ("gemeten", curve.needed())
    assert "volgens de leercurve" in as_text(diagnosis)
    assert "0,37 met 13" in as_text(diagnosis)
    hopeless = {"in_de_rij": Curve((5, 10, 13), (0.0, 0.0, 0.01), 20)}
    diagnosis = look(sound, tiny_taxonomy, beliefs=weak, counts={}, curves=hopeless)
    assert diagnosis.small[0].needed > curve.needed()


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=5),
    st.integers(0, 4),
    st.floats(0, 0.5),
)
def test_a_better_curve_needs_no_more_examples(f1, at, more) -> None:
    sizes = tuple(5 * 2**i for i in range(len(f1)))
    better = [min(v + more * (i == at), 1.0) for i, v in enumerate(f1)]
    needed = [Curve(sizes, tuple(values), 30).needed() or 10**6 for values in (f1, better)]
    assert needed[1] <= needed[0]
    assert needed[1] >= 10


@pytest.mark.parametrize("needed", [20, 35, 60, 110, 180])
def test_the_number_needed_is_found_back(needed) -> None:
    slope = (doctor._CEILING - doctor.TARGET) * needed**doctor._EXPONENT
    sizes = (5, 10, 20)
    f1 = tuple(doctor._CEILING - slope / n**doctor._EXPONENT for n in sizes)
    assert Curve(sizes, f1, 30).needed() == pytest.approx(needed, abs=5)
    assert Curve(sizes, (0.0, 0.0, 0.0), 30).needed(0.85) is None


def test_leaves_that_are_taken_for_each_other(sound, tiny_taxonomy) -> None:
    swapped = {"in_de_rij:neg": 0.2, "op_antwoord:neg": 0.6}
    back = {"in_de_rij:neg": 0.6, "op_antwoord:neg": 0.2}
    beliefs = {**dict.fromkeys(range(5), swapped), **dict.fromkeys(range(20, 22), back)}
    (pair,) = look(sound, tiny_taxonomy, beliefs=beliefs).confusions
    assert (pair.first, pair.second) == ("in_de_rij", "op_antwoord")
    assert (pair.as_second, pair.as_first, pair.n_texts) == (5, 2, 40)
    assert pair.share == pytest.approx(7 / 40)
    told = as_text(look(sound, tiny_taxonomy, beliefs=beliefs))
    assert "‘In de rij’ (in_de_rij) en ‘Op antwoord’ (op_antwoord)" in told
    # The one missed, and the other found in other texts, is no confusion.
    beliefs = {
        **{row: {"in_de_rij:neg": 0.2} for row in range(5)},
        **{row: {"op_antwoord:neg": 0.6} for row in range(40, 45)},
    }
    assert not look(sound, tiny_taxonomy, beliefs=beliefs).confusions
    # Nor is the other where it is found everywhere.
    beliefs = {
        row: {"in_de_rij:neg": 0.2 if row < 8 else 0.8, "op_antwoord:neg": 0.6}
        for row in range(0, 100, 2)
    }
    assert not look(sound, tiny_taxonomy, beliefs=beliefs).confusions


# --- analysts -------------------------------------------------------------------------------


def shared(n: int, analysts: str, strange: dict[str, int]) -> list[Decision]:
    """Texts that all analysts judged; one labels the first so many otherwise."""
    return [
        decide(
            f"verhaal {i}",
            "eten:neg" if i < strange.get(name, 0) else "in_de_rij:neg",
            analyst=name,
        )
        for i in range(n)
        for name in analysts
    ]


@pytest.mark.parametrize(
    ("n", "analysts", "strange", "expected"),
    [
        (20, "ab", {"b": 10}, [("a", "b", 10, 20)]),
        (20, "ab", {"b": 2}, []),
        (8, "ab", {"b": 8}, []),
        (30, "abc", {"c": 20}, [("c", None, 40, 60)]),
        (30, "abc", {"c": 2, "b": 1}, []),
        (30, "a", {}, []),
        (5, "abc", {"c": 5}, []),  # 10 pairs with the others, who agree 5 times: too few
        (10, "abc", {"c": 2}, []),  # may be chance
    ],
)
def test_an_analyst_who_labels_differently(n, analysts, strange, expected, tiny_taxonomy) -> None:
    made = shared(n, analysts, strange)
    diagnosis = look([made[0]], tiny_taxonomy, made=made)
    found = [(d.analyst, d.from_whom, d.n_different, d.n_texts) for d in diagnosis.deviations]
    assert found == expected
    for name, *_ in expected:
        assert f"  {name} " in as_text(diagnosis)


def test_of_an_analyst_the_latest_decision_counts(tiny_taxonomy) -> None:
    made = [*shared(20, "ab", {"b": 15}), *shared(20, "b", {})]
    assert not look([made[0]], tiny_taxonomy, made=made).deviations


def test_an_analyst_whom_the_model_contradicts(sound, tiny_taxonomy) -> None:
    decisions = [replace(d, analyst="ab"[i % 2]) for i, d in enumerate(sound)]
    wrong = {"in_de_rij:neg": 0.97}
    (deviation,) = look(
        decisions, tiny_taxonomy, beliefs=dict.fromkeys(range(21, 61, 2), wrong)
    ).deviations
    assert (deviation.analyst, deviation.by_model) == ("b", True)
    assert (deviation.n_different, deviation.n_texts) == (20, 50)
    assert (deviation.others_different, deviation.others_texts) == (0, 50)
    for rows in (range(21, 31, 2), [*range(21, 100, 2), *range(20, 68, 2)]):  # chance; not far more
        beliefs = dict.fromkeys(rows, wrong)
        assert not look(decisions, tiny_taxonomy, beliefs=beliefs).deviations
    both = dict.fromkeys(range(21, 61), wrong)
    assert not look(decisions, tiny_taxonomy, beliefs=both).deviations


# --- the sheet and the report -----------------------------------------------------------------


@pytest.fixture
def ill(sound) -> tuple[list[Decision], dict[int, dict[str, float]]]:
    """Decisions with something of everything, and what the model believes of them."""
    long = " ".join(f"woord{i}" for i in range(30))
    decisions = [
        *sound,
        decide(LONG, "in_de_rij:neg:een vol uur", "weg", question="Hoe was het?", score=3),
        decide(LONG + "!", "eten:neg", "op_antwoord:neg:kassa", part=MEASUREMENT),
        decide(long, "eten:neg:woord2", "eten:pos", "op_antwoord:neg", sentiment="gemengd"),
        decide("=1+1 is geen formule", "eten:neg", sentiment="positief"),
        decide("nieuw", "eten:neu", sentiment=None),
    ]
    decisions = [replace(d, number=f"1:{i}", analyst="Noor") for i, d in enumerate(decisions, 1)]
    confused = {"in_de_rij:neg": 0.2, "op_antwoord:neg": 0.6}
    beliefs = {
        2: {"in_de_rij:neg": 0.001, "op_antwoord:neg": 0.96},
        50: {"eten:neg": 0.01, "eten:pos": 0.97},
        100: {"in_de_rij:neg": 0.001},
        **dict.fromkeys(range(8), confused),
    }
    return decisions, beliefs


def test_the_sheet_holds_each_text_once_with_its_own_labels(ill, tiny_taxonomy) -> None:
    decisions, beliefs = ill
    diagnosis = look(decisions, tiny_taxonomy, beliefs=beliefs)
    items, extra = sheet_items(diagnosis)
    assert len({item.key for item in items}) == len(items) == len(extra)
    gains = [row["winst"] for row in extra]
    assert gains == sorted(gains, reverse=True)
    assert all(0 <= gain <= 1 for gain in gains)
    by_key = {decision.key: decision for decision in decisions}
    for item in items:
        decision = by_key[item.key]
        assert {(a.leaf, a.polarity) for a in item.result.aspects} == decision.labels[0]
        assert {s.signal for s in item.result.signals} == set(decision.signals)
        assert item.part == decision.part
    several = next(i for i, item in enumerate(items) if item.text == LONG)
    assert extra[several]["advies"].count("\n") >= 1
    assert sheet_items(diagnosis, most=2) == (items[:2], extra[:2])


def test_of_two_decisions_about_one_text_the_latest_is_shown(tiny_taxonomy) -> None:
    decisions = [
        decide(LONG, "in_de_rij:neg", analyst="a", number="1:1"),
        decide(LONG, "eten:neg", analyst="b", number="2:1"),
    ]
    (item,), (extra,) = sheet_items(look(decisions, tiny_taxonomy))
    assert [a.leaf for a in item.result.aspects] == ["eten"]
    assert "1:1" in extra["advies"]


def test_corrections_read_the_sheet_back(ill, tiny_taxonomy, tmp_path) -> None:
    decisions, beliefs = ill
    items, extra = sheet_items(look(decisions, tiny_taxonomy, beliefs=beliefs))
    path = tmp_path / "doctor.xlsx"
    assert write_sheet(path, items, tiny_taxonomy, extra=extra) == 0
    assert not read_sheet(path, tiny_taxonomy, analyst="Noor").decisions  # nothing was changed yet
    book = openpyxl.load_workbook(path)
    sheet = book["Beoordelen"]
    headings = [cell.value for cell in sheet[1]]
    assert {"advies", "winst"} <= set(headings)
    for row in range(2, len(items) + 2):
        sheet.cell(row, headings.index("gecontroleerd") + 1).value = "ja"
        mood = sheet.cell(row, headings.index("sentiment") + 1)
        mood.value = mood.value or "neutraal"
    book.save(path)
    read = read_sheet(path, tiny_taxonomy, analyst="Noor")
    assert not read.problems
    before = {decision.key: decision for decision in decisions}
    assert len(read.decisions) == len(items)
    for decision in read.decisions:
        was = before[decision.key]
        assert set(decision.aspects) == set(was.aspects)
        assert decision.sentiment == (was.sentiment or "neutraal")
        assert (decision.signals, decision.part) == (was.signals, was.part)


def test_the_report_is_dutch_narrow_and_without_customers_words(ill, tiny_taxonomy) -> None:
    decisions, beliefs = ill
    made = shared(20, "ab", {"b": 10})
    diagnosis = look(decisions, tiny_taxonomy, beliefs=beliefs, counts={}, made=made)
    told = as_text(diagnosis, "doctor.xlsx")
    for heading in ("MISSCHIEN", "DEZELFDE", "VERWARD", "ANALISTEN", "MEETTEKSTEN", "VERDER", "NU"):
        assert heading in told
    assert "druppel corrections add doctor.xlsx" in told
    assert max(map(len, told.splitlines())) <= 100
    plain = json.dumps(diagnosis.to_dict(), ensure_ascii=False)
    advice = "".join(str(row["advies"]) for row in sheet_items(diagnosis)[1])
    for secret in ("een vol uur", "kassa", "Hoorn", "verhaal", "woord2", "formule"):
        for shown in (told, plain, advice):
            assert secret not in shown


def test_many_labels_are_summed_up(tiny_taxonomy) -> None:
    decisions = crowd(60, "in_de_rij:neg", sentiment="positief")
    told = as_text(look(decisions, tiny_taxonomy))
    assert "sentiment dat niet bij de labels past: 60 teksten" in told
    same = [
        decide(f"{LONG} {i} keer", f"{'eten' if i % 2 else 'in_de_rij'}:neg") for i in range(30)
    ]
    told = as_text(look(same, tiny_taxonomy))
    assert "… en nog 20" in told


def test_same_input_same_output(ill, tiny_taxonomy) -> None:
    decisions, beliefs = ill
    first, second = (look(decisions, tiny_taxonomy, beliefs=beliefs) for _ in range(2))
    assert first.to_dict() == second.to_dict()
    gains = [round(finding.gain, 6) for finding in first.findings]
    assert gains == sorted(gains, reverse=True)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["top", "Top!", LONG, LONG + ".", NEARLY, "", "👍", "de soep"]),
            st.sets(st.sampled_from(["eten:neg", "eten:pos", "in_de_rij:neg", "weg"])),
            st.sampled_from([None, *SENTIMENTS]),
            st.sampled_from([TRAINING, MEASUREMENT]),
            st.sampled_from([None, "Hoe?"]),
        ),
        max_size=12,
    )
)
def test_whatever_was_decided_can_be_examined(rows) -> None:
    taxonomy = Taxonomy.parse(TINY_TAXONOMY)
    decisions = [
        decide(text, *sorted(labels), sentiment=mood, part=part, question=question)
        for text, labels, mood, part, question in rows
    ]
    diagnosis = look(decisions, taxonomy, counts={})
    items, _ = sheet_items(diagnosis)
    assert len({item.key for item in items}) == len(items)
    assert as_text(diagnosis).startswith(f"{len(rows)} beslissing")
    json.dumps(diagnosis.to_dict())


def test_another_taxonomy_or_number_of_texts_is_refused(sound, tiny_taxonomy) -> None:
    judged = judge(sound, tiny_taxonomy)
    with pytest.raises(ValueError, match="not of these decisions"):
        examine(sound[1:], tiny_taxonomy, judged=judged)
    with pytest.raises(ValueError, match="labels that the taxonomy does not have"):
        examine([*sound[1:], decide("x", "weg_ermee:neg")], tiny_taxonomy, judged=judged)


# --- the learning curve -----------------------------------------------------------------------

GROWN = (
    TINY_TAXONOMY
    + """
[[label]]
slug = "parkeren"
parent = "smaak"
name_nl = "Parkeren"
name_en = "Parking"
definition = "Parkeren bij de zaak."
counter_definition = ""
examples = []
seeds = []
"""
)
_PARKING = ["de parkeergarage was vol", "nergens een parkeerplek", "parkeren kost een fortuin"]


def test_the_learning_curve_rises_with_examples(tiny_trained) -> None:
    taxonomy = Taxonomy.parse(GROWN)
    base = load_model(tiny_trained.folder)
    rng = np.random.default_rng(0)
    letters = list("bdfgklmnprstvz")
    words = ["".join(rng.choice(letters, 5)) for _ in range(400)]
    own = [
        decide(f"{' '.join(rng.choice(words, 9))} {_PARKING[i % 3]}", "parkeren:neg")
        for i in range(45)
    ] + [
        decide(f"{' '.join(rng.choice(words, 9))} niets te melden", sentiment="neutraal")
        for _ in range(60)
    ]
    own += [decide("een enkele keer de rij", "in_de_rij:pos", sentiment="positief")]
    texts, _ = labelled_texts(own, taxonomy)
    told: list[str] = []
    curves = learning_curve(
        base, taxonomy, texts, [], ["parkeren", "in_de_rij"], (2, 10, 100), progress=told.append
    )
    assert list(curves) == ["parkeren"]  # of the other there is a single example
    curve = curves["parkeren"]
    assert curve.sizes == (2, 10, 30)  # two thirds of 45
    assert curve.n_positive == 45
    assert curve.f1[0] < curve.f1[-1]
    assert curve.f1[-1] >= 0.9
    assert curve.needed() <= 30
    assert "parkeren: 10 examples done" in told
    with pytest.raises(ValueError, match="no label 'parkeer'"):
        learning_curve(base, taxonomy, texts, [], ["parkeer"])


def test_rare_gold_is_counted_by_text() -> None:
    """A leaf that a text bears with two polarities is one example."""
    texts, _ = labelled_texts(
        [decide("x", "eten:neg", "eten:pos", "weg")], Taxonomy.parse(TINY_TAXONOMY)
    )
    assert doctor._count(texts) == Counter({"eten": 1, "weg": 1})
