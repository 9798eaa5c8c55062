"""Mask personal data in a text: find it, and put a placeholder such as ``[NAAM]`` in its place.

Libraries judge what has rules: phonenumbers the telephone numbers, stdnum the check digits,
Faker's lists the names. What has only a shape (a licence plate, an address, an order number) is
found by the tables of patterns here. Every pattern is bounded, so a long text costs time in
proportion to its length.

There is no model of names: a name is found after a sign (a form of address, a greeting, a
profession), or when it is a known first name with a capital. Other names stay.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources

from druppel.errors import InputError

KINDS = ("E-MAIL", "TELEFOON", "IBAN", "BSN", "ADRES", "KENTEKEN", "NUMMER", "NAAM")
"""What is masked. BSN stands for the Belgian rijksregisternummer too, NUMMER for every number
that leads to one customer: of an order, a dossier, a policy, a parcel, a ticket."""

_Spans = Iterator[tuple[int, int]]
_MOST_PASSES = 8


@dataclass(frozen=True, slots=True)
class Found:
    """A stretch of personal data; `start` and `end` count characters in the original text."""

    kind: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Masked:
    """A text with placeholders, and what they stand for."""

    text: str
    found: tuple[Found, ...]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Where a stretch of the original text lies in the masked one.

        Parameters
        ----------
        start, end : int
            Offsets in the original text. A stretch that touches a part of something masked
            widens to the whole placeholder.

        Returns
        -------
        tuple of int
            Offsets in `text`.

        Examples
        --------
        >>> masked = Masked("Ik ben [NAAM], hallo.", (Found("NAAM", 7, 12),))
        >>> masked.span(14, 19)  # of "Ik ben Karin, hallo."
        (15, 20)
        >>> masked.span(3, 9)
        (3, 13)
        """
        return self._moved(start, past=False), self._moved(end, past=True)

    def _moved(self, offset: int, *, past: bool) -> int:
        """Offset in the masked text; one inside a find goes to its start, or `past` it."""
        shift = 0
        for item in self.found:
            if offset <= item.start:
                break
            size = len(_placeholder(item))
            if offset < item.end:
                return item.start + shift + (size if past else 0)
            shift += size - (item.end - item.start)
        return offset + shift


class Masker:
    """Find and mask personal data.

    Raises
    ------
    InputError
        When the optional dependencies are not installed.

    Examples
    --------
    >>> masker = Masker()
    >>> masker.mask("Ik ben Karin de Vries, bel 06 12345678 over bestelling 4400123.").text
    'Ik ben [NAAM], bel [TELEFOON] over bestelling [NUMMER].'
    >>> [found.kind for found in masker.find("Kerkstraat 12, 1234 AB Utrecht")]
    ['ADRES']
    """

    def __init__(self) -> None:
        try:
            import phonenumbers  # noqa: F401
            import stdnum  # noqa: F401

            self._names = _Names()
        except ImportError as error:
            message = f"Masking needs {error.name}; install with: pip install 'druppel[mask]'"
            raise InputError(message) from None

    def find(self, text: str) -> tuple[Found, ...]:
        """Return the personal data in `text`, in order and without overlap."""
        found: list[Found] = []
        digits = len(_digits(text))
        finders = [(kind, finder) for kind, least, finder in _FINDERS if digits >= least]
        finders.append(("NAAM", self._names.spans))
        # Each finder sees what those before it left. A find changes what stands beside it, so look
        # again until there is nothing new: to mask a masked text then changes nothing. (The limit
        # is for texts made to need more, such as "#1234#1234#1234…".)
        for _ in range(_MOST_PASSES):
            before = len(found)
            for kind, finder in finders:
                fresh = [Found(kind, start, end) for start, end in finder(text)]
                if fresh:
                    found += fresh
                    text = _replaced(text, fresh, _blank)
            if len(found) == before:
                break
        return tuple(sorted(found, key=lambda item: item.start))

    def mask(self, text: str) -> Masked:
        """Return `text` with a placeholder in the place of each find."""
        found = self.find(text)
        return Masked(_replaced(text, found, _placeholder), found)


def _placeholder(item: Found) -> str:
    return f"[{item.kind}]"


def _blank(item: Found) -> str:
    """As long as the find, and to every pattern what a placeholder is: something in brackets."""
    return "[" + "]" * (item.end - item.start - 1)


def _replaced(text: str, found: Sequence[Found], stand_in: Callable[[Found], str]) -> str:
    parts: list[str] = []
    end = 0
    for item in found:
        parts += (text[end : item.start], stand_in(item))
        end = item.end
    return "".join((*parts, text[end:]))


# --- Tools ----------------------------------------------------------------------------------------


def _words(text: str) -> tuple[str, ...]:
    """A table of words, written as one text."""
    return tuple(text.split())


