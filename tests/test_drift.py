import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import ROOT, TINY_TAXONOMY

from druppel.corpus import GoldAspect, LabelledText, read_corpus
from druppel.drift import (
    DOWN,
    FEW_HELD_OUT,
    IMPRECISE,
    SAME,
    TOO_FEW,
    UNLIKE,
    UP,
    Period,
    corrected_share,
    corrected_shares,
    drift,
)
from druppel.drift_report import as_html, as_text, conclude
from druppel.errors import InputError
from druppel.result import SENTIMENTS, Aspect, Result, Sentiment, Signal
from druppel.taxonomy import Taxonomy

TAXONOMY = Taxonomy.parse(TINY_TAXONOMY)
LEAF = {"wachten": "in_de_rij", "smaak": "eten"}


def result(irritations=(), sentiment="negatief", *, signals=(), language="nl", review=False):
    known = language == "nl"
    return Result(
        Sentiment(sentiment, 0.0) if known else None,
        tuple(Aspect(c, LEAF[c], "neg", 0.9, 0, 1, "x") for c in irritations),
        tuple(Signal(s, 0.9, 0, 1, "x") for s in signals),
        language,
        review,
        "klein 0.1",
    )


def gold(irritations=(), sentiment="negatief", *, signals=()):
    aspects = tuple(GoldAspect(LEAF[c], "neg") for c in irritations)
    return LabelledText("i", "x", aspects, sentiment, signals, None, None, None, "a:1")


def held_out(positives=60, negatives=200, sensitivity=0.8, specificity=0.95):
    """Texts of which some complain of waiting, and what a model with such errors says."""
    hits, false = round(positives * sensitivity), round(negatives * (1 - specificity))
    texts = [gold(["wachten"])] * positives + [gold()] * negatives
    found = [True] * hits + [False] * (positives - hits)
    found += [True] * false + [False] * (negatives - false)
    return {
        "held_out": texts,
        "held_out_results": [result(["wachten"] if f else []) for f in found],
        "taxonomy": TAXONOMY,
    }


def period(name, results, texts=None):
    return Period(name, texts if texts is not None else [""] * len(results), results)


def waiting(name, found, total):
    return period(name, [result(["wachten"])] * found + [result()] * (total - found))


def of(found, label):
    return next(row for row in found.labels if row.label == label)


# --- shares -------------------------------------------------------------------------------------


def test_shares_and_difference_by_hand():
    found = of(drift(waiting("a", 40, 400), waiting("b", 100, 400), **held_out()), "wachten")
    assert (found.kind, found.name, found.found) == ("irritation", "Wachten", (40, 100))
    assert (found.held_out, found.sensitivity, found.specificity) == (60, 0.8, 0.95)
    assert [share.value for share in found.observed] == [0.1, 0.25]
    assert found.corrected is not None
    assert [share.value for share in found.corrected] == pytest.approx([0.05 / 0.75, 0.2 / 0.75])
    assert found.difference.value == pytest.approx(0.15 / 0.75)
    assert found.judgement == UP
    assert found.p_value < 1e-6


def test_confusion_is_shared_so_that_its_error_falls_out_of_a_difference():
    found = of(
        drift(
            waiting("a", 2000, 10_000),
            waiting("b", 2000, 10_000),
            **held_out(positives=20, negatives=40, sensitivity=0.8, specificity=0.9),
        ),
        "wachten",
    )
    widths = [share.high - share.low for share in found.corrected]
    assert found.difference.high - found.difference.low < 0.3 * min(widths)


@pytest.mark.parametrize(
    ("errors", "found", "reason"),
    [
        ({"positives": 9}, (40, 40), FEW_HELD_OUT),
        ({"negatives": 9}, (40, 40), FEW_HELD_OUT),
        ({"sensitivity": 0.2, "specificity": 0.9}, (40, 40), IMPRECISE),
        ({"specificity": 0.8}, (8, 10), UNLIKE),
        ({}, (395, 398), UNLIKE),
        ({}, (40, 40), None),
    ],
)
def test_when_no_correction_is_given(errors, found, reason):
    a, b = (waiting(name, n, 400) for name, n in zip("ab", found, strict=True))
    row = of(drift(a, b, **held_out(**errors)), "wachten")
    assert row.uncorrectable == reason
    assert (row.corrected is None) == (reason is not None)
    assert row.shares == (row.corrected or row.observed)
    if reason:
        assert row.difference.value == pytest.approx((found[1] - found[0]) / 400)


