from collections import Counter
from itertools import pairwise

import pytest

from druppel.corpus import GoldAspect
from druppel.corrections import MEASUREMENT, TRAINING, Decision, text_key
from druppel.errors import InputError
from druppel.features import TextFeatures
from druppel.labeler import BATCH_SIZE, Labeler
from druppel.model import expected_errors
from druppel.review import RANDOM, UNLIKE, Answer, _Picker, _Scored, as_result, pick

PLACES = [
    "bij de slager in Deventer",
    "op kantoor na de vergadering",
    "met mijn neef en zijn vrouw",
    "aan zee tijdens de storm",
    "achter de kerk op het plein",
    "in het museum van de stad",
    "naast het zwembad op vakantie",
    "voor de wedstrijd van gisteren",
]
EVENTS = [
    "een uur in de rij gestaan",
    "nooit antwoord gekregen",
    "de soep was koud en flauw",
    "heerlijk gegeten",
    "geen opmerkingen verder",
    "lange rij en taaie biefstuk gegeten",
]


@pytest.fixture(scope="module")
def model(tiny_trained):
    return Labeler.load(tiny_trained.folder).model


@pytest.fixture(scope="module")
def answers():
    texts = [f"{event} {place}" for place in PLACES for event in EVENTS]
    return [Answer(text, row=row) for row, text in enumerate(texts, start=2)]


def reasons(items):
    return Counter(item.reason.split(":")[0].split(" over ")[0] for item in items)


def test_a_share_measures_and_the_rest_teaches(model, answers):
    items = pick(model, answers, size=20, measure_share=0.25)
    assert Counter(item.part for item in items) == {MEASUREMENT: 5, TRAINING: 15}
    assert all((item.part == MEASUREMENT) == (item.reason == RANDOM) for item in items)
    assert len({item.key for item in items}) == 20
    by_row = {answer.row: answer.text for answer in answers}
    assert all(by_row[item.row] == item.text for item in items)


def test_the_same_input_gives_the_same_queue(model, answers):
    first = pick(model, answers, size=20, counts={"eten": 3})
    assert pick(model, answers, size=20, counts={"eten": 3}) == first
    other = pick(model, answers, size=20, counts={"eten": 3}, random_state=1)
    assert other != first


def test_results_are_the_labelers(model, answers):
    labeler = Labeler(model)
    asked = [Answer(a.text, "Wat kan er beter?", 3.0) for a in answers[:20]]
    asked += [Answer("Prima gegeten hoor", "Wat ging er goed?", 77.0)]
    for item in pick(model, asked, size=30):
        assert item.result == labeler.label(item.text, item.question, item.score)


def test_the_random_slice_is_honest(model, answers, monkeypatch):
    """Every answer is as likely to be drawn, whatever the other strategies would take."""
    some = answers[:12]
    scored = _Scored.of(model, some, lambda done, total: None)
    monkeypatch.setattr(_Scored, "of", lambda *_: scored)
    drawn = Counter()
    for seed in range(60):
        items = pick(model, some, size=12, measure_share=0.5, random_state=seed)
        drawn.update(item.row for item in items if item.part == MEASUREMENT)
    # Each of 12 answers is drawn 30 times on average, with a standard deviation of 3.9.
    assert sum(drawn.values()) == 360
    assert all(14 < drawn[answer.row] < 46 for answer in some)


def test_the_random_slice_does_not_follow_from_the_rest(model, answers):
    def measured(**options):
        items = pick(model, answers, size=20, **options)
        return {item.key for item in items if item.part == MEASUREMENT}

    assert measured() == measured(counts={"in_de_rij": 1, "eten": 500, "op_antwoord": 500})


def test_what_was_decided_is_not_asked(model, answers):
    known = {text_key(answer.text) for answer in answers[::2]}
    items = pick(model, [*answers, Answer(answers[0].text.upper() + " !")], size=100, known=known)
    assert known.isdisjoint(item.key for item in items)
    # Written otherwise it is still the same answer.
    assert answers[0].text not in {item.text.lower().rstrip(" !") for item in items}
    assert len(items) == len(answers) // 2