_DIGIT = re.compile(r"[0-9]")
_NO_DIGIT = re.compile(r"[^0-9]")
# A number before one of these is an amount, a time or a measure …
_UNIT = re.compile(
    r"\s?(?:€|%|°|(?:euro|eur|cent|procent|stuks?|keer|maal|x|uren|uur|u|min(?:uten|uut)?|dag(?:en)?"
    r"|we(?:ek|ken)|maand(?:en)?|mnd|jaar|jaren|km|kilometer|meter|m2?|cm|mm|kg|kilo|gram|gr|g|liter"
    r"|l|ml|mb|gb|tb|mbps|kwh|watt|w|graden|pers(?:onen|oon)?|man|mensen|klanten|punten|sterren"
    r"|artikelen|producten|auto's|bomen|huizen|winkels)\b)",
    re.IGNORECASE,
)
# … and these are dates and years.
_DATE = re.compile(
    r"[0-9]{1,2}([-./])[0-9]{1,2}\1(?:(?:19|20)[0-9]{2}(?![0-9])|[0-9]{2}(?=\s+[0-9]{1,2}[:.u]))"
)
_YEARS = re.compile(r"(?:19|20)[0-9]{2}(?:[-/](?:19|20)?[0-9]{2})?")
_AMOUNT = re.compile(r"[0-9]{1,3}[.][0-9]{3}(?:[.,][0-9]{2})?|[0-9]+[.,][0-9]{2}")
_AMOUNT_BEFORE = re.compile(r"(?:€|\$|£|euro|eur)\s?$", re.IGNORECASE)
_PRODUCT_BEFORE = re.compile(
    r"\b(?:art(?:ikel)?|model|type|onderdeel|versie|ean|barcode)(?:code|nummer|nr|no)?[\s.:]{1,3}$",
    re.IGNORECASE,
)


def _is_before(pattern: re.Pattern[str], text: str, at: int) -> bool:
    return pattern.search(text[max(0, at - 24) : at]) is not None


def _digits(text: str) -> str:
    return _NO_DIGIT.sub("", text)


# --- E-mail ---------------------------------------------------------------------------------------

_LABEL = r"\w(?:[\w-]{0,61}\w)?"
_TLD = r"(?:nl|be|com|net|org|eu|de|fr|nu|info)"
# A missing top-level domain is a slip of the pen; with spaces around the @ it is required.
_EMAIL = re.compile(
    rf"(?<![\w.+%-])[\w.+%-]{{0,63}}[\w+%-](?:@{_LABEL}(?:\.{_LABEL}){{0,5}}"
    rf"|\s?@\s?{_LABEL}(?:\.{_LABEL}){{0,4}}\s?\.\s?{_TLD}\b)"
)
_AT = r"(?:at|apen?staart(?:je)?)"
_DOT = r"(?:\s?\.\s?|\s(?:punt|dot)\s)"
_AT_WORD = re.compile(rf"[\s(\[{{]{_AT}[\s)\]}}]", re.IGNORECASE)
_EMAIL_IN_WORDS = re.compile(
    r"(?<![\w.-])\w[\w.-]{0,40}(?:\s(?:punt|dot|streepje|underscore)\s\w[\w.-]{0,40}){0,4}"
    rf"(?:\s?[(\[{{]\s?{_AT}\s?[)\]}}]\s?|\s{_AT}\s)"
    rf"\w[\w-]{{0,62}}(?:{_DOT}\w[\w-]{{0,62}}){{0,2}}{_DOT}{_TLD}\b",
    re.IGNORECASE,
)


def _emails(text: str) -> _Spans:
    if "@" in text:
        yield from (match.span() for match in _EMAIL.finditer(text))


def _emails_in_words(text: str) -> _Spans:
    if _AT_WORD.search(text):
        yield from (match.span() for match in _EMAIL_IN_WORDS.finditer(text))


# --- IBAN -----------------------------------------------------------------------------------------

_IBAN_START = re.compile(r"(?:(?<![A-Za-z0-9])|(?<=iban))[a-z]{2}[ .-]?[0-9]{2}", re.IGNORECASE)
_IBAN_REST = re.compile(r"(?:[ .-]?[A-Za-z0-9]){11,30}")
_IBAN_GAP = re.compile(r"[ .-]")
# With a wrong check digit it is a typing error, which still leads to its owner; and nothing else
# that customers write has these shapes. So it is masked.
_IBAN_SHAPE = re.compile(r"NL[0-9]{2}[A-Z]{4}[0-9]{10}|BE[0-9]{14}|DE[0-9]{20}")


def _ibans(text: str) -> _Spans:
    done = 0
    for match in _IBAN_START.finditer(text):
        start = match.start()
        rest = _IBAN_REST.match(text, match.end())
        if rest is None or start < done:
            continue
        # Words may follow: the longest stretch of whole groups that is an IBAN counts.
        for end in range(rest.end(), match.end() + 10, -1):
            if not text[end : end + 1].isalnum() and _is_iban(text[start:end]):
                yield start, end
                done = end
                break


def _is_iban(candidate: str) -> bool:
    from stdnum import iban

    compact = _IBAN_GAP.sub("", candidate).upper()
    return _IBAN_SHAPE.fullmatch(compact) is not None or iban.is_valid(compact)


# --- BSN and rijksregisternummer ------------------------------------------------------------------