def test_without_held_out_texts_the_observed_shares_are_compared():
    found = drift(
        waiting("a", 40, 400),
        waiting("b", 100, 400),
        held_out=[],
        held_out_results=[],
        taxonomy=TAXONOMY,
    )
    assert {row.uncorrectable for row in found.labels} == {FEW_HELD_OUT}
    assert of(found, "wachten").judgement == UP
    assert of(found, "wachten").sensitivity is None


def test_held_out_texts_without_sentiment_or_of_another_language_are_left_out():
    given = held_out()
    given["held_out"] = [*given["held_out"], gold(["wachten"]), gold([], None)]
    given["held_out_results"] = [
        *given["held_out_results"],
        result(language="en"),
        result([], "positief"),
    ]
    found = drift(waiting("a", 40, 400), waiting("b", 40, 400), **given)
    assert of(found, "wachten").held_out == 60
    assert of(found, "negatief").held_out == 260


@pytest.mark.parametrize(
    ("a", "b", "judgement"),
    [
        ((10, 29), (20, 300), TOO_FEW),
        ((0, 300), (4, 300), TOO_FEW),
        ((30, 300), (30, 300), SAME),
        ((30, 300), (90, 300), UP),
        ((90, 300), (30, 300), DOWN),
    ],
)
def test_judgement(a, b, judgement):
    found = drift(waiting("a", *a), waiting("b", *b), **held_out())
    assert of(found, "wachten").judgement == judgement
    if judgement == TOO_FEW:
        assert of(found, "wachten").p_value == 1


def test_shares_that_need_no_correction():
    a = period("a", [result(["smaak"])] * 90 + [result(language=None)] * 10)
    b = period(
        "b",
        [result(["smaak"], review=True)] * 40
        + [result()] * 20
        + [result(language="en", review=True)] * 20
        + [result(language=None)] * 20,
    )
    found = drift(a, b, **held_out())
    assert (found.review.found, found.review.total) == ((0, 60), (90, 80))
    assert (found.unlabelled.found, found.unlabelled.total) == ((0, 20), (90, 60))
    assert (found.foreign.found, found.foreign.total) == ((0, 20), (90, 80))
    assert (found.empty.found, found.empty.total) == ((10, 20), (100, 100))
    judgements = [found.review, found.unlabelled, found.foreign, found.empty]
    assert [share.judgement for share in judgements] == [UP, UP, UP, SAME]
    assert (found.new.n_texts, found.new.n_dutch) == (100, 60)
    assert of(found, "smaak").observed[1].value == pytest.approx(40 / 60)  # of the Dutch answers


def test_rogan_gladen_and_em_agree_where_shares_are_possible():
    confusion = np.array([[[0.7, 0.3], [0.05, 0.95]]])
    for observed in (0.05, 0.2, 0.6):
        shares = corrected_shares(np.array([[observed, 1 - observed]]), confusion)[0]
        assert shares.sum() == pytest.approx(1)
        assert shares[0] == pytest.approx(corrected_share(observed, 0.7, 0.95), abs=0.002)


# --- simulation ---------------------------------------------------------------------------------

CONFUSION = np.array(
    [
        [0.85, 0.03, 0.05, 0.07],
        [0.05, 0.85, 0.04, 0.06],
        [0.15, 0.1, 0.72, 0.03],
        [0.25, 0.15, 0.02, 0.58],
    ]
)


def simulated(rng, n, share, sentiments, sensitivity=0.6, specificity=0.9):
    """True labels, and results with known errors."""
    complains = rng.random(n) < share
    feels = rng.choice(4, n, p=sentiments)
    found = np.where(complains, rng.random(n) < sensitivity, rng.random(n) > specificity)
    said = (rng.random(n)[:, None] > CONFUSION[feels].cumsum(axis=1)).sum(axis=1)
    pairs = [(f, s) for f in (0, 1) for s in range(4)]
    texts = {(c, s): gold(["wachten"] * c, SENTIMENTS[s]) for c, s in pairs}
    results = {(f, s): result(["wachten"] * f, SENTIMENTS[s]) for f, s in pairs}
    return (
        [texts[pair] for pair in zip(complains.astype(int), feels, strict=True)],
        [results[pair] for pair in zip(found.astype(int), said, strict=True)],
    )


