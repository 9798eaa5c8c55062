import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from druppel.cases import Case
from druppel.comparison import BETTER, EQUAL, MIXED, TOO_FEW, WORSE, HeldOut, compare
from druppel.comparison_report import HEADLINES, WIDTH, advice, as_html, as_text, sentences
from druppel.corpus import GoldAspect, LabelledText
from druppel.result import Aspect, Result, Sentiment, Signal
from druppel.taxonomy import Taxonomy

CHROMIUM = Path("/usr/bin/chromium")
ATTACK = "<script>document.title='gehackt'</script><img src=x onerror=\"document.title='gehackt'\">"
NAME = '<b onclick="alert(1)">Prijs</b>'


class Scripted:
    """A labeler that says of each text what the test tells it to."""

    def __init__(self, taxonomy, answers, title):
        self.model = type("Model", (), {"taxonomy": taxonomy, "title": title})()
        self.answers = answers

    def label_many(self, texts, questions=None, scores=None):
        for text in texts:
            yield self.answers[text]


def taxonomy(*categories):
    label = (
        '[[label]]\nslug = "{}"\n{}\nname_nl = \'{}\'\nname_en = ""\ndefinition = ""\n'
        'counter_definition = ""\nexamples = []\nseeds = []\n'
    )
    parts = ["format = 1\n"]
    for slug, name in categories:
        parts.append(label.format(slug, "", name))
        parts.append(label.format(f"{slug}_a", f'parent = "{slug}"', f"{name} (onderwerp)"))
    signal = label.replace("[[label]]", "[[signal]]").format("weg", "", "Weg")
    return Taxonomy.parse("".join([*parts, signal]))


OLD = taxonomy(("prijs", NAME), ("smaak", "Smaak"))
NEW = taxonomy(("prijs", NAME), ("smaak", "Smaak"), ("parkeren", "Parkeren"))


def result(categories, sentiment="negatief", signals=()):
    aspects = tuple(Aspect(c, f"{c}_a", "neg", 0.9, 0, 1, "t") for c in categories)
    signals = tuple(Signal(s, 0.9, 0, 1, "t") for s in signals)
    return Result(Sentiment(sentiment, 0.0), aspects, signals, "nl", False, "m")


def made(rows, *, cases=(), volumes=None, extra_sets=(), new=NEW, annotated=None):
    """Compare on rows of (text, true categories, by the old, by the new model)."""
    texts, first, second = [], {}, {}
    for i, (text, truth, was, now) in enumerate(rows):
        text = f"{text} {i}"
        aspects = tuple(GoldAspect(f"{c}_a", "neg") for c in truth)
        texts.append(LabelledText(f"t{i}", text, aspects, "negatief", (), ATTACK, 6.5, None, "a:1"))
        first[text], second[text] = result(was), result(now)
    for one in cases:
        first[one.text], second[one.text] = result(["smaak"]), result([], "positief")
    sets = [HeldOut("eigen meetset", tuple(texts), frozenset(annotated or new.names)), *extra_sets]
    return compare(
        Scripted(OLD, first, "oud & wijs 1"),
        Scripted(new, second, "nieuw <2>"),
        sets,
        cases=cases,
        volumes=[t.text for t in texts] if volumes else None,
    )


RIGHT = ("Lekker niet", ["smaak"], ["smaak"], ["smaak"])
MENDED = (ATTACK, ["smaak"], [], ["smaak"])
BROKEN = ("Te duur", ["prijs"], ["prijs"], [])
PARKED = ("Nergens plek", ["parkeren"], [], ["parkeren"])
CASE = Case(
    "c-1",
    "te_duur",
    ATTACK,
    None,
    None,
    frozenset(["smaak:neg"]),
    frozenset(),
    frozenset(["negatief"]),
)


@pytest.fixture(scope="module")
def full():
    """A comparison with everything in it."""
    rows = [RIGHT] * 60 + [MENDED] * 20 + [BROKEN] * 20 + [PARKED] * 12
    return made(rows, cases=[CASE], volumes=True)


@pytest.fixture(scope="module")
def plain():
    """One with nothing but a few texts."""
    return made([RIGHT] * 3, new=OLD)