_BSN_INTRODUCED = re.compile(
    r"(?<!\w)(?:bsn|b\.s\.n\.?|burgerservice\w{0,8}|sofi-?(?:nummer|nr)|rijksregister\w{0,8}|insz|rrn"
    r"|nationaal\s?(?:nummer|nr))"
    r"(?:[\s:=(,.-]|\b(?:nummer|nr|is|was|van|mijn|zijn|haar|onze|het|dochter|zoon|zoontje|man|vrouw"
    r"|luidt|kind)\b){0,12}(?<![0-9])(?P<number>[0-9](?:[ .-]?[0-9]){7,10})(?![0-9])",
    re.IGNORECASE,
)
_BSN = re.compile(
    r"(?<![\w€#])(?<![0-9][.,/-])(?:"
    r"[0-9]{9}|[0-9]{3}([ .-])[0-9]{3}\1[0-9]{3}|[0-9]{4}([ .-])[0-9]{2}\2[0-9]{3}"
    r"|(?P<be>[0-9]{2}[. ]?[0-9]{2}[. ]?[0-9]{2}[- ]?[0-9]{3}[. ]?[0-9]{2}))(?![\w/-])(?![.,][0-9])"
)


def _introduced_bsns(text: str) -> _Spans:
    """Those that the customer calls so, whatever the eleven test says."""
    yield from (match.span("number") for match in _BSN_INTRODUCED.finditer(text))


def _bsns(text: str) -> _Spans:
    from stdnum.be import bis, nn
    from stdnum.nl import bsn

    for match in _BSN.finditer(text):
        number = _digits(match[0])
        valid = nn.is_valid(number) or bis.is_valid(number) if match["be"] else bsn.is_valid(number)
        if valid and not _is_before(_PRODUCT_BEFORE, text, match.start()):
            yield match.span()


# --- Telephone ------------------------------------------------------------------------------------

_SEP = r"[ .\-–/()]{0,3}"
# phonenumbers' own matcher takes any nine digits for a Dutch number without its zero, and dates
# for numbers; so the library judges only what begins as people write a number.
_PHONE = re.compile(
    rf"(?<![\w€#+])(?<![0-9][.,/-])(?:(?:\+|00)[1-9](?:{_SEP}[0-9]){{7,13}}"
    rf"|\(0[1-9][0-9]{{0,3}}\)(?:{_SEP}[0-9]){{5,8}}|0[1-9](?:{_SEP}[0-9]){{7,8}}|3[12][0-9]{{9}})"
    r"(?![0-9])"
)
_LEAST_PHONE_DIGITS = 9
_LAST_GROUP = re.compile(r"[^0-9]+[0-9]+$")
_PHONE_INTRODUCED = re.compile(
    r"\b(?:tel|telefoon(?:nummer|nr)?|telnr|mobiele?(?:\s?nummer|\s?nr)?|gsm(?:nummer|nr)?"
    r"|whatsapp|06-?nummer)(?:[\s.:(=]|\b(?:is|op|naar|nr|nummer)\b){1,6}"
    rf"(?P<number>\+?[0-9](?:{_SEP}[0-9]){{7,11}})(?![\w€%])",
    re.IGNORECASE,
)
# Numbers that only companies have.
_SERVICE = re.compile(r"0(?:800|90[0-9])")


def _phones(text: str) -> _Spans:
    for match in _PHONE.finditer(text):
        start, end = match.span()
        if _DATE.match(text, start) or _SERVICE.match(text, start):
            continue
        while not _is_phone(text[start:end]):
            # The number may run on into another one: try without the last group.
            cut = _LAST_GROUP.search(text, start, end)
            if cut is None or len(_digits(text[start : cut.start()])) < _LEAST_PHONE_DIGITS:
                break
            end = cut.start()
        else:
            yield start, end


def _is_phone(candidate: str) -> bool:
    import phonenumbers

    for region in ("NL", "BE"):
        try:
            if phonenumbers.is_valid_number(phonenumbers.parse(candidate, region)):
                return True
        except phonenumbers.NumberParseException:
            continue
    return False


def _introduced_phones(text: str) -> _Spans:
    """Those that the customer calls so, with a digit too few or too many as well."""
    for match in _PHONE_INTRODUCED.finditer(text):
        start = match.start("number")
        if not _SERVICE.match(text, start) and not _DATE.match(text, start):
            yield match.span("number")


# --- Address --------------------------------------------------------------------------------------