def simulate(rng, shares, sentiments, n=300):
    texts, results = simulated(rng, 500, 0.3, [0.4, 0.3, 0.2, 0.1])
    periods = [
        period(name, simulated(rng, n, share, feels)[1])
        for name, share, feels in zip("ab", shares, sentiments, strict=True)
    ]
    return drift(*periods, held_out=texts, held_out_results=results, taxonomy=TAXONOMY, n_draws=300)


def test_intervals_cover_the_truth_and_uncorrected_ones_do_not():
    rng = np.random.default_rng(7)
    shares, sentiments = (0.05, 0.15), ([0.6, 0.25, 0.1, 0.05], [0.3, 0.4, 0.1, 0.2])
    covered: dict[str, list[bool]] = {}

    def note(what, figure, truth):
        covered.setdefault(what, []).append(figure.low <= truth <= figure.high)

    runs = 200
    for _ in range(runs):
        found = simulate(rng, shares, sentiments)
        wanted = {"wachten": shares}
        wanted |= {s: (sentiments[0][i], sentiments[1][i]) for i, s in enumerate(SENTIMENTS)}
        for label, truth in wanted.items():
            row = of(found, label)
            if row.corrected is None:  # rarely, a period seems to have other errors
                continue
            note(f"{label} verschil", row.difference, truth[1] - truth[0])
            for i in (0, 1):
                note(f"{label} {i}", row.corrected[i], truth[i])
                note(f"{label} {i} gevonden", row.observed[i], truth[i])
    coverage = {what: np.mean(hits) for what, hits in covered.items()}
    corrected = {k: v for k, v in coverage.items() if not k.endswith("gevonden")}
    assert len(covered["wachten 0"]) > 0.95 * runs
    assert min(corrected.values()) > 0.89
    assert 0.93 < np.mean(list(corrected.values())) < 0.98
    assert coverage["wachten 0 gevonden"] < 0.1
    assert coverage["gemengd 1 gevonden"] < 0.8


def test_without_drift_little_is_called_changed():
    rng = np.random.default_rng(3)
    feels = [0.4, 0.3, 0.2, 0.1]
    runs = 60
    alarms = 0
    for _ in range(runs):
        found = simulate(rng, (0.15, 0.15), (feels, feels))
        alarms += any(row.judgement in (UP, DOWN) for row in found.labels)
    assert alarms <= 0.1 * runs


# --- properties ---------------------------------------------------------------------------------

some_results = st.lists(
    st.builds(
        result,
        st.sets(st.sampled_from(sorted(LEAF))).map(sorted),
        st.sampled_from(SENTIMENTS),
        signals=st.sampled_from([(), ("weg",)]),
        language=st.sampled_from(["nl", "nl", "nl", "en", None]),
        review=st.booleans(),
    ),
    min_size=1,
    max_size=60,
)
some_gold = st.builds(
    gold, st.sets(st.sampled_from(sorted(LEAF))).map(sorted), st.sampled_from(SENTIMENTS)
)


@settings(max_examples=40, deadline=None)
@given(some_results, some_results, st.lists(st.tuples(some_gold, some_results), max_size=40))
def test_properties(old, now, pairs):
    known = {
        "held_out": [text for text, _ in pairs],
        "held_out_results": [results[0] for _, results in pairs],
        "taxonomy": TAXONOMY,
        "n_draws": 50,
    }
    a, b = period("a", old), period("b", now)
    there, back = drift(a, b, **known), drift(b, a, **known)
    for row, mirrored in zip(there.labels, back.labels, strict=True):
        for share in (*row.observed, *(row.corrected or ())):
            assert 0 <= share.low <= share.value <= share.high <= 1
        gap = row.difference
        assert -1 <= gap.low <= gap.value <= gap.high <= 1
        assert row.found == mirrored.found[::-1]
        assert row.p_value == pytest.approx(mirrored.p_value)
        if (row.corrected is None) == (mirrored.corrected is None):
            assert gap.value == pytest.approx(-mirrored.difference.value, abs=1e-9)
    assert json.loads(json.dumps(there.to_dict()))["new"]["n_texts"] == len(now)
    assert max(map(len, as_text(there).splitlines())) <= 100


def test_same_input_same_output():
    words = ["de rij was lang", "heerlijk gegeten vandaag", "top"] * 20
    a = period("a", [result(["wachten"]), result(), result()] * 20, words)
    b = period("b", [result(), result(), result(["smaak"])] * 20, words[::-1])
    assert drift(a, b, **held_out()).to_dict() == drift(a, b, **held_out()).to_dict()


# --- words --------------------------------------------------------------------------------------