def test_the_same_answer_is_asked_once(model):
    long = "wij hebben een uur in de rij gestaan bij de kassa van de grote supermarkt in Deventer"
    answers = [
        Answer("heerlijk gegeten", row=2),
        Answer("Heerlijk  gegeten!", row=3),
        Answer(long, row=4),
        Answer(long.replace("Deventer", "Deventerr"), row=5),
        Answer(long, "Wat kan er beter?", row=6),
        Answer("niets", "Wat kan er beter?", row=7),
        Answer("Niets.", "Wat ging er goed?", row=8),
    ]
    rows = [item.row for item in pick(model, answers, size=50, measure_share=0)]
    # Under another question a few words say something else, and a story does not.
    assert {2, 7, 8} < set(rows)
    assert len(set(rows) & {4, 5, 6}) == 1
    assert 3 not in rows


def test_no_near_copy_of_what_measures_is_trained_on(model):
    stories = [f"ik stond een uur in de rij bij de kassa van winkel {name}" for name in "abcdefgh"]
    items = pick(model, [Answer(story) for story in stories], size=8, measure_share=0.5)
    assert len(items) == 1


def test_what_nobody_can_judge_is_not_asked(model):
    texts = ["", " \n", "12345", "!?", "🙂🙂", "lang verhaal " * 3000]
    texts += ["The parcel never arrived and nobody answers the phone"]
    good = Answer("heerlijk gegeten")
    for measure_share in (0.0, 1.0):
        items = pick(model, [*map(Answer, texts), good], size=10, measure_share=measure_share)
        assert [item.text for item in items] == [good.text]


def test_rare_leaves_get_places_and_are_named(model, answers):
    counts = {"in_de_rij": 4, "eten": 500, "op_antwoord": 500}
    items = pick(model, answers, size=24, counts=counts)
    rare = [item for item in items if item.reason.startswith("zeldzaam")]
    assert {item.reason for item in rare} == {"zeldzaam: In de rij"}
    assert len(rare) >= 4
    assert all("rij" in item.text for item in rare)
    assert not reasons(pick(model, answers, size=24))["zeldzaam"]


def test_rare_leaves_take_turns(model, answers):
    counts = {"in_de_rij": 4, "eten": 500, "op_antwoord": 5}
    rare = [i.reason for i in pick(model, answers, size=40, counts=counts) if "zeldz" in i.reason]
    assert Counter(rare)["zeldzaam: In de rij"] > 1
    assert Counter(rare)["zeldzaam: Op antwoord"] > 1


def test_a_leaf_that_was_never_learnt_does_not_take_all_places(model, answers):
    column = model.space.leaf(0, 0)
    saved = model.sparse.labels.coef_.copy(), model.sparse.labels.intercept_.copy()
    assert model.space.leaves[0] == "in_de_rij"
    coef, intercept = model.sparse.labels.coef_, model.sparse.labels.intercept_
    try:
        for name in ("leaf", "category"):
            begin = model.space.slices[name].start
            coef[begin : begin + 3], intercept[begin : begin + 3] = 0.0, 5.0
        assert coef[column].sum() == 0
        items = pick(model, answers, size=20, counts={"in_de_rij": 0, "eten": 9, "op_antwoord": 9})
    finally:
        coef[:], intercept[:] = saved
    assert "zeldzaam: In de rij" not in {item.reason for item in items}


def test_the_most_doubtful_come_with_the_category_of_the_doubt(model, answers):
    items = pick(model, answers, size=8, measure_share=0)
    labeler = Labeler(model)
    doubtful = [item for item in items if "twijfel" in item.reason]
    assert doubtful
    assert {item.reason for item in doubtful} <= {
        f"de twijfel over {about} is groot" for about in ("Wachten", "Smaak", "het sentiment")
    }

    def doubt(text):
        found = model.score(labeler.cut([text], [None], [None]))
        return expected_errors(found.texts, model.thresholds(), found.sentiments, model.space)[0]

    ranked = sorted((doubt(a.text) for a in answers), reverse=True)
    assert min(doubt(item.text) for item in doubtful) >= ranked[4 * len(doubtful)]
    assert all(doubt(a.text) >= doubt(b.text) for a, b in pairwise(doubtful))