_HOUSE = (
    r"[1-9][0-9]{0,3}(?![0-9])(?![.,:][0-9])"
    r"(?:\s?[-/]\s?(?:[0-9]{1,4}|[IVX]{1,4}|[A-Za-z])\b|[A-Za-z][0-9]{0,2}\b|\s(?:bis|hs|[A-H])\b)?"
    r"(?:,?\s(?:bus|box|bte)\s?[A-Za-z0-9]{1,5}\b)?"
)
_CITY = (
    r"(?:['’]s-|[Ss]int-|St\.\s)?[A-Z][\w-]{1,30}"
    r"(?:\s(?:aan|op|bij|en|ter|van)(?:\s(?:den|de|het))?\s[A-Z][\w-]{1,30}|\s[A-Z][\w-]{3,30})?"
)
_POSTCODE_CITY = (
    rf"(?:[1-9][0-9]{{3}}(?:\s?[A-Z]{{2}}|[a-z]{{2}})\b(?:[ ,]{{1,2}}{_CITY})?"
    rf"|(?:B-)?[1-9][0-9]{{3}}\s{_CITY})"
)
_STREET_ENDS = _words(
    "straat straatje straatweg laan laantje weg plein kade gracht singel hof dreef steeg plantsoen "
    "dijk kaai"
)
# These end ordinary words too ("glijbaan"), so the word needs a capital within a sentence.
_STREET_ENDS_WITH_CAPITAL = _words(
    "park markt pad baan lei vest wal haven veld erf akker boulevard allee berg brink werf kamp "
    "hoek poort wijk str str."
)
_STREET = re.compile(
    rf"(?<![\w'’.-])(?P<word>[^\W\d_][\w'’.-]{{0,40}}+)"
    rf"(?P<to>(?<=weg|aan) (?:op|naar) [A-Z][\w-]{{1,30}})?"
    rf"\s(?:(?i:nr\.?|nummer|huisnummer|huisnr\.?)\s?)?{_HOUSE}"
    rf"(?P<place>[\s,]{{1,3}}{_POSTCODE_CITY})?"
)
_STREET_BEFORE = re.compile(
    r"(?<!\w)(?:(?:[A-Z][\w'’.-]{0,30}|[0-9]{1,2}e) (?:(?:van|de|der|den|het|'t|ten|ter) ){0,3})"
    r"{1,3}\Z"
)
_NO_STREET = frozenset(
    ("onderweg", "snelweg", "autosnelweg", "autoweg", "omweg", "uitweg", "kerkhof", "winkelstraat")
    + ("zijstraat", "zijweg", "spoorweg", "wasstraat", "supermarkt", "bouwmarkt", "rommelmarkt")
    + ("vakantiepark", "pretpark", "bungalowpark", "startbaan", "treinbaan", "rijbaan", "parking")
    + ("binnenhof", "gerechtshof", "halverweg", "landweg", "ringweg", "handelsweg", "invalsweg")
)
_MIN_STREET = 7
_SENTENCE_START = re.compile(r"(?:^|[.!?\n])\s*\Z")
# Words with a capital before a street name that do not belong to it.
_NO_STREET_START = frozenset(
    _words(
        "aan adres bij de deze die dit factuuradres graag het hier hun ik in is jullie mijn naar "
        "nu om ons onze op te tot u uit uw van vanaf vanuit voor waarom wij woon"
    )
)
# A street without such an end counts when a postcode follows.
_STREET_WITH_POSTCODE = re.compile(
    rf"(?<![\w-])(?P<street>(?:[A-Z][\w'’-]{{1,30}} ){{1,3}}){_HOUSE},?\s"
    rf"(?!(?:19|20)[0-9]{{2}}\s[A-Z][a-z]){_POSTCODE_CITY}"
)
_POSTCODE = re.compile(
    r"(?<![\w€])(?<![0-9][.,-])[1-9][0-9]{3}\s?(?P<letters>[A-Za-z]{2})(?!\w)"
    rf"(?P<house>(?:[\s,.-]|\b(?:nr|nummer|huisnummer|huisnr|en)\b){{1,6}}{_HOUSE})?"
    rf"(?:[ ,]{{1,2}}{_CITY})?"
)
_POSTCODE_BEFORE = re.compile(r"postcode(?:[\s:=(]|\bis\b){0,5}$", re.IGNORECASE)
# After four digits these are a unit or a word; SA, SD and SS are not given out.
_NO_POSTCODE = frozenset(
    _words(
        "al bv cc cl cm ct dl dm do du en er eu ex fm gb gr ha hp hz ik in is ja je kb kg km kw la "
        "ma mb me ml mm mw na ne nm nr nu of om op or pk sa sd se ss st te tb tl to tv uw va we wh "
        "wo xl za ze zo"
    )
)


def _streets(text: str) -> _Spans:
    done = 0
    for match in _STREET.finditer(text):
        word = match["word"].casefold()
        capital = match["word"][0].isupper()
        is_plain = word.endswith(_STREET_ENDS)
        if not (is_plain or (capital and word.endswith(_STREET_ENDS_WITH_CAPITAL))):
            continue
        if word in _NO_STREET or (not match["place"] and _UNIT.match(text, match.end())):
            continue
        start = match.start()
        lead = _STREET_BEFORE.search(text, max(done, start - 120), start) if capital else None
        if lead:
            start = _street_start(text, lead.start(), start)
        has_lead = start < match.start()
        # "Plein 12" is no street by itself, "Oude Plein 12" is; so is "Steenweg op Leuven 112".
        is_bare = word in _STREET_ENDS or word in _STREET_ENDS_WITH_CAPITAL
        if is_bare and not has_lead and not (capital and match["to"]):
            continue
        if not (is_plain or has_lead or match["place"]) and _opens_sentence(text, start):
            continue
        if capital or len(word) >= _MIN_STREET:
            yield start, match.end()
            done = match.end()


def _street_start(text: str, start: int, end: int) -> int:
    """Where a street name begins: after the "De", "In de" or "Adres" that opens the sentence."""
    while start < end:
        word, _, _ = text[start:end].partition(" ")
        drops = word.casefold() in _NO_STREET_START and _opens_sentence(text, start)
        if not (drops or word.islower()):
            break
        start += len(word) + 1
    return start


