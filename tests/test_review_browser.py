"""The review page in a real browser: by keyboard, by mouse, and when things go wrong."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from druppel.corpus import GoldAspect
from druppel.corrections import MEASUREMENT, Decision, History
from druppel.result import Aspect, Result, Sentiment, Signal
from druppel.review import QueueItem
from druppel.review_web import ReviewServer
from druppel.taxonomy import Taxonomy

CHROMIUM = Path("/usr/bin/chromium")
pytest.importorskip("playwright", reason="needs playwright: pip install playwright")
if not CHROMIUM.exists():
    pytest.skip(f"needs Chromium at {CHROMIUM}: apt-get install chromium", allow_module_level=True)

from playwright.sync_api import (  # noqa: E402
    Browser,
    BrowserContext,
    Error,
    Page,
    expect,
    sync_playwright,
)

CATEGORIES = Taxonomy.load().parent


def _item(
    text: str,
    *aspects: tuple[str | None, str, str],
    sentiment: str | None = "negatief",
    signals: Sequence[str] = (),
    **changes: Any,
) -> QueueItem:
    """An answer with proposals, each aspect as (leaf, or category with a dot, polarity, words)."""
    found = []
    for label, polarity, evidence in aspects:
        start = text.index(evidence)
        leaf = None if label.startswith(".") else label
        category = label[1:] if leaf is None else CATEGORIES[leaf]
        end = start + len(evidence)
        found.append(Aspect(category, leaf, polarity, 0.8, start, end, evidence))
    result = Result(
        Sentiment(sentiment, 0.0) if sentiment else None,
        tuple(found),
        tuple(Signal(signal, 0.7, 0, 4, text[:4]) for signal in signals),
        "nl",
        True,
        "klein 0.1",
    )
    return replace(QueueItem(text, "Wat kan er beter?", 4.0, result, "twijfel"), **changes)


WAITED = _item(
    "Ik hing een half uur in de wacht.", ("wachttijd_telefoon", "neg", "een half uur in de wacht")
)
HELPED = _item("Heel vriendelijk geholpen!", ("onvriendelijk", "neg", "Heel vriendelijk"))
PRICED = _item(
    "Het is te duur en de app hapert.",
    ("te_duur", "neg", "te duur"),
    ("storing", "neg", "de app hapert"),
    signals=["vertrek"],
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox"], timeout=60_000
        )
        yield browser
        browser.close()


class Desk:
    """An analyst at her computer: a history, servers and windows."""

    def __init__(self, context: BrowserContext, history: History) -> None:
        self.context = context
        self.history = history
        self.servers: list[ReviewServer] = []
        self.asked: list[str] = []
        self.faults: list[str] = []

    def serve(self, *items: QueueItem, port: int = 0) -> ReviewServer:
        server = ReviewServer(items, Taxonomy.load(), self.history, analyst="Noor", port=port)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.servers.append(server)
        return server

    def window(self) -> Page:
        page = self.context.new_page()
        page.set_default_timeout(10_000)
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", self._listen)
        page.goto(self.servers[-1].url)
        expect(page.locator("h1")).to_be_visible()
        return page

    def open(self, *items: QueueItem) -> Page:
        self.serve(*items)
        return self.window()

    def _listen(self, message: Any) -> None:
        # That a server is gone is what some tests are about.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.faults.append(message.text)

    @property
    def decisions(self) -> list[Decision]:
        """What counts, without numbers and dates."""
        return [replace(d, number="", date="") for d in self.history.state().decisions]


@pytest.fixture
def desk(browser: Browser, tmp_path: Path) -> Iterator[Desk]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    desk = Desk(context, History(tmp_path / "correcties"))
    yield desk
    context.close()
    for server in desk.servers:
        server.shutdown()
    assert desk.faults == []
    own = tuple(server.url.partition("#")[0] for server in desk.servers)
    assert [url for url in desk.asked if not url.startswith((*own, "data:"))] == []


@pytest.fixture
def review(desk: Desk) -> Callable[..., Page]:
    return desk.open


def _keys(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def _at(page: Page, number: int, n_items: int) -> None:
    """Wait until an answer is shown, which is when the one before is saved."""
    expect(page.locator("h1")).to_have_text(f"Antwoord {number} van {n_items}")


def _decision(item: QueueItem, sentiment: str, *aspects: GoldAspect, **more: Any) -> Decision:
    values = {"signals": (), "analyst": "Noor", "source": "web", "part": item.part, **more}
    return Decision(
        text=item.text,
        aspects=aspects,
        sentiment=sentiment,
        question=item.question,
        score=item.score,
        **values,
    )


def _lit(page: Page) -> str:
    return "".join(page.locator("#text .ev.lit").all_inner_texts())


# ---- a whole queue, without a mouse -------------------------------------------------------------


def test_review_a_queue_by_keyboard_alone(desk: Desk) -> None:
    mailed = _item("Geen antwoord gekregen op mijn mail.", ("geen_reactie", "neg", "Geen antwoord"))
    silent = _item("Het was te duur.", sentiment="neutraal")
    skipped = _item("Geen idee wat ik moet invullen.", sentiment="neutraal")
    measured = _item(
        "De monteur kwam op tijd.", sentiment="positief", part=MEASUREMENT, row=12, score=7.5
    )
    called = _item("De telefoon.", (".telefonie", "neg", "De telefoon"), score=None)
    items = [WAITED, HELPED, PRICED, mailed, silent, skipped, measured, called]
    page = desk.open(*items)

    _at(page, 1, 8)  # right as it is
    expect(page.locator("#counts")).to_have_text("0 van 8 klaar · nog 8 · deze sessie 0")
    _keys(page, "Enter")

    _at(page, 2, 8)  # praise, not an irritation
    assert len(desk.decisions) == 1  # saved before the next one is shown
    _keys(page, "2", "p", "Enter")

    _at(page, 3, 8)  # the second aspect and the signal do not belong
    _keys(page, "ArrowDown", "ArrowDown", "x", "s", "1", "Enter")

    _at(page, 4, 8)  # another label, neutral
    _keys(page, "3", "l")
    page.keyboard.type("trage afh")
    _keys(page, "Enter", "0", "Enter")

    _at(page, 5, 8)  # an aspect is missing, with its evidence
    _keys(page, "1", "a")
    page.keyboard.type("duur")
    _keys(page, "Enter", "b", "ArrowRight", "ArrowRight", "Shift+ArrowRight", "Enter")
    _keys(page, "s", "4", "Enter")

    _at(page, 6, 8)
    _keys(page, "o")

    _at(page, 7, 8)
    expect(page.locator(".badge.measure")).to_have_text("meting")
    expect(page.locator(".facts")).to_contain_text("cijfer 7,5")
    expect(page.locator(".facts")).to_contain_text("rij 12")
    _keys(page, "r")
    page.keyboard.type("op tijd & netjes")
    _keys(page, "Enter", "Enter")

    _at(page, 8, 8)  # only the category was sure: a label has to be chosen first
    _keys(page, "Enter")
    expect(page.get_by_role("dialog")).to_contain_text("Label van aspect 1")
    _keys(page, "Enter", "Enter")

    expect(page.locator("h1")).to_have_text("Aan het eind van de rij")
    expect(page.locator("main")).to_contain_text("druppel train")
    _keys(page, "Enter")
    _at(page, 6, 8)
    _keys(page, "Enter")
    expect(page.locator("h1")).to_have_text("Klaar: alles is beoordeeld")
    expect(page.locator("#counts")).to_have_text("8 van 8 klaar · nog 0 · deze sessie 8")

    telephone = next(leaf for leaf in Taxonomy.load().leaves if leaf.parent == "telefonie").slug
    assert desk.decisions == [
        _decision(
            WAITED,
            "negatief",
            GoldAspect("wachttijd_telefoon", "neg", "een half uur in de wacht"),
        ),
        _decision(HELPED, "positief", GoldAspect("onvriendelijk", "pos", "Heel vriendelijk")),
        _decision(PRICED, "negatief", GoldAspect("te_duur", "neg", "te duur")),
        _decision(mailed, "neutraal", GoldAspect("trage_afhandeling", "neu", "Geen antwoord")),
        _decision(
            silent,
            "negatief",
            GoldAspect("te_duur", "neg", "te duur"),
            signals=("vertrouwen_verloren",),
        ),
        _decision(measured, "positief", where="rij 12", remark="op tijd & netjes"),
        _decision(called, "negatief", GoldAspect(telephone, "neg", "De telefoon")),
        _decision(skipped, "neutraal"),
    ]


def test_a_key_held_down_accepts_one_answer(review: Callable[..., Page], desk: Desk) -> None:
    page = review(WAITED, HELPED, PRICED)
    for _ in range(10):
        page.keyboard.down("Enter")
    page.keyboard.up("Enter")
    _at(page, 2, 3)
    page.wait_for_timeout(200)
    assert len(desk.decisions) == 1


def test_digits_that_need_shift_on_a_belgian_keyboard(review: Callable[..., Page]) -> None:
    page = review(WAITED)
    press = "e => document.dispatchEvent(new KeyboardEvent('keydown', {...e, bubbles: true}))"
    page.evaluate(press.replace("document.", "document.body."), {"key": "é", "code": "Digit2"})
    expect(page.get_by_role("button", name="positief").first).to_have_attribute(
        "aria-pressed", "true"
    )


def test_what_cannot_be_saved_is_said(review: Callable[..., Page], desk: Desk) -> None:
    strange = _item("It was fine.", sentiment=None)
    twice = _item("Duur, te duur.", ("te_duur", "neg", "te duur"))
    page = review(strange, twice)
    _keys(page, "Enter")
    expect(page.locator(".problem")).to_have_text("Kies eerst een sentiment.")
    _keys(page, "3", "Enter")
    _at(page, 2, 2)
    _keys(page, "a")
    page.keyboard.type("te duur")
    expect(page.locator("#search-list li").first).to_contain_text("staat er al: negatief")
    _keys(page, "Enter", "-", "Enter")
    expect(page.locator(".problem")).to_contain_text("Staat er al met dezelfde toon")
    assert len(desk.decisions) == 1
    _keys(page, "+", "Enter")
    expect(page.locator("h1")).to_contain_text("Klaar")
    assert [(a.leaf, a.polarity) for a in desk.decisions[1].aspects] == [
        ("te_duur", "neg"),
        ("te_duur", "pos"),
    ]


# ---- the search box -----------------------------------------------------------------------------


FINDS = {
    "Wachttijd": "Wachttijd aan de telefoon",  # a name
    "trage_afh": "Trage afhandeling",  # a slug
    "spraakcomputer": "Keuzemenu",  # a word of a definition
    "keuze TELEFONISCHE": "Keuzemenu",  # words of name and category, in any order
    "één dag te laat": "Starre regels",  # an example, whatever the accents
    "een dag te laat": "Starre regels",
    "keuzemenu qqq": "Keuzemenu",  # where nothing has all words: what has some
}


def test_search_finds_labels(review: Callable[..., Page]) -> None:
    page = review(WAITED)
    _keys(page, "a")
    box = page.get_by_role("combobox")
    for typed, found in FINDS.items():
        box.fill(typed)
        first = page.get_by_role("option").first
        expect(first.locator("b")).to_have_text(found)
        expect(first).to_have_attribute("aria-selected", "true")
        expect(box).to_have_attribute("aria-activedescendant", first.get_attribute("id"))


def test_search_shows_what_a_label_means_and_names_others_by_name(
    review: Callable[..., Page],
) -> None:
    page = review(WAITED)
    _keys(page, "l")
    # What is near stands first: the label it has, in its own category.
    chosen = page.locator("#search-list [aria-selected=true]")
    expect(chosen.locator("b")).to_have_text("Wachttijd aan de telefoon")
    expect(chosen).to_contain_text("Lang in de wacht")
    expect(chosen).to_contain_text("Niet: Wachten op een antwoord per mail is ‘Trage afhandeling’")
    page.get_by_role("combobox").fill("qqq")
    expect(page.locator("#search-list")).to_have_text(re.compile("Geen label gevonden"))
    _keys(page, "Enter", "Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.locator(".aspect .label")).to_have_text("Wachttijd aan de telefoon")


def test_mend_an_aspect_with_the_mouse(review: Callable[..., Page], desk: Desk) -> None:
    page = review(HELPED, WAITED)
    page.get_by_role("button", name="Label: Onvriendelijk. Wijzigen").click()
    page.get_by_role("combobox").fill("half antw")
    page.get_by_role("option").first.click()
    page.get_by_role("button", name="positief").last.click()
    page.get_by_role("button", name="Escalatie").click()
    expect(page.locator(".badge.changed")).to_be_visible()
    _keys(page, "Enter")  # not on the button that was clicked
    _at(page, 2, 2)
    expected = _decision(
        HELPED,
        "negatief",
        GoldAspect("half_antwoord", "pos", "Heel vriendelijk"),
        signals=("escalatie",),
    )
    assert desk.decisions == [expected]


# ---- evidence -----------------------------------------------------------------------------------

OVERLAPPING = _item(
    "De levering duurde te lang en de doos was stuk.",
    ("kwaliteit", "neg", "De levering duurde te lang"),
    ("trage_afhandeling", "neg", "duurde te lang en de doos"),
    ("omslachtig", "neu", "duurde te lang en de doos"),
    ("te_duur", "pos", "te lang"),
)


def test_overlapping_evidence_is_marked_and_lit_for_each_aspect(
    review: Callable[..., Page],
) -> None:
    page = review(OVERLAPPING)
    # The text is whole, whatever lies over it.
    assert page.locator("#text").evaluate("e => e.textContent") == OVERLAPPING.text
    marks = page.locator("#text [data-mark]").evaluate_all("all => all.map(e => e.dataset.mark)")
    assert marks == ["1−", "2−", "3○", "4+"]
    for number, aspect in enumerate(OVERLAPPING.result.aspects):
        page.locator(".aspect").nth(number).hover()
        lit = page.locator(f"#text .lit[data-layer~=a{number}]")
        assert "".join(lit.all_inner_texts()) == aspect.evidence
        others = page.locator(f"#text .lit:not([data-layer~=a{number}])")
        assert others.count() == 0
    # By keyboard the same; the first press goes to the aspect that is marked already.
    _keys(page, "ArrowDown")
    page.mouse.move(5, 5)
    assert _lit(page) == "De levering duurde te lang"
    # Tone shows without colour: by the sign, and by the form of the line.
    style = "e => getComputedStyle(e).textDecorationStyle"
    lines = [
        page.locator(f"#text .ev.{tone}").first.evaluate(style) for tone in ["neg", "pos", "neu"]
    ]
    assert len(set(lines)) == 3


def _select(page: Page, first: str, last: str) -> None:
    """Drag the mouse from the begin of one word to the end of another."""
    places = page.evaluate(
        """words => {
          const text = document.getElementById("text");
          const nodes = document.createTreeWalker(text, NodeFilter.SHOW_TEXT);
          const found = {};
          for (let node; (node = nodes.nextNode()); )
            for (const word of words) {
              const at = node.data.indexOf(word);
              if (at < 0) continue;
              const range = document.createRange();
              range.setStart(node, at);
              range.setEnd(node, at + word.length);
              found[word] = range.getBoundingClientRect().toJSON();
            }
          return found;
        }""",
        [first, last],
    )
    begin, end = places[first], places[last]
    page.mouse.move(begin["left"] + 1, begin["top"] + begin["height"] / 2)
    page.mouse.down()
    page.mouse.move(end["right"], end["top"] + end["height"] / 2, steps=4)
    page.mouse.up()


def test_selecting_words_makes_them_evidence(review: Callable[..., Page], desk: Desk) -> None:
    page = review(PRICED)
    _select(page, "Het", "duur")
    bar = page.get_by_role("group", name="Bewijs voor")
    expect(bar).to_contain_text("Te duur −")
    bar.get_by_role("button", name="Te duur").click()
    expect(bar).to_be_hidden()
    _select(page, "app", "hapert")
    _keys(page, "2")  # the number of the aspect, not of the sentiment
    expect(page.locator(".aspect q").nth(1)).to_have_text("app hapert")
    _select(page, "en", "de")
    _keys(page, "a")
    page.get_by_role("combobox").fill("omslachtig")
    _keys(page, "Enter", "Enter")
    expect(page.locator("h1")).to_contain_text("Klaar")
    assert [a.evidence for a in desk.decisions[0].aspects] == [
        "Het is te duur",
        "app hapert",
        "en de",
    ]
    assert desk.decisions[0].sentiment == "negatief"


def test_selection_across_highlights_and_escape(review: Callable[..., Page], desk: Desk) -> None:
    page = review(OVERLAPPING)
    _select(page, "De levering", "stuk")
    expect(page.locator("#pick")).to_be_visible()
    _keys(page, "Escape")
    expect(page.locator("#pick")).to_be_hidden()
    _select(page, "De levering", "stuk")
    _keys(page, "4", "Enter")
    expect(page.locator("h1")).to_contain_text("Klaar")
    assert desk.decisions[0].aspects[3].evidence == "De levering duurde te lang en de doos was stuk"


def test_pointing_by_keyboard_moves_by_words_and_sentences(
    review: Callable[..., Page], desk: Desk
) -> None:
    text = "Eerst dit. Dan (heel) dat!\nEn slot, 'zo'."
    page = review(_item(text, ("omslachtig", "neg", "Eerst")))
    chosen = page.locator("#text .ev.chosen")

    def point(*keys: str) -> str:
        _keys(page, *keys)
        return "".join(chosen.all_inner_texts())

    assert point("b") == "Eerst"
    assert point("ArrowRight") == "dit"
    assert point("ArrowDown") == "Dan"
    assert point("ArrowRight") == "heel"
    assert point("ArrowDown") == "En"
    assert point("Shift+End") == "En slot, 'zo"
    assert point("ArrowUp") == "En"
    assert point("Home", "Shift+ArrowDown") == "Eerst dit. Dan"
    assert point("Shift+ArrowLeft") == "Eerst dit"
    assert point("Escape") == ""
    expect(page.locator(".aspect q")).to_have_text("Eerst")
    _keys(page, "b", "Delete", "Enter")
    expect(page.locator("h1")).to_contain_text("Klaar")
    assert desk.decisions[0].aspects == (GoldAspect("omslachtig", "neg", None),)


def test_offsets_hold_behind_emoji(review: Callable[..., Page], desk: Desk) -> None:
    text = "👍🏽👩‍👩‍👧 Prima 𝒳, maar veel te duur 😡 en de app\u0301 hapert 👎!"
    item = _item(text, ("te_duur", "neg", "veel te duur 😡"), ("storing", "neg", "hapert 👎"))
    page = review(item, WAITED)
    assert page.locator("#text").evaluate("e => e.textContent") == text
    shown = [page.locator(f"#text [data-layer={layer}]").inner_text() for layer in ("a0", "a1")]
    assert shown == ["veel te duur 😡", "hapert 👎"]
    _keys(page, "b", "ArrowLeft", "ArrowLeft", "Shift+ArrowLeft", "Enter")
    expect(page.locator(".aspect q").first).to_have_text("𝒳, maar")
    _select(page, "app\u0301", "!")
    _keys(page, "2", "Enter")
    _at(page, 2, 2)
    assert [a.evidence for a in desk.decisions[0].aspects] == ["𝒳, maar", "app\u0301 hapert 👎!"]
    # And back: what was stored is what is shown.
    page.reload()
    _at(page, 2, 2)
    _keys(page, "ArrowLeft")
    _at(page, 1, 2)
    shown = [page.locator(f"#text [data-layer={layer}]").inner_text() for layer in ("a0", "a1")]
    assert shown == ["𝒳, maar", "app\u0301 hapert 👎!"]


def test_markup_in_a_text_is_inert(review: Callable[..., Page], desk: Desk) -> None:
    attack = (
        "<script>window.hit = 1</script><img src=x onerror='window.hit = 2'>"
        "<a href='javascript:window.hit = 3'>klik</a> &lt;b&gt; \u202e omgekeerd </p></main>"
    )
    item = _item(attack, ("te_duur", "neg", "<img src=x onerror='window.hit = 2'>"))
    page = review(replace(item, question=attack, reason=attack), WAITED)
    assert page.locator("#text").evaluate("e => e.textContent") == attack
    expect(page.locator(".question")).to_contain_text("<script>window.hit = 1</script>")
    assert page.locator("main img, main a, main script").count() == 0
    _keys(page, "r")
    page.keyboard.type("<img src=x onerror=alert(1)>")
    _keys(page, "Enter", "Enter")
    _at(page, 2, 2)
    _keys(page, "ArrowLeft")
    assert page.locator("main img, main a, main script").count() == 0
    assert page.evaluate("window.hit") is None
    assert desk.decisions[0].text == attack
    assert desk.decisions[0].remark == "<img src=x onerror=alert(1)>"


def test_the_browser_itself_lets_no_markup_or_stranger_in(
    review: Callable[..., Page], desk: Desk
) -> None:
    page = review(WAITED)
    with pytest.raises(Error, match="TrustedHTML"):
        page.evaluate("document.body.innerHTML = '<b>x</b>'")
    blocked = page.evaluate("fetch('http://127.0.0.1:9/').then(() => 'went', e => e.name)")
    assert blocked == "TypeError"
    assert any("Content Security Policy" in fault for fault in desk.faults)
    desk.faults.clear()


# ---- going back ---------------------------------------------------------------------------------


def test_undo_takes_back_edits_first_and_then_the_last_decision(
    review: Callable[..., Page], desk: Desk
) -> None:
    page = review(WAITED, PRICED, HELPED)
    _keys(page, "u")
    expect(page.locator("#status")).to_contain_text("niets om terug te nemen")
    _keys(page, "4", "Enter")
    _at(page, 2, 3)
    _keys(page, "x", "x")
    expect(page.locator(".aspect")).to_have_count(0)
    _keys(page, "Control+z", "Control+z")
    expect(page.locator(".aspect")).to_have_count(2)
    assert len(desk.decisions) == 1
    _keys(page, "Control+z")
    _at(page, 1, 3)
    expect(page.locator("#counts")).to_have_text("0 van 3 klaar · nog 3 · deze sessie 0")
    assert desk.decisions == []
    rows = [row for _, row in desk.history.lines()]
    assert [("withdraws" in row) for row in rows] == [False, True]  # appended, nothing erased
    # What she had said stands there, to be mended.
    expect(page.get_by_role("button", name="gemengd")).to_have_attribute("aria-pressed", "true")
    _keys(page, "1", "Enter")
    _at(page, 2, 3)
    assert [d.sentiment for d in desk.decisions] == ["negatief"]


def test_back_shows_what_was_decided_and_mends_it(review: Callable[..., Page], desk: Desk) -> None:
    page = review(WAITED, HELPED)
    _keys(page, "Enter")
    _at(page, 2, 2)
    _keys(page, "ArrowLeft")
    _at(page, 1, 2)
    expect(page.locator(".badge.saved")).to_be_visible()
    _keys(page, "Enter")  # unchanged: nothing to save
    _at(page, 2, 2)
    assert len(list(desk.history.lines())) == 1
    _keys(page, "ArrowLeft")
    _at(page, 1, 2)
    _keys(page, "4", "Enter")
    _at(page, 2, 2)
    assert [d.sentiment for d in desk.decisions] == ["gemengd"]
    _keys(page, "u")
    _at(page, 1, 2)
    assert [d.sentiment for d in desk.decisions] == ["negatief"]
    expect(page.locator("#status")).to_contain_text("eerder besloot telt weer")


def test_a_reload_goes_on_where_she_was(review: Callable[..., Page], desk: Desk) -> None:
    page = review(WAITED, HELPED, PRICED)
    _keys(page, "Enter")
    _at(page, 2, 3)
    _keys(page, "o")
    _at(page, 3, 3)
    _keys(page, "4", "x")
    page.reload()
    _at(page, 3, 3)
    expect(page.locator("#counts")).to_have_text("1 van 3 klaar · nog 2 · deze sessie 1")
    expect(page.locator(".aspect")).to_have_count(1)
    expect(page.get_by_role("button", name="gemengd")).to_have_attribute("aria-pressed", "true")
    _keys(page, "Enter")
    expect(page.locator("h1")).to_have_text("Aan het eind van de rij")
    # Nothing of a text is kept in the browser.
    kept = page.evaluate(
        "JSON.stringify([{...sessionStorage}, {...localStorage}, document.cookie])"
    )
    assert "wacht" not in kept
    assert "duur" not in kept
    # A new window begins at the first open answer; so does a new session.
    _at(desk.window(), 2, 3)
    desk.serve(WAITED, HELPED, PRICED)
    later = desk.window()
    _at(later, 2, 3)
    expect(later.locator("#counts")).to_have_text("2 van 3 klaar · nog 1 · deze sessie 0")


# ---- when things go wrong -----------------------------------------------------------------------


def test_a_server_that_is_away_costs_nothing(review: Callable[..., Page], desk: Desk) -> None:
    page = review(WAITED, HELPED)
    desk.context.set_offline(True)
    _keys(page, "4", "Enter")
    alarm = page.get_by_role("alert")
    expect(alarm).to_contain_text("De server is niet bereikbaar.")
    expect(alarm).to_contain_text("Je beslissing staat nog in dit venster")
    _keys(page, "1", "x")  # what is on its way stays as it is
    _at(page, 1, 2)
    desk.context.set_offline(False)
    alarm.get_by_role("button", name="Nu proberen").click()
    _at(page, 2, 2)
    expect(alarm).to_be_hidden()
    assert [(d.sentiment, len(d.aspects)) for d in desk.decisions] == [("gemengd", 1)]


def test_a_full_disk_is_said_and_waited_for(
    review: Callable[..., Page], desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(History, "_write_rows", full)
        page = review(WAITED, HELPED)
        _keys(page, "Enter")
        expect(page.get_by_role("alert")).to_contain_text("Is de schijf vol")
    _keys(page, "Enter")  # try now
    _at(page, 2, 2)
    assert len(list(desk.history.lines())) == 1


def test_a_lost_reply_does_not_double_a_decision(review: Callable[..., Page], desk: Desk) -> None:
    page = review(WAITED, HELPED)
    lost: list[str] = []

    def lose(route: Any) -> None:
        if lost:
            route.continue_()
        else:
            lost.append(route.request.url)
            route.fetch()  # it arrives, and is saved; only the reply goes missing
            route.abort()

    page.route("**/api/decide", lose)
    _keys(page, "Enter")
    _at(page, 2, 2)  # by itself, after a second
    assert len(lost) == 1
    assert len(list(desk.history.lines())) == 1


def test_a_decision_survives_a_new_start_of_the_server(
    review: Callable[..., Page], desk: Desk
) -> None:
    page = review(WAITED, HELPED)
    port = int(re.search(r":(\d+)/", desk.servers[0].url)[1])
    desk.servers[0].shutdown()
    _keys(page, "2", "Enter")
    expect(page.get_by_role("alert")).to_contain_text("niet bereikbaar")
    server = desk.serve(WAITED, HELPED, port=port)
    expect(page.get_by_role("alert")).to_contain_text("Open in dit tabblad de link")
    assert desk.decisions == []
    page.goto(server.url)
    _at(page, 2, 2)
    assert [d.sentiment for d in desk.decisions] == ["positief"]


def test_two_windows_do_not_overwrite_each_other(review: Callable[..., Page], desk: Desk) -> None:
    first = review(WAITED, HELPED)
    second = desk.window()
    _keys(first, "Enter")
    _at(first, 2, 2)
    _keys(second, "Enter")  # the same: fine
    _at(second, 2, 2)
    _keys(first, "2", "Enter")
    expect(first.locator("h1")).to_contain_text("Klaar")
    _keys(second, "4", "Enter")
    alarm = second.get_by_role("alert")
    expect(alarm).to_contain_text("in een ander venster anders beoordeeld")
    assert [d.sentiment for d in desk.decisions] == ["negatief", "positief"]
    _keys(second, "Enter")
    expect(second.locator("h1")).to_contain_text("Klaar")
    assert [d.sentiment for d in desk.decisions] == ["negatief", "gemengd"]
    assert len(list(desk.history.lines())) == 3


def test_a_window_that_is_looked_at_again_learns_what_was_done(
    review: Callable[..., Page], desk: Desk
) -> None:
    first = review(WAITED, HELPED)
    second = desk.window()
    _keys(first, "2", "Enter")
    _at(first, 2, 2)
    second.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(second.locator(".badge.saved")).to_be_visible()
    expect(second.get_by_role("button", name="positief").first).to_have_attribute(
        "aria-pressed", "true"
    )
    expect(second.locator("#counts")).to_contain_text("1 van 2 klaar")


def test_a_wrong_link_says_so(desk: Desk) -> None:
    server = desk.serve(WAITED)
    page = desk.context.new_page()
    page.goto(server.url.partition("#")[0] + "#verkeerd")
    expect(page.get_by_role("alert")).to_contain_text("sessie die gestopt is")
    expect(page.locator("#text")).to_have_count(0)


def test_an_empty_queue_and_an_empty_answer(desk: Desk) -> None:
    expect(desk.open().locator("h1")).to_have_text("Er staat niets in de rij")
    page = desk.open(_item("", sentiment="neutraal"))
    expect(page.locator("#text")).to_have_text("(leeg antwoord)")
    _keys(page, "b", "Enter")
    expect(page.locator("h1")).to_contain_text("Klaar")
    assert desk.decisions[0].text == ""


# ---- for everyone -------------------------------------------------------------------------------

LONG = _item(
    "Een heel lang antwoord. " * 120 + "https://voorbeeld.example/" + "x" * 200,
    *((slug, "neg", "Een heel lang antwoord.") for slug in list(CATEGORIES)[:12]),
    question="Een lange vraag over alles wat er ook maar te vragen valt? " * 3,
)


def test_nothing_sticks_out_on_any_screen(review: Callable[..., Page]) -> None:
    page = review(LONG, OVERLAPPING)
    too_wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    for keys in ([], ["b"], ["Escape", "?"], ["Escape", "a"], ["Escape", "o"], ["o"]):
        _keys(page, *keys)
        for width in (320, 390, 768, 1280, 1920):
            page.set_viewport_size({"width": width, "height": 700})
            assert page.evaluate(too_wide) == 0, (keys, width)


def test_a_long_answer_scrolls_by_keyboard(review: Callable[..., Page]) -> None:
    page = review(LONG)
    before = page.locator(".reason").bounding_box()["y"]
    _keys(page, *["PageDown"] * 12)
    after = page.locator(".reason").bounding_box()["y"]
    assert after < 800 < before


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_can_be_read(browser: Browser, desk: Desk, scheme: str) -> None:
    page = desk.open(OVERLAPPING)
    page.emulate_media(color_scheme=scheme)

    def luminance(name: str) -> float:
        value = page.evaluate(
            f"getComputedStyle(document.documentElement).getPropertyValue('{name}')"
        )
        value = value.strip().lstrip("#")
        value = value if len(value) >= 6 else "".join(c * 2 for c in value)
        parts = [int(value[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    pairs = [
        (ink, ground) for ink in ("--ink", "--soft") for ground in ("--card", "--page", "--pick")
    ]
    pairs += [
        (tone, ground) for tone in ("--neg", "--pos", "--neu") for ground in ("--card", "--pick")
    ]
    pairs += [("--on-accent", "--accent"), ("--warn-ink", "--warn"), ("--on-chosen", "--chosen")]
    for pair in pairs:
        low, high = sorted(luminance(name) for name in pair)
        assert (high + 0.05) / (low + 0.05) >= 4.5, pair


def test_everything_has_a_name_and_a_place_in_the_tab_order(review: Callable[..., Page]) -> None:
    page = review(PRICED)
    names = page.get_by_role("button").evaluate_all(
        "all => all.map(e => e.getAttribute('aria-label') || e.textContent.trim())"
    )
    assert all(names)
    expect(page.get_by_role("group", name="Sentiment")).to_be_visible()
    expect(page.get_by_role("group", name="Signalen")).to_be_visible()
    expect(page.get_by_role("list", name="Aspecten").get_by_role("listitem")).to_have_count(2)
    expect(page.get_by_role("progressbar", name="Voortgang")).to_be_visible()
    expect(page.get_by_role("textbox", name="Opmerking")).to_be_visible()
    # All of it can be reached and pressed with Tab and Enter.
    for _ in range(60):
        _keys(page, "Tab")
        if (
            page.evaluate("document.activeElement.getAttribute('aria-label')")
            == "Haal aspect 1 weg"
        ):
            break
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    _keys(page, "Enter")
    expect(page.locator(".aspect")).to_have_count(1)


def test_help_opens_and_closes(review: Callable[..., Page]) -> None:
    page = review(WAITED)
    _keys(page, "?")
    expect(page.get_by_role("dialog", name="Sneltoetsen")).to_be_visible()
    _keys(page, "x", "Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.locator(".aspect")).to_have_count(1)  # keys did nothing behind it