SUBJECTS = ["de monteur", "mijn factuur", "de winkel", "het pakket", "die medewerker", "onze tafel"]
ENDINGS = ["viel tegen", "was prima", "kwam later", "beviel ons", "klopte niet", "stond klaar"]
PLACES = ["in Assen", "op dinsdag", "bij binnenkomst", "na afloop", "dit voorjaar"]


def chat(rng, n):
    parts = ([*SUBJECTS], [*ENDINGS], [*PLACES])
    return [" ".join(rng.choice(part) for part in parts) for _ in range(n)]


def worded(name, texts, results=None):
    return period(name, results or [result(["smaak"])] * len(texts), texts)


def test_words_used_more_and_less():
    rng = np.random.default_rng(1)
    old = [f"{text} met korting" for text in chat(rng, 40)] + chat(rng, 160)
    now = [f"{text} {i} Laadpaal" for i, text in enumerate(chat(rng, 40))] + chat(rng, 160)
    words = drift(worded("a", old), worded("b", now), **held_out()).vocabulary
    assert [(w.word, w.found[0]) for w in words.more] == [("laadpaal", 0)]
    assert [(w.word, w.found[1]) for w in words.less] == [("korting", 0)]
    assert words.more[0].z > 0 > words.less[0].z
    assert words.more[0].shares == (0, pytest.approx(0.25, abs=0.05))
    assert words.beyond_chance


def test_words_of_the_same_customers_do_not_differ():
    rng = np.random.default_rng(2)
    for _ in range(5):
        a, b = worded("a", chat(rng, 150)), worded("b", chat(rng, 100))
        found = drift(a, b, **held_out())
        assert (found.vocabulary.n_more, found.vocabulary.n_less) == (0, 0)
        assert found.vocabulary.excess < 0.05
        assert found.emerging == ()


def test_divergence_lies_between_none_and_all():
    rng = np.random.default_rng(3)
    same = chat(rng, 100)
    equal = drift(worded("a", same), worded("b", same), **held_out()).vocabulary
    assert equal.divergence == pytest.approx(0, abs=1e-9)
    other = [f"zwembad glijbaan kluisje {text}" for text in ("open", "vies")] * 50
    apart = drift(worded("a", same), worded("b", other), **held_out()).vocabulary
    assert apart.divergence == pytest.approx(1)
    assert apart.normal.high < 0.2


def emerging(rng, now, results, old=None):
    old = old if old is not None else chat(rng, 200)
    a = worded("a", [*old, "geen opmerkingen"], [result(["smaak"])] * len(old) + [result()])
    return drift(a, worded("b", now, results), **held_out()).emerging


def test_emerging_terms_come_from_answers_without_a_label():
    rng = np.random.default_rng(4)
    bare = [f"{text}. Kapotte laadpaal, {i}e keer" for i, text in enumerate(chat(rng, 12))]
    bare += [bare[0].upper()]  # a copy
    labelled = [f"{text} door de glijbaan" for text in chat(rng, 12)]
    now = [*chat(rng, 100), *labelled, *bare]
    results = [result(["smaak"])] * 112 + [result()] * 13
    (term,) = [t for t in emerging(rng, now, results) if "laadpaal" in (t.term, *t.related)]
    assert {term.term, *term.related} >= {"laadpaal", "kapotte laadpaal"}
    assert (term.unlabelled, term.found) == (12, (0, 12))
    assert all("laadpaal" in now[row] for row in term.rows)
    assert not any("glijbaan" in (t.term, *t.related) for t in emerging(rng, now, results))


def test_short_answers_all_count_and_copies_of_long_ones_once():
    rng = np.random.default_rng(5)
    copied = ["bij de ingang ontbreekt al weken een laadpaal voor de bus"] * 30
    short = ["Parkeren"] * 30
    now = [*chat(rng, 100), *copied, *short]
    results = [result(["smaak"])] * 100 + [result()] * 60
    found = emerging(rng, now, results)
    assert [(t.term, t.unlabelled) for t in found] == [("parkeren", 30)]
    assert drift(worded("a", now), worded("b", now), **held_out()).new.n_copies >= 29


def test_what_answers_without_a_label_always_say_does_not_emerge():
    rng = np.random.default_rng(6)
    old = [*chat(rng, 150), *["geen opmerkingen"] * 50]
    now = [*chat(rng, 150), *["geen opmerkingen"] * 50]
    results = [result(["smaak"])] * 150 + [result()] * 50
    assert emerging(rng, now, results, old) == ()