def _opens_sentence(text: str, at: int) -> bool:
    return _SENTENCE_START.search(text, max(0, at - 4), at) is not None


def _streets_with_postcode(text: str) -> _Spans:
    for match in _STREET_WITH_POSTCODE.finditer(text):
        start = _street_start(text, match.start(), match.end("street"))
        if start < match.end("street"):
            yield start, match.end()


def _postcodes(text: str) -> _Spans:
    for match in _POSTCODE.finditer(text):
        letters = match["letters"]
        introduced = _is_before(_POSTCODE_BEFORE, text, match.start())
        if introduced or (
            letters.casefold() not in _NO_POSTCODE and (letters.isupper() or match["house"])
        ):
            yield match.span()


# --- Licence plate --------------------------------------------------------------------------------

# Dutch sidecodes 1 to 14 and the Belgian plate; X a letter, 9 a digit.
_PLATES = (
    *("XX-99-99", "99-99-XX", "99-XX-99", "XX-99-XX", "XX-XX-99", "99-XX-XX", "99-XXX-9"),
    *("9-XXX-99", "XX-999-X", "X-999-XX", "XXX-99-X", "X-99-XXX", "9-XX-999", "999-XX-9"),
    "9-XXX-999",
)
# Only after a word such as "kenteken": the older Belgian plates.
_PLATES_INTRODUCED = (*_PLATES, "XXX-999", "999-XXX")


def _plates_pattern(plates: tuple[str, ...], gap: str) -> str:
    shapes = "|".join(plates).replace("-", gap)
    return rf"(?:{shapes.replace('9', '[0-9]').replace('X', '[a-z]')})(?![\w-])"


_PLATE = re.compile(rf"(?<![\w-]){_plates_pattern(_PLATES, '-')}", re.IGNORECASE)
_PLATE_INTRODUCED = re.compile(
    r"\b(?:kenteken\w{0,6}|nummerplaat|plaat)(?:[\s:=(,]|\b(?:is|was|nr|nummer|met|dus)\b){1,8}"
    rf"(?P<plate>{_plates_pattern(_PLATES_INTRODUCED, '[ -]?')})",
    re.IGNORECASE,
)
_MONTH = re.compile(r"-(?:jan|feb|mrt|apr|mei|jun|jul|aug|sep|okt|nov|dec)-", re.IGNORECASE)


def _introduced_plates(text: str) -> _Spans:
    yield from (match.span("plate") for match in _PLATE_INTRODUCED.finditer(text))


def _plates(text: str) -> _Spans:
    for match in _PLATE.finditer(text):
        if not _MONTH.search(match[0]) and not _is_before(_PRODUCT_BEFORE, text, match.start()):
            yield match.span()


# --- Numbers of a customer, an order, a dossier ---------------------------------------------------

_VALUE = r"(?=#?[A-Za-z_/.-]{0,12}[0-9])#?[A-Za-z0-9](?:[A-Za-z0-9]|[-_/.](?=[A-Za-z0-9])){1,39}"
_GAP = r"(?:[\s.:=(#,-]|\b(?:is|was|nr|nummer|no|code|met|onder|luidt)\b){1,8}?"
# Every "…nummer" counts, but for these.
_NUMBER_INTRODUCED = re.compile(rf"(?:nummers?|nrs?)\b{_GAP}(?P<value>{_VALUE})", re.IGNORECASE)
_NO_NUMBER = re.compile(
    r"(?<!\w)(?:telefoon|tel|mobiele?|gsm|0[69]00|0[68]|huis|art|artikel|model|type|versie|kamer|lijn|bus"
    r"|spoor|volg|rug|blad|pagina|stoel|rij|service|alarm|kanaal|jaar|week|onderdeel|perron|maat"
    r"|vlucht|trein|tram"
    r"|letter|nood|fout)-?$",
    re.IGNORECASE,
)
# Words that introduce a number by themselves.
_THING_INTRODUCED = re.compile(
    r"\b(?:bestelling|bestel|order|dossier|zaak|polis|factuur|ticket|referentie|ref|kenmerk|contract"
    r"|pakket|pakje|zending|reservering|boeking|abonnement|melding|claim|schade|case|incident|retour"
    r"|klant|lid|aanvraag|klacht|bon|klantcode|boekingscode"
    r"|reserveringscode|trackcode|tracking(?:code)?|track\s?(?:&|and|en)\s?trace(?:[\s-]?code)?|t&t)"
    rf"{_GAP}(?P<value>{_VALUE})",
    re.IGNORECASE,
)
_WORD_BEFORE = re.compile(r"[\w'’.-]{1,40}\Z")
_NUMBER_WORD = re.compile(r"\b(?:nr|nummer)\b", re.IGNORECASE)
_MORE_GROUPS = re.compile(r"(?: [0-9]{2,8}(?![\w.,]*[0-9]|[\w%€]))*")
_HASH = re.compile(r"(?<![\w&#])#[A-Za-z]{0,4}-?[0-9]{4,20}(?!\w)")
_PARCEL = re.compile(
    r"\b(?:3S[A-Z0-9]{9,15}|(?:JVGL|JJD)[0-9]{10,24}|1Z[A-Z0-9]{16}|[A-Z]{2}[0-9]{9}(?:NL|BE|DE|CN)"
    r"|3232[0-9]{20})\b",
    re.IGNORECASE,
)