# --- words ---------------------------------------------------------------------------------


def test_the_verdict_in_words(full):
    first, changes, news, short = sentences(full)
    assert short.startswith("Nog klein: eigen meetset (112 teksten)")
    assert first.startswith(HEADLINES[MIXED])
    assert "Op 112 teksten gaat de score voor irritaties (F1) van 0,8" in first
    assert first.endswith("en blijft het aandeel teksten met het goede sentiment 1,000.")
    assert re.search(r"beter: .*Smaak \(\+0,143\).* slechter: .*Prijs.* \(-1,000\)", changes)
    assert news == "Nieuw: Parkeren (F1 1,00 op 12 teksten)."
    todo = advice(full, "3")
    assert todo.command == "druppel promote 3 --force"
    assert NAME in todo.text


@pytest.mark.parametrize(
    ("rows", "new", "verdict", "told", "command"),
    [
        ([RIGHT] * 80 + [MENDED] * 20, OLD, BETTER, "Neem het nieuwe model", "druppel promote 7"),
        ([RIGHT] * 80 + [BROKEN] * 20, OLD, WORSE, "Niet in gebruik nemen", None),
        ([RIGHT] * 120, OLD, EQUAL, "niet nodig", None),
        ([RIGHT] * 20, OLD, TOO_FEW, "Wacht met overstappen", None),
        ([RIGHT] * 120 + [PARKED] * 3, NEW, EQUAL, "nieuwe labels nodig", "druppel promote 7"),
    ],
)
def test_advice(rows, new, verdict, told, command):
    found = made(rows, new=new)
    assert found.verdict == verdict
    assert sentences(found)[0].startswith(HEADLINES[verdict])
    assert told in advice(found, "7").text
    assert advice(found, "7").command == command


def test_new_labels_that_are_few_or_missing():
    few = made([RIGHT] * 120 + [PARKED] * 3)
    assert "Parkeren (F1 1,00 op 3 teksten, te weinig om op te bouwen)" in sentences(few)[2]
    none = made([RIGHT] * 120, annotated=OLD.names)
    assert sentences(none)[2].startswith("Nieuw maar niet gemeten")
    assert sentences(none)[2].endswith("Parkeren.")


def test_what_the_sets_lack():
    small = sentences(made([RIGHT] * 30, new=OLD))[2]
    assert small.startswith("Nog klein: eigen meetset (30 teksten); met ongeveer 70 teksten erbij")
    empty = HeldOut("proefset", (), frozenset())
    assert sentences(made([RIGHT] * 120, new=OLD, extra_sets=[empty]))[2].startswith(
        "Nog leeg: proefset;"
    )


# --- terminal ------------------------------------------------------------------------------


def test_the_terminal_report_is_narrow_and_holds_no_text(full):
    long = {**full.names, "prijs": "Prijsprijsprijs" * 10, "smaak": "Smaak van alles " * 10}
    for comparison in (full, replace(full, names=long)):
        told = as_text(comparison, "3")
        assert max(map(len, told.splitlines())) <= WIDTH
        assert "gehackt" not in told
        assert "Lekker" not in told
        told.encode("cp1252")  # a Dutch Windows terminal
    told = as_text(full, "3")
    assert "WISSELEND" in told
    assert re.search(r"^Smaak +80 +0,857 +1,000 +\+0,143 .* beter$", told, re.MULTILINE)
    assert re.search(r"^Parkeren +12 +- +1,000 +nieuw$", told, re.MULTILINE)
    assert "verloren (1): c-1" in told
    assert re.search(r"^Smaak +53,6 % +71,4 % +\+17,9 +20 +0$", told, re.MULTILINE)
    assert told.splitlines()[-1].startswith("gemengd")


def test_the_terminal_report_of_little(plain):
    told = as_text(plain)
    assert "TE WEINIG" in told
    assert "Proefgevallen" not in told
    assert "gekozen bestand" not in told


# --- page ----------------------------------------------------------------------------------