def test_overlap_of_the_periods():
    rng = np.random.default_rng(8)
    long = [f"{text} met zijn {i} erbij" for i, text in enumerate(chat(rng, 40))]
    found = drift(worded("a", long[:30]), worded("b", [*long[20:], "top", "top"]), **held_out())
    assert found.overlap == pytest.approx(0.5)
    assert any("Overlappen de periodes?" in sentence for sentence in conclude(found).actions)


# --- what cannot be compared --------------------------------------------------------------------


def test_one_text_works():
    found = drift(waiting("a", 1, 1), waiting("b", 0, 1), **held_out())
    assert {row.judgement for row in found.labels} == {TOO_FEW}
    told = conclude(found)
    assert "Te weinig" in told.headline
    assert not told.changed
    assert "Te weinig" in as_text(found)
    assert "Te weinig" in as_html(found)


@pytest.mark.parametrize("language", ["en", None])
def test_no_dutch_answer_works(language):
    a, b = period("a", [result(language=language)] * 40), waiting("b", 20, 40)
    found = drift(a, b, **held_out())
    assert of(found, "wachten").judgement == TOO_FEW
    assert as_html(found)
    assert "a heeft er 0" in as_text(found)


def test_empty_period_is_refused():
    with pytest.raises(InputError, match=r"q2\.xlsx: no answers"):
        Period("q2.xlsx", [], [])


def test_lengths_must_match():
    with pytest.raises(ValueError, match="2 texts and 1 results"):
        Period("a", ["x", "y"], [result()])
    with pytest.raises(ValueError, match="1 held-out texts and 0 results"):
        drift(
            waiting("a", 1, 1),
            waiting("b", 1, 1),
            held_out=[gold()],
            held_out_results=[],
            taxonomy=TAXONOMY,
        )


def test_two_models_are_refused():
    other = Result(None, (), (), None, False, "groot 2.0")
    with pytest.raises(InputError, match=r"several models: groot 2\.0, klein 0\.1"):
        drift(waiting("a", 1, 1), period("b", [other]), **held_out())


# --- reports ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def changed():
    """A period with more waiting, doubt and an unknown subject, under a name made to break HTML."""
    rng = np.random.default_rng(9)
    old = chat(rng, 200)
    bare = [f"<b>laadpaal</b> & zo {text}" for text in chat(rng, 20)]
    now = [*chat(rng, 180), *bare]
    results = [result(["wachten"], review=True)] * 90 + [result(["smaak"])] * 90 + [result()] * 20
    before = [result(["wachten"])] * 20 + [result(["smaak"], "positief")] * 180
    return drift(
        Period("<i>q1</i>.xlsx", old, before), Period("q2.xlsx", now, results), **held_out()
    )


def test_conclusion_tells_what_changed_and_what_to_do(changed):
    told = conclude(changed)
    assert re.fullmatch(
        r"\d+ van de 11 vergeleken aandelen zijn aantoonbaar veranderd\.", told.headline
    )
    assert any(s.startswith("Meer irritatie over ‘Wachten’: van ") for s in told.changed)
    assert any(s.startswith("Minder antwoorden zijn positief: ") for s in told.changed)
    assert any(s.startswith("Te controleren: vaker, van 0,0% naar 45,0%") for s in told.changed)
    assert any("het model twijfelt aan meer antwoorden" in s for s in told.actions)
    assert any("vallen op: ‘laadpaal’" in s for s in told.actions)
    assert any("te weinig voorbeelden in de meetset" in s for s in told.actions)


def test_no_difference_asks_for_no_action():
    texts, results = simulated(np.random.default_rng(1), 600, 0.3, [0.4, 0.3, 0.2, 0.1])
    texts = [
        LabelledText(
            t.id,
            t.text,
            (*t.aspects, GoldAspect("eten", "neg")) if i % 3 else t.aspects,
            t.sentiment,
            ("weg",) if i % 2 else (),
            None,
            None,
            None,
            t.where,
        )
        for i, t in enumerate(texts)
    ]
    results = [
        result(
            [*r.irritations, *(["smaak"] if i % 3 else [])],
            r.sentiment.label,
            signals=("weg",) if i % 2 else (),
        )
        for i, r in enumerate(results)
    ]
    found = drift(
        period("a", results[:300]),
        period("b", results[:300]),
        held_out=texts,
        held_out_results=results,
        taxonomy=TAXONOMY,
    )
    told = conclude(found)
    assert told.headline == "Geen van de 11 vergeleken aandelen is aantoonbaar veranderd."
    assert (told.changed, told.actions) == ((), ())
    assert told.noise[0] == "Geen aantoonbaar verschil bij alle 2 irritaties."
    assert "hoeft niets te gebeuren" in as_text(found)
    assert "hoeft niets te gebeuren" in as_html(found)