def _word_before(text: str, at: int) -> str:
    """The first part of the word that goes on at `at`."""
    match = _WORD_BEFORE.search(text, max(0, at - 40), at)
    return match[0] if match else ""


def _introduced_numbers(text: str) -> _Spans:
    for match in _NUMBER_INTRODUCED.finditer(text):
        begin = _word_before(text, match.start())
        if begin and not _NO_NUMBER.search(begin):
            yield from _value(text, match, digits=3)


def _bare_introduced_numbers(text: str) -> _Spans:
    """After "nummer" or "nr" alone."""
    for match in _NUMBER_INTRODUCED.finditer(text):
        if not _word_before(text, match.start()):
            yield from _value(text, match, digits=5)


def _numbers_of_things(text: str) -> _Spans:
    for match in _THING_INTRODUCED.finditer(text):
        if _AMOUNT.fullmatch(match["value"]) and not _NUMBER_WORD.search(match[0]):
            continue
        yield from _value(text, match, digits=4)


def _value(text: str, match: re.Match[str], *, digits: int) -> _Spans:
    """The number that was introduced, unless it is an amount, a date or the like."""
    start, end = match.span("value")
    if text[start - 1] == "#":
        start -= 1
    value = match["value"].lstrip("#")
    count = len(_digits(value))
    if count == len(value):
        more = _MORE_GROUPS.match(text, end)
        groups = more[0] if more else ""
        while groups and _UNIT.match(text, end + len(groups)):
            groups = groups.rpartition(" ")[0]
        end += len(groups)
        count += len(_digits(groups))
    is_code = count >= 2 and len(value) >= 5 and value.upper() == value and not value.isdigit()
    if (
        (count >= digits or is_code)
        and not _YEARS.fullmatch(text, start, end)
        and not _DATE.match(text, start)
        and not _UNIT.match(text, end)
        and not _is_before(_AMOUNT_BEFORE, text, start)
        and not re.match(r",[0-9]", text[end : end + 2])
    ):
        yield start, end


def _hashes(text: str) -> _Spans:
    for match in _HASH.finditer(text):
        if not _YEARS.fullmatch(match[0][1:]):
            yield match.span()


def _parcels(text: str) -> _Spans:
    yield from (match.span() for match in _PARCEL.finditer(text))


# In order of precedence, the surest first; the number is how many digits a text must have for one.
_FINDERS: tuple[tuple[str, int, Callable[[str], _Spans]], ...] = (
    ("E-MAIL", 0, _emails),
    ("E-MAIL", 0, _emails_in_words),
    ("IBAN", 8, _ibans),
    ("BSN", 8, _introduced_bsns),
    ("KENTEKEN", 2, _introduced_plates),
    ("NUMMER", 2, _introduced_numbers),
    ("NUMMER", 9, _parcels),
    ("TELEFOON", 8, _phones),
    ("TELEFOON", 8, _introduced_phones),
    ("ADRES", 1, _streets),
    ("ADRES", 5, _streets_with_postcode),
    ("ADRES", 4, _postcodes),
    ("KENTEKEN", 2, _plates),
    ("NUMMER", 2, _numbers_of_things),
    ("NUMMER", 5, _bare_introduced_numbers),
    ("NUMMER", 4, _hashes),
    ("BSN", 9, _bsns),
)


# --- Names ----------------------------------------------------------------------------------------

_WORD = re.compile(
    r"(?:(?:[^\W\d_]|Th|Chr|Ph|Joh|Fr|Wm)\.){1,5}(?=[\s,;:)]|[^\W\d_]|$)"
    r"|['’][ts]\b|[^\W_]+(?:['’-][^\W_]+)*"
)
_POSSESSIVE = re.compile(r"['’]s$")
_PARTICLES = frozenset(_words("van de den der het 't ’t ter ten von el al da dos du la le vd v.d."))


@dataclass(frozen=True, slots=True)
class _Sign:
    """What says that a name follows, and how free that name is."""

    gap: re.Pattern[str]
    unknown: bool = True  # a word with a capital will do, also one that no list knows
    words: int = 1  # an unknown name has at least so many
    closing: bool = False  # an unknown name ends the line
    surname: bool = False  # it may be a surname: "de Vries", or a known one without a capital


_SPACE = re.compile(r"[ \u00a0]{1,2}")
_TITLE = _Sign(_SPACE, surname=True)
_TITLE_SHORT = _Sign(re.compile(r"\.?[ \u00a0]{1,2}"), surname=True)
_CALLED = _Sign(re.compile(r"(?: ?: ?| )"))
_I_AM = _Sign(_SPACE, words=2)
_STAFF = _Sign(_SPACE)
_GREETING = _Sign(re.compile(r"[\s,.:!\-–—*]{1,8}"), closing=True)


def _signs(sign: _Sign, words: str) -> dict[str, _Sign]:
    return dict.fromkeys(words.split("|"), sign)


