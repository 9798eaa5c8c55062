import pytest
from hypothesis import given
from hypothesis import strategies as st

from druppel.segment import Segmenter

SEGMENTER = Segmenter()


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("top", ["top"]),
        ("  \n ", []),
        ("Vlot geholpen, maar te duur.", ["Vlot geholpen,", "maar te duur."]),
        ("Gebeld om 14.30 uur. Niemand nam op!!", ["Gebeld om 14.30 uur.", "Niemand nam op!!"]),
        ("regel een\nregel twee", ["regel een", "regel twee"]),
        ("Dat is bijv. zo'n ding, d.w.z. stuk", ["Dat is bijv. zo'n ding, d.w.z. stuk"]),
        ("het lukt maar de helft van de keren", ["het lukt maar de helft van de keren"]),
        ("opzeggen kan alleen met een brief", ["opzeggen kan alleen met een brief"]),
        ("alles goed, alleen de prijs niet", ["alles goed,", "alleen de prijs niet"]),
        ("...", ["..."]),
    ],
)
def test_clauses(text, clauses):
    assert [s.text for s in SEGMENTER.split(text)] == clauses


def test_a_text_without_punctuation_is_cut_at_its_steps():
    text = (
        "ik heb maandag gebeld over mijn ketel die lekt en ze zouden dinsdag komen toen kwam er "
        "niemand en ik heb de hele dag op ze zitten wachten"
    )
    assert len(SEGMENTER.split(text)) > 1


@given(st.text(max_size=300))
def test_offsets_point_into_the_text(text):
    end = 0
    for segment in SEGMENTER.split(text):
        assert text[segment.start : segment.end] == segment.text
        assert segment.text.strip() == segment.text != ""
        assert not text[end : segment.start].strip()
        end = segment.end
    assert not text[end:].strip()


@pytest.mark.parametrize("unit", ["a", "a. ", "!", "(", "😡", "www.", "\u202e"])
def test_long_odd_texts_are_cut_without_loss(unit):
    text = unit * (20_000 // len(unit))
    segments = SEGMENTER.split(text)
    assert sum(s.end - s.start for s in segments) >= len(text.replace(" ", ""))