def test_text_fits_a_terminal_and_quotes_no_answer(changed):
    text = as_text(changed)
    assert text.endswith("\n")
    assert max(map(len, text.splitlines())) <= 100
    row = next(line for line in text.splitlines() if line.startswith("Wachten"))
    assert "▲ toegenomen" in row
    assert not any(answer in text for answer in changed.examples.values())


def test_page_is_well_formed_safe_and_self_contained(changed):
    page = as_html(changed)
    assert "&lt;i&gt;q1&lt;/i&gt;.xlsx" in page
    assert "<i>q1" not in page
    assert "&lt;b&gt;laadpaal&lt;/b&gt; &amp; zo" in page

    class Checker(HTMLParser):
        void = ("meta", "br")

        def __init__(self):
            super().__init__()
            self.open, self.ids, self.refers = [], [], []

        def handle_starttag(self, tag, attrs):
            values = dict(attrs)
            assert not {"src", "href"} & set(values)
            self.ids += [values["id"]] if "id" in values else []
            self.refers += [values["aria-labelledby"]] if "aria-labelledby" in values else []
            if tag not in self.void:
                self.open.append(tag)

        def handle_endtag(self, tag):
            assert self.open.pop() == tag

    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    assert len(checker.ids) == len(set(checker.ids))
    assert set(checker.refers) <= set(checker.ids)
    assert "url(" not in page


def test_bars_stay_on_the_axis(changed):
    for left, width in re.findall(r"left:([\d.]+)%;width:([\d.]+)%", as_html(changed)):
        assert float(left) + float(width) <= 100.02


def test_plain_data_holds_no_answer(changed):
    written = json.dumps(changed.to_dict(), ensure_ascii=False)
    assert not any(answer in written for answer in changed.examples.values())
    assert json.loads(written)["emerging"][0]["term"] == "laadpaal"


# --- the model that ships -----------------------------------------------------------------------


def test_on_real_answers(fast_labeler):
    """Held-out texts in two periods, the second with three times the complaints about delivery."""
    taxonomy = fast_labeler.model.taxonomy
    metrics = json.loads((ROOT / "models/druppel-nl/metrics.json").read_text(encoding="utf-8"))
    wanted = set(metrics["test_ids"])
    texts = [t for t in read_corpus(ROOT / "training/corpus", taxonomy) if t.id in wanted]
    order = np.random.default_rng(0).permutation(len(texts))[:1500]
    texts = [texts[i] for i in order]
    results = list(
        fast_labeler.label_many(
            [t.text for t in texts], [t.question for t in texts], [t.score for t in texts]
        )
    )
    known, rest = list(range(800)), list(range(800, 1500))

    def complains(i, category):
        return any(
            taxonomy.parent[a.leaf] == category and a.polarity == "neg" for a in texts[i].aspects
        )

    late = [i for i in rest if complains(i, "levering")]
    other = [i for i in rest if not complains(i, "levering")]
    third = len(late) // 4
    rows = (other[:300] + late[:third], other[300:550] + late[third:])
    found = drift(
        *(
            Period(n, [texts[i].text for i in r], [results[i] for i in r])
            for n, r in zip("ab", rows, strict=True)
        ),
        held_out=[texts[i] for i in known],
        held_out_results=[results[i] for i in known],
        taxonomy=taxonomy,
    )
    assert of(found, "levering").judgement == UP
    hits = [
        figure.low <= np.mean([complains(i, row.label) for i in part]) <= figure.high
        for row in found.of_kind("irritation")
        if row.corrected
        for figure, part in zip(row.corrected, rows, strict=True)
    ]
    assert len(hits) >= 20
    assert np.mean(hits) > 0.85
    assert not found.vocabulary.beyond_chance
    assert found.review.judgement == SAME


def test_what_the_correction_makes_nothing_of_tells_what_was_found() -> None:
    """Six were found, which is not more than the false alarms that the model gives."""
    found = drift(waiting("a", 6, 200), waiting("b", 60, 200), **held_out(specificity=0.95))
    assert "≈0 (6)" in as_text(found)
    assert "niet vaker dan het zich op de meetset vergist" in " ".join(as_text(found).split())
    assert "≈0 (6)" in as_html(found)