_HELLO = _Sign(_SPACE, unknown=False)
# One word, or two with a space.
_SIGNS = {
    **_signs(
        _TITLE,
        "meneer|mijnheer|menere|mevrouw|heer|professor|juf|juffrouw|meester|zuster|broeder|dokter"
        "|tandarts|pastoor|madam|familie",
    ),
    **_signs(_TITLE_SHORT, "mevr|mvr|mw|mej|dhr|dr|drs|ir|ing|prof|mr|fam"),
    **_signs(
        _CALLED,
        "naam is|naam|ik heet|heet|heette|genaamd|namens|naam van|t.n.v.|t.a.v.|tnv|tav|ene|zekere"
        "|contactpersoon",
    ),
    **_signs(_I_AM, "ik ben"),
    **_signs(_HELLO, "beste|hallo|hoi|ha|hey|hai|lieve|goedemorgen|goedemiddag|goedenavond|dag"),
    **_signs(
        _STAFF,
        "collega|medewerker|medewerkster|monteur|topmonteur|chauffeur|bezorger|koerier|postbode"
        "|verkoper|verkoopster|adviseur|adviseuse|consulent|consulente|kapper|kapster|arts"
        "|verpleegkundige|verpleegster|stagiair|stagiaire|vrijwilliger|vrijwilligster|begeleider"
        "|begeleidster|trainer|docent|docente|leraar|lerares|serveerster|ober|manager|teamleider"
        "|bedrijfsleider|technieker|installateur|makelaar|baliemedewerker|receptioniste|man|vrouw"
        "|zoon|dochter|moeder|vader|vriend|vriendin|broer|zus|buurman|buurvrouw|kleinzoon"
        "|kleindochter|partner|oma|opa|tante|nonkel|oom|gesproken met|sprak met|gebeld met"
        "|contact met|lijn met|gechat met|gemaild met|overlegd met|geholpen door|gebeld door"
        "|geadviseerd door|ontvangen door|bediend door|dank aan",
    ),
    **_signs(
        _GREETING,
        "groet|groeten|groetjes|groet van|groeten van|groetjes van|mvg|m.v.g.|gr|grt|grtz|grtjs"
        "|groetjs|hoogachtend|liefs",
    ),
}
_SIGN_WORDS = frozenset(sign.rpartition(" ")[2] for sign in _SIGNS)
_CLOSING = re.compile(r"[ \t]*(?:$|[\r\n,.!(–-])")
# After an unsure first name these make a person of it.
_VERBS = frozenset(
    _words(
        "heeft had was is hielp kwam belde zei deed kon wist gaf nam vertelde bleef ging stond zou "
        "beloofde regelde legde dacht wilde luisterde nam zat bracht en"
    )
)