class Elements(HTMLParser):
    """What stands in a page: elements with their attributes, and the words."""

    def __init__(self, page):
        super().__init__()
        self.found, self.words, self.open = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "line", "circle", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_the_page_tells_everything_and_is_whole(full):
    page = Elements(as_html(full, "3"))
    assert page.open == []
    words = " ".join(" ".join(page.words).split())
    for told in (
        HEADLINES[MIXED].rstrip("."),
        "druppel promote 3 --force",
        "oud & wijs 1",
        "nieuw <2>",
        "Parkeren",
        "Beter in 20 teksten, hier 5",
        "Van 1 lastige teksten gaan er 1 helemaal goed met het oude model en 0 met het nieuwe",
        "mist Smaak als irritatie; sentiment positief",
        "Van 112 teksten krijgen er",
        "Hoe lees ik dit?",
    ):
        assert told in words, told
    ids = {attrs["id"] for _, attrs in page.found if "id" in attrs}
    links = {attrs["href"] for tag, attrs in page.found if tag == "a"}
    assert {link.removeprefix("#") for link in links} <= ids  # and nothing leads elsewhere


def test_the_page_of_little(plain):
    words = " ".join(Elements(as_html(plain)).words)
    assert "te weinig gemeten" in words
    assert "Proefgevallen" not in words
    assert "Wat werd beter" not in words


def test_whatever_a_customer_writes_is_text(full):
    page = Elements(as_html(full))
    assert ATTACK in "".join(page.words)
    tags = [tag for tag, _ in page.found]
    assert tags.count("script") == 1
    assert not {"img", "b onclick", "iframe", "link"} & set(tags)
    for tag, attrs in page.found:
        assert not [name for name in attrs if name.startswith("on")], tag
        assert not {"src"} & set(attrs), tag
    policy = next(a["content"] for t, a in page.found if "http-equiv" in a)
    assert "default-src 'none'" in policy
    assert "script-src 'sha256-" in policy


@pytest.fixture(scope="module")
def browser():
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not there to open the page in")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as p:
        opened = p.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser, full, tmp_path):
    file = tmp_path / "vergelijking.html"
    file.write_text(as_html(full, "3"), encoding="utf-8")
    opened = browser.new_page(viewport={"width": 1200, "height": 900})
    opened.heard = []
    opened.on("console", lambda message: opened.heard.append(message.text))
    opened.on("pageerror", lambda error: opened.heard.append(str(error)))
    opened.on("dialog", lambda dialog: opened.heard.append(dialog.message))
    opened.on("request", lambda request: opened.heard.append(request.url))
    opened.goto(file.as_uri())
    assert opened.heard.pop(0) == file.as_uri()
    yield opened
    opened.close()


def test_in_a_browser_an_attack_is_inert_and_nothing_is_fetched(page):
    for summary in page.locator("details > summary").all():
        summary.click()
    assert page.title() == "nieuw <2> tegenover oud & wijs 1"
    assert page.locator("blockquote", has_text="gehackt").first.is_visible()
    assert page.heard == []
    # Even markup that got in would not run.
    page.evaluate("x => { document.body.insertAdjacentHTML('beforeend', x) }", ATTACK)
    page.evaluate(
        "() => { const s = document.createElement('script');"
        "s.textContent = 'document.title = \"gehackt\"'; document.body.append(s); }"
    )
    page.wait_for_timeout(100)
    assert "gehackt" not in page.title()


def test_in_a_browser_a_table_sorts(page):
    table = page.locator("#labels ~ .scroll table").first

    def names():
        return [name.split("\n")[0] for name in table.locator("tbody th").all_inner_texts()]

    assert names() == ["Smaak", NAME, "Parkeren"]
    head = table.get_by_role("button", name="verschil")
    head.focus()
    page.keyboard.press("Enter")
    assert names() == ["Smaak", NAME, "Parkeren"]  # the unknown last
    assert table.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"
    head.click()
    assert names() == ["Parkeren", NAME, "Smaak"]
    table.get_by_role("button", name="label").click()
    assert names() == [NAME, "Parkeren", "Smaak"]
    assert page.heard == []


@pytest.mark.parametrize("width", [1200, 360])
def test_in_a_browser_the_page_fits(page, width):
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