def test_unknown_words_stand_out(model, answers):
    strange = Answer("mijn abonnement werd geblokkeerd wegens achterstallige incassokosten van u")
    items = pick(model, [*answers, strange], size=20, measure_share=0, random_state=3)
    assert {item.text: item.reason for item in items}[strange.text] == UNLIKE


def test_words_and_vectors_that_disagree(tiny_encoded, model, answers):
    labeler = Labeler.load(tiny_encoded.folder)
    items = pick(labeler.model, answers, size=20)
    assert reasons(items)["woorden en betekenis spreken elkaar tegen"] >= 3
    assert all(item.result == labeler.label(item.text) for item in items)
    # Without an encoder there is nothing to disagree with, and others get its places.
    without = pick(model, answers, size=20)
    assert len(without) == 20
    assert not reasons(without)["woorden en betekenis spreken elkaar tegen"]


def test_look_alikes_give_way():
    ends = ["in Zwolle", "met mijn neef", "na het werk", "gisteren", "bij jullie", "vaak"]
    alike = [f"de soep was koud en flauw {end}" for end in ends]
    other = ["nooit antwoord gekregen", "een uur in de rij", "ik kom niet meer terug", "top zaak"]
    ranking = range(len(alike) + len(other))
    answers = [Answer(text) for text in (*alike, *other)]
    taken = _Picker(answers).take(ranking, 4, diverse=True)
    assert taken[0] == 0  # the first of the ranking stays
    assert sum(i >= len(alike) for i in taken) >= 1
    assert _Picker(answers).take(ranking, 4, diverse=False) == [0, 1, 2, 3]


def test_half_the_queue_is_half_of_everything(model, answers):
    items = pick(model, answers, size=40, counts={"in_de_rij": 4, "eten": 500, "op_antwoord": 500})
    half, whole = reasons(items[:20]), reasons(items)
    assert len(whole) >= 3
    for reason, n in whole.items():
        assert abs(half[reason] - n / 2) <= 1, reason


def test_a_small_file_is_asked_whole(model, answers):
    items = pick(model, answers[:10], size=200)
    assert len(items) == 10
    assert sum(item.part == MEASUREMENT for item in items) == 2
    assert pick(model, [], size=5) == []


def test_each_answer_is_scored_once(model, monkeypatch):
    scored = []
    transform = TextFeatures.transform

    def counted(self, batch):
        scored.append(len(batch.texts))
        return transform(self, batch)

    monkeypatch.setattr(TextFeatures, "transform", counted)
    told = []
    many = [Answer(f"heerlijk gegeten {'zo ' * (n % 7)}{n} keer") for n in range(300)]
    pick(model, many, size=10, progress=lambda done, total: told.append((done, total)))
    assert scored == [BATCH_SIZE, 300 - BATCH_SIZE]
    assert told == [(BATCH_SIZE, 300), (300, 300)]


@pytest.mark.parametrize("options", [{"size": 0}, {"measure_share": 1.5}, {"measure_share": -0.1}])
def test_impossible_sizes_are_refused(model, options):
    with pytest.raises(InputError, match=r"must be"):
        pick(model, [Answer("prima")], **options)


def test_a_decision_as_a_result(tiny_taxonomy):
    text = "Lekker brood, lange rij. Ik kom niet meer."
    aspects = (
        GoldAspect("in_de_rij", "neg", "lange rij"),
        GoldAspect("eten", "pos", None),
        GoldAspect("verdwenen", "neg", None),
    )
    decision = Decision(text, aspects, "gemengd", ("weg",))
    result = as_result(decision, tiny_taxonomy, model="hand")
    assert [(a.category, a.leaf, a.polarity, a.evidence) for a in result.aspects] == [
        ("smaak", "eten", "pos", ""),
        ("", "verdwenen", "neg", ""),
        ("wachten", "in_de_rij", "neg", "lange rij"),
    ]
    assert all(text[a.start : a.end] == a.evidence for a in result.aspects)
    assert result.sentiment.label == "gemengd"
    assert [signal.signal for signal in result.signals] == ["weg"]
    assert as_result(Decision(text, (), None, ()), tiny_taxonomy).sentiment is None