class _Names:
    """Finds names; holds what is known of them."""

    def __init__(self) -> None:
        from faker.providers.person import nl_BE, nl_NL

        ours = tomllib.loads(
            (resources.files("druppel") / "resources" / "names.toml").read_text(encoding="utf-8")
        )
        lists = {key: _folded(value.split()) for key, value in ours.items() if key != "brands"}
        locales = (nl_NL.Provider, nl_BE.Provider)
        self._brands = _folded(brand.strip() for brand in ours["brands"].split(";"))
        self._words = lists["words"]
        self._unsure = lists["unsure"]
        self._not_names = lists["not_names"]
        self._surname_words = lists["surname_words"]
        self._first = lists["first_names"] | self._words | self._unsure
        self._first |= _folded(
            part for locale in locales for name in locale.first_names for part in name.split("-")
        )
        self._surnames = _folded(name for locale in locales for name in locale.last_names)
        self._last = _folded(name.split()[-1] for name in self._surnames)

    def spans(self, text: str) -> _Spans:
        """Yield where the names in `text` are."""
        tokens = list(_WORD.finditer(text))
        at = 0
        while at < len(tokens):
            word = tokens[at][0]
            if not word[0].isupper() and word not in _SIGN_WORDS:
                at += 1
                continue
            begin, end = self._name(text, tokens, at)
            if end > begin:
                last = tokens[end - 1]
                possessive = _POSSESSIVE.search(last[0])
                yield tokens[begin].start(), last.end() - (2 if possessive else 0)
            at = max(end, at + 1)

    def _name(self, text: str, tokens: list[re.Match[str]], at: int) -> tuple[int, int]:
        """The tokens of a name that begins at token `at` or that it is a sign of."""
        word = tokens[at][0]
        folded = word.casefold()
        after = _gap(text, tokens, at)
        sign = _SIGNS.get(folded)
        if at and _gap(text, tokens, at - 1) == " ":
            sign = _SIGNS.get(f"{tokens[at - 1][0].casefold()} {folded}", sign)
        if sign and after is not None and sign.gap.fullmatch(after):
            end = self._after_sign(text, tokens, at + 1, sign)
            if end > at + 1 and not self._is_brand(tokens, at):
                return at + 1, end
        if _is_initials(word) and self._is_surname_next(text, tokens, at):
            return at, self._end(text, tokens, at + 1)
        if word[0].isupper() and self._is_first(word):
            if self._is_brand(tokens, at):
                return at + 2, at + 2
            end = self._end(text, tokens, at + 1)
            if self._is_sure(text, tokens, at, end):
                return at, end
        return at, at

    def _after_sign(self, text: str, tokens: list[re.Match[str]], at: int, sign: _Sign) -> int:
        """Where the name ends that begins at token `at`; `at` itself where there is none."""
        first = at
        while first < len(tokens) and first - at < 4 and _is_initials(tokens[first][0]):
            if _gap(text, tokens, first) not in ("", " "):
                return at
            first += 1
        has_initials = first > at
        if sign.surname or (first < len(tokens) and tokens[first][0][0].isupper()) or has_initials:
            first = _skip_particles(text, tokens, first)
        if first >= len(tokens):
            return at
        word = tokens[first][0]
        folded = word.casefold()
        if folded in self._not_names or folded in _SIGNS:
            return at
        if not word[0].isupper():
            known = self._is_first(word) and folded not in self._words | self._unsure
            surname = sign.surname and self._is_last(tokens, at, first)
            return self._end(text, tokens, first + 1, lower=True) if known or surname else at
        end = self._end(text, tokens, first + 1)
        if self._is_first(word) or has_initials:
            return end
        closes = not sign.closing or _CLOSING.match(text, tokens[end - 1].end()) is not None
        may_be = sign.unknown and closes and end - at >= sign.words and self._may_be_name(word)
        return end if may_be else at

    def _end(self, text: str, tokens: list[re.Match[str]], at: int, *, lower: bool = False) -> int:
        """Where the surnames end that may follow a first name, which ends before token `at`."""
        for _ in range(3):
            if at >= len(tokens) or _gap(text, tokens, at - 1) not in ("", " "):
                break
            word_at = _skip_particles(text, tokens, at)
            if word_at >= len(tokens):
                break
            word = tokens[word_at][0]
            capital = _is_initials(word) or self._may_be_name(word)
            if not capital and not (lower and self._is_last(tokens, at, word_at)):
                break
            at = word_at + 1
        return at

    def _is_first(self, word: str) -> bool:
        """Whether it is a first name: "Karin", "Karin's", "Jan-Willem"."""
        folded = _POSSESSIVE.sub("", word).casefold()
        return all(part in self._first for part in folded.split("-"))

    def _is_surname_next(self, text: str, tokens: list[re.Match[str]], at: int) -> bool:
        """Whether initials at `at` begin a name: "C. de Ruiter", "S. Hofman" that ends a line."""
        end = self._end(text, tokens, at + 1)
        if end == at + 1 or _is_initials(tokens[end - 1][0]):
            return False
        return (
            tokens[at + 1][0].casefold() in _PARTICLES
            or tokens[end - 1][0].casefold() in self._last
            or _CLOSING.match(text, tokens[end - 1].end()) is not None
        )

    def _is_last(self, tokens: list[re.Match[str]], at: int, last: int) -> bool:
        """Whether the tokens from `at` up to and with `last` are a known surname."""
        words = " ".join(token[0].casefold() for token in tokens[at : last + 1])
        return words in self._surnames and words not in self._surname_words

    def _may_be_name(self, word: str) -> bool:
        """Whether a word with a capital may be a name: no brand, place, month, abbreviation."""
        folded = word.casefold()
        if folded in self._not_names or not word[0].isupper() or _DIGIT.search(word):
            return False
        return not word.isupper() or folded in self._first or folded in self._last

    def _is_brand(self, tokens: list[re.Match[str]], at: int) -> bool:
        pair = " ".join(token[0].casefold() for token in tokens[at : at + 2])
        return pair in self._brands

    def _is_sure(self, text: str, tokens: list[re.Match[str]], at: int, end: int) -> bool:
        """Whether the first name at `at`, with surnames up to `end`, is one and not a word."""
        word = tokens[at][0]
        folded = _POSSESSIVE.sub("", word).casefold()
        if word.isupper() and (len(word) < 4 or folded in self._words | self._unsure):
            return False
        if end > at + 1:
            particle = tokens[at + 1][0].casefold() in _PARTICLES
            if particle or tokens[end - 1][0].casefold() in self._last:
                return True
        if folded in self._words:
            return False
        if folded not in self._unsure:
            return True
        if at and _gap(text, tokens, at - 1) in (" ", ", "):
            before = tokens[at - 1][0]
            return before[0].islower() or before.casefold() in self._not_names
        return at + 1 < len(tokens) and tokens[at + 1][0] in _VERBS


def _folded(words: Iterable[str]) -> frozenset[str]:
    return frozenset(word.casefold() for word in words)


def _gap(text: str, tokens: list[re.Match[str]], at: int) -> str | None:
    """What stands between token `at` and the next."""
    if at + 1 >= len(tokens):
        return None
    return text[tokens[at].end() : tokens[at + 1].start()]


def _is_initials(word: str) -> bool:
    return word.endswith(".") and all(part[0].isupper() for part in word[:-1].split("."))


def _skip_particles(text: str, tokens: list[re.Match[str]], at: int) -> int:
    """The token after "van der" and the like; `at` where there is none."""
    end = at
    while (
        end < len(tokens)
        and end - at < 3
        and tokens[end][0].casefold() in _PARTICLES
        and _gap(text, tokens, end) == " "
    ):
        end += 1
    return end
