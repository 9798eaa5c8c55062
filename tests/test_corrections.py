"""What analysts decided: nothing is lost, and what counts follows from all of it."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from druppel.corpus import GoldAspect
from druppel.corrections import (
    MEASUREMENT,
    PARTS,
    TRAINING,
    Conflict,
    Decision,
    History,
    check_labels,
    counting_decisions,
    labelled_texts,
    now,
    text_key,
)
from druppel.errors import CorpusError, InputError
from druppel.result import POLARITIES, SENTIMENTS

SECRET = "Mijn naam is Geheim en ik woon in de Verborgenlaan"

# Everything that a line of a file, its encoding or a key could stumble over.
ODD = '\n\r\t\v\f\x00\x1c\x1f\x85\u2028\u2029\ufeff\ud83d\ude00\udfff{}[]"\\,:€é👍'
# As a list, because `st.text` would hardly ever draw the odd ones.
TEXTS = st.lists(
    st.one_of(st.characters(exclude_categories=[]), st.sampled_from(ODD)), max_size=20
).map("".join)


def decide(text: str = "Veel te duur.", *labels: str, **more) -> Decision:
    """Decision with labels such as ``eten:neg``, ``eten:neg:evidence`` and ``weg``."""
    parts = [label.split(":") for label in labels]
    aspects = tuple(GoldAspect(*part) for part in parts if len(part) > 1)
    signals = tuple(part[0] for part in parts if len(part) == 1)
    return Decision(text, aspects, more.pop("sentiment", "negatief"), signals, **more)


@st.composite
def decisions(draw) -> Decision:
    """Any decision that the other modules could make."""
    text = draw(TEXTS)
    bounds = st.integers(0, len(text))
    aspects = []
    for _ in range(draw(st.integers(0, 3))):
        start, end = sorted((draw(bounds), draw(bounds)))
        evidence = draw(st.sampled_from([None, text[start:end]]))
        aspects.append(GoldAspect(draw(TEXTS), draw(st.sampled_from(POLARITIES)), evidence))
    return Decision(
        text=text,
        aspects=tuple(aspects),
        sentiment=draw(st.sampled_from([None, *SENTIMENTS])),
        signals=tuple(draw(st.lists(TEXTS, max_size=2))),
        question=draw(st.none() | TEXTS),
        score=draw(st.none() | st.integers(0, 10) | st.floats(0, 10)),
        analyst=draw(TEXTS),
        date=draw(TEXTS),
        source=draw(TEXTS),
        where=draw(TEXTS),
        part=draw(st.sampled_from(PARTS)),
        remark=draw(st.none() | TEXTS),
        settles=draw(st.booleans()),
    )


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "correcties")


def standing(history: History) -> dict[str, Decision]:
    """Decision that counts, by its text."""
    return {decision.text: decision for decision in history.state().decisions}


def disputed(history: History) -> list[set[str]]:
    """Analysts of each conflict."""
    return [{d.analyst for d in conflict.decisions} for conflict in history.state().conflicts]


# --- the file ---------------------------------------------------------------------------------


@given(decision=decisions())
def test_a_decision_survives_its_row(decision):
    row = json.loads(json.dumps(decision.to_dict(), ensure_ascii=False))
    assert Decision.from_dict(row, "3:7") == replace(decision, number="3:7")


@settings(max_examples=40, deadline=None)
@given(made=st.lists(decisions(), max_size=4), at_once=st.booleans())
def test_the_history_gives_back_what_was_put_in(made, at_once, tmp_path_factory):
    history = History(tmp_path_factory.mktemp("correcties"))
    if at_once:
        history.add(made)
    else:
        with closing(history.begin()) as batch:
            for decision in made:
                saved = batch.append(decision)
                assert history.decisions()[0][-1] == saved
    found, withdrawn = history.decisions()
    assert withdrawn == set()
    # Only what an analyst said before is not stored again.
    unique = [d for i, d in enumerate(made) if d not in made[:i]] if at_once else made
    kept = [replace(d, number="") for d in found]
    assert all(decision in unique for decision in kept)
    if not at_once:
        assert kept == made
    assert len({d.number for d in found}) == len(found)
    assert {d.key for d in found} == {d.key for d in made}


def test_a_history_that_is_not_there_yet_is_empty(history):
    assert history.batches() == []
    assert history.decisions() == ([], set())
    state = history.state()
    assert (state.decisions, state.conflicts, state.n_replaced, state.n_withdrawn) == ((), (), 0, 0)
    assert not history.folder.exists()


def test_nothing_new_writes_nothing(history):
    added = history.add([])
    assert (added.batch, added.n_new, added.conflicts) == (None, 0, ())
    assert not history.folder.exists()


def test_batches_are_numbered_and_stay_as_they_are(history):
    numbers = []
    before: dict[Path, bytes] = {}
    for i in range(12):
        numbers.append(history.add([decide(f"tekst {i}")]).batch)
        for path, content in before.items():
            assert path.read_bytes() == content
        before = {path: path.read_bytes() for path in history.batches()}
    assert numbers == list(range(1, 13))
    assert [path.name for path in history.batches()][-2:] == ["0011.jsonl", "0012.jsonl"]
    assert sorted(history.folder.iterdir()) == history.batches()
    assert [d.number for d in history.decisions()[0]] == [f"{i}:1" for i in range(1, 13)]


def test_the_order_of_batches_is_that_of_their_numbers(history):
    history.add([decide("vroeg", analyst="Noor")])
    (history.folder / "0001.jsonl").rename(history.folder / "9999.jsonl")
    assert history.add([decide("vroeg", "eten:neg", analyst="Noor")]).batch == 10_000
    assert [path.name for path in history.batches()] == ["9999.jsonl", "10000.jsonl"]
    assert standing(history)["vroeg"].aspects == (GoldAspect("eten", "neg"),)


@pytest.mark.parametrize(
    "name", ["0001 (kopie).jsonl", "0001-oud.jsonl", "2026-11 correcties.jsonl"]
)
def test_a_copy_of_a_batch_is_no_batch(history, name):
    history.add([decide("tekst", analyst="Noor")])
    (history.folder / name).write_bytes((history.folder / "0001.jsonl").read_bytes())
    history.withdraw("1", "Noor")
    assert [path.name for path in history.batches()] == ["0001.jsonl", "0002.jsonl"]
    assert history.state().decisions == ()


@pytest.mark.parametrize("part", [b'{"text": "half', b"\xff", b"[]", b"{}"])
def test_what_was_being_written_when_the_power_went_never_counted(history, part):
    history.add([decide("heel")])
    with (history.folder / "0001.jsonl").open("ab") as stream:
        stream.write(part)
    assert list(standing(history)) == ["heel"]
    assert history.add([decide("later")]).batch == 2
    assert list(standing(history)) == ["heel", "later"]


def without(name: str) -> dict[str, object]:
    row = decide(SECRET, "eten:neg").to_dict()
    del row[name]
    return row


SOUND = decide(SECRET, "eten:neg:Geheim", "weg", analyst="Noor").to_dict()
DAMAGED = [
    (b"niets", "damaged"),
    (b"", "damaged"),
    (b"[1]", "damaged"),
    (b'"tekst"', "damaged"),
    (b'{"text": "\xff\xfe"}', "damaged"),
    (b'{"a":' * 100_000, "damaged"),
    (b"{}", "holds no decision"),
    *(
        (json.dumps(row).encode(), "holds no decision")
        for row in [
            without("text"),
            without("aspects"),
            without("sentiment"),
            without("signals"),
            {**SOUND, "text": None},
            {**SOUND, "text": ["a"]},
            {**SOUND, "extra": 1},
            {**SOUND, "aspects": [{"leaf": "eten"}]},
            {**SOUND, "aspects": ["eten"]},
            {**SOUND, "aspects": 3},
            {**SOUND, "aspects": [{"leaf": "eten", "polarity": "min", "evidence": None}]},
            {**SOUND, "aspects": [{"leaf": 3, "polarity": "neg", "evidence": None}]},
            {**SOUND, "aspects": [{"leaf": "eten", "polarity": "neg", "evidence": "elders"}]},
            {**SOUND, "aspects": [{"leaf": "eten", "polarity": "neg", "evidence": 4}]},
            {**SOUND, "sentiment": "boos"},
            {**SOUND, "sentiment": []},
            {**SOUND, "signals": [3]},
            {**SOUND, "signals": "weg"},
            {**SOUND, "signals": None},
            {**SOUND, "part": "beide"},
            {**SOUND, "score": "acht"},
            {**SOUND, "question": 3},
            {**SOUND, "remark": []},
            {**SOUND, "analyst": None},
            {**SOUND, "date": 20260101},
            {**SOUND, "settles": "nee"},
        ]
    ),
]


@pytest.mark.parametrize(("line", "words"), DAMAGED)
def test_a_damaged_line_is_named_without_its_text(history, line, words):
    history.add([decide(SECRET, analyst="Noor"), decide(f"{SECRET} 2", analyst="Noor")])
    path = history.folder / "0001.jsonl"
    first, second, _ = path.read_bytes().split(b"\n")
    path.write_bytes(first + b"\n" + line + b"\n" + second + b"\n")
    for use in (
        history.decisions,
        history.state,
        lambda: history.add([decide("anders")]),
        lambda: history.withdraw("1", "Noor"),
    ):
        with pytest.raises(CorpusError) as caught:
            use()
        message = str(caught.value)
        assert message.startswith(f"{path}:2: {words}")
        assert "Restore" in message
        assert "Geheim" not in message
        # What follows from a traceback of the cause may not hold it either.
        assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert [p.name for p in history.batches()] == ["0001.jsonl"]


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    file = tmp_path / "correcties"
    file.write_text("geen map")
    with pytest.raises(InputError, match="cannot write there"):
        History(file).add([decide(SECRET)])
    assert file.read_text() == "geen map"


def test_a_full_disk_leaves_nothing_behind(history, monkeypatch):
    history.add([decide("tekst")])

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="No space left"):
        history.add([decide(SECRET)])
    monkeypatch.undo()
    assert [path.name for path in history.folder.iterdir()] == ["0001.jsonl"]
    assert history.add([decide(SECRET)]).batch == 2


def test_a_disk_without_links_will_do(history, monkeypatch):
    """Memory sticks and many network drives have none."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(Path, "hardlink_to", refuse)
    assert [history.add([decide(f"tekst {i}")]).batch for i in range(3)] == [1, 2, 3]
    assert list(standing(history)) == ["tekst 0", "tekst 1", "tekst 2"]
    assert sorted(history.folder.iterdir()) == history.batches()


# --- several at once --------------------------------------------------------------------------


def _add_many(folder: Path, name: str, count: int, gate) -> None:
    history = History(folder)
    gate.wait(30)
    for i in range(count):
        history.add([decide(f"{name} {i} {part}", analyst=name) for part in "ab"])


def test_processes_that_add_at_once_lose_nothing(history):
    context = multiprocessing.get_context("fork")
    gate = context.Barrier(4)
    names = ["Noor", "Bram", "Sanne", "Youssef"]
    processes = [
        context.Process(target=_add_many, args=(history.folder, name, 8, gate)) for name in names
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    found, _ = history.decisions()
    expected = {f"{name} {i} {part}" for name in names for i in range(8) for part in "ab"}
    assert {d.text for d in found} == expected
    assert len(found) == len(expected)
    assert [path.name for path in history.batches()] == [f"{i:04d}.jsonl" for i in range(1, 33)]
    # A batch is one analyst's, whole.
    for path in history.batches():
        rows = [json.loads(line) for line in path.read_bytes().splitlines()]
        assert len(rows) == 2
        assert len({row["analyst"] for row in rows}) == 1
    assert sorted(history.folder.iterdir()) == history.batches()


def test_two_sessions_do_not_mix(history):
    with closing(history.begin()) as noor, closing(history.begin()) as bram:
        saved = [
            batch.append(decide(f"{name} {i}", analyst=name))
            for i in range(3)
            for batch, name in ((noor, "Noor"), (bram, "Bram"))
        ]
    assert [d.number for d in saved] == ["1:1", "2:1", "1:2", "2:2", "1:3", "2:3"]
    found, _ = history.decisions()
    assert {d.number: d for d in found} == {d.number: d for d in saved}


def test_a_session_saves_each_decision_at_once(history):
    batch = history.begin()
    assert history.batches() == []  # a session without decisions leaves no file
    for i in range(4):
        saved = batch.append(decide(f"tekst {i}", analyst="Noor"))
        assert saved.number == f"1:{i + 1}"
        assert History(history.folder).decisions()[0][-1] == saved
    batch.withdraw("1:2", "Noor")
    assert list(standing(history)) == ["tekst 0", "tekst 2", "tekst 3"]
    assert batch.append(decide("tekst 4", analyst="Noor")).number == "1:6"
    batch.close()
    batch.close()
    assert batch.append(decide("nieuw", analyst="Noor")).number == "2:1"
    batch.close()


def test_a_session_may_begin_by_taking_something_back(history):
    history.add([decide("tekst", analyst="Noor")])
    with closing(history.begin()) as batch:
        batch.withdraw("1:1", "Noor")
        assert history.state().decisions == ()
        assert batch.append(decide("tekst", analyst="Noor")).number == "2:2"
        assert list(standing(history)) == ["tekst"]


_KILLED = """
import sys
from pathlib import Path
from druppel.corrections import Decision, History
batch = History(Path(sys.argv[1])).begin()
for i in range(10**6):
    batch.append(Decision(f"tekst {i}", (), None, (), analyst="Noor"))
    print(i, flush=True)
"""


def test_what_was_saved_survives_a_kill(history):
    process = subprocess.Popen(
        [sys.executable, "-c", _KILLED, str(history.folder)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    told = [process.stdout.readline() for _ in range(25)]
    os.kill(process.pid, signal.SIGKILL)
    told += process.stdout.readlines()
    process.wait(30)
    process.stdout.close()
    n_told = sum(line.endswith(b"\n") for line in told)
    assert n_told >= 25
    found, _ = history.decisions()
    assert [d.text for d in found[:n_told]] == [f"tekst {i}" for i in range(n_told)]
    assert history.add([decide("later")]).batch == 2
    assert "later" in standing(history)


# --- what counts ------------------------------------------------------------------------------


def test_analysts_who_differ_are_in_conflict_until_one_settles_it(history):
    assert history.add([decide("tekst", "eten:neg", analyst="Noor")]).conflicts == ()
    added = history.add([decide("tekst", "eten:pos", analyst="Bram")])
    assert (added.n_new, added.n_agreed, added.n_changed, added.n_same) == (0, 0, 0, 0)
    [conflict] = added.conflicts
    assert isinstance(conflict, Conflict)
    assert conflict.key == text_key("tekst")
    assert [d.analyst for d in conflict.decisions] == ["Noor", "Bram"]
    assert history.state().decisions == ()
    # Who adds nothing new is told of it too.
    assert history.add([decide("tekst", "eten:neg", analyst="Noor")]).conflicts == (conflict,)
    settled = history.add([decide("tekst", "eten:pos", analyst="Sanne", settles=True)])
    assert settled.conflicts == ()
    state = history.state()
    assert [d.analyst for d in state.decisions] == ["Sanne"]
    assert state.by_key[text_key("tekst")].aspects == (GoldAspect("eten", "pos"),)
    assert (state.conflicts, state.n_replaced) == ((), 2)
    # Who comes later and differs opens it anew; the earlier ones do not come back.
    dissent = history.add([decide("tekst", "eten:neu", analyst="Youssef")])
    assert [d.analyst for d in dissent.conflicts[0].decisions] == ["Sanne", "Youssef"]
    assert history.state().decisions == ()
    again = decide("tekst", "eten:neu", analyst="Sanne", settles=True)
    assert history.add([again]).conflicts == ()
    assert standing(history)["tekst"].aspects == (GoldAspect("eten", "neu"),)


@pytest.mark.parametrize("who", ["Noor", "Bram"])
def test_a_party_may_settle(history, who):
    history.add([decide("tekst", "eten:neg", analyst="Noor")])
    history.add([decide("tekst", "eten:pos", analyst="Bram")])
    history.add([decide("tekst", "eten:pos", analyst=who, settles=True)])
    assert disputed(history) == []
    assert standing(history)["tekst"].analyst == who


def test_to_settle_by_repeating_oneself_is_stored(history):
    history.add([decide("tekst", "eten:neg", analyst="Noor")])
    history.add([decide("tekst", "eten:pos", analyst="Bram")])
    verdict = decide("tekst", "eten:neg", analyst="Noor", settles=True)
    assert history.add([verdict]).batch == 3
    assert standing(history)["tekst"].aspects == (GoldAspect("eten", "neg"),)
    # The same sheet once more is nothing new,
    added = history.add([verdict])
    assert (added.batch, added.n_same, added.n_changed) == (None, 1, 0)
    # and neither is a sheet from before, which opens nothing anew.
    added = history.add([decide("tekst", "eten:pos", analyst="Bram")])
    assert (added.batch, added.n_same, added.conflicts) == (None, 1, ())
    # But after another's dissent it settles once more.
    assert history.add([decide("tekst", "eten:neu", analyst="Bram")]).conflicts
    added = history.add([verdict])
    assert (added.batch, added.conflicts) == (5, ())
    assert standing(history)["tekst"].aspects == (GoldAspect("eten", "neg"),)


@pytest.mark.parametrize(
    ("one", "other", "agree"),
    [
        (["eten:neg"], ["eten:neg:tekst"], True),  # where it stands is no difference
        (["eten:neg", "in_de_rij:neg"], ["in_de_rij:neg", "eten:neg"], True),
        (["weg", "eten:neg"], ["eten:neg", "weg"], True),
        (["eten:neg"], ["eten:pos"], False),
        (["eten:neg"], [], False),
        (["eten:neg"], ["eten:neg", "in_de_rij:neg"], False),
        (["weg"], [], False),
        ([], [], True),
    ],
)
def test_what_is_agreement(history, one, other, agree):
    history.add([decide("tekst", *one, analyst="Noor")])
    added = history.add([decide("tekst", *other, analyst="Bram")])
    assert added.n_agreed == agree
    assert len(added.conflicts) == (not agree)
    assert len(history.state().decisions) == agree
    assert history.state().n_replaced == 0


def test_a_sentiment_differs_too(history):
    history.add([decide("tekst", analyst="Noor"), decide("ander", analyst="Noor")])
    added = history.add(
        [
            decide("tekst", sentiment="positief", analyst="Bram"),
            decide("ander", sentiment=None, analyst="Bram"),
        ]
    )
    assert {c.key for c in added.conflicts} == {text_key("tekst"), text_key("ander")}


def test_an_analyst_comes_back_on_a_decision(history):
    history.add([decide("tekst", "eten:neg", analyst="Noor")])
    history.add([decide("tekst", "eten:pos", analyst="Bram")])
    added = history.add([decide("tekst", "eten:pos", analyst="Noor")])
    assert (added.n_changed, added.n_new, added.n_agreed, added.conflicts) == (1, 0, 0, ())
    state = history.state()
    assert (len(state.decisions), state.n_replaced) == (1, 1)
    assert state.decisions[0].aspects == (GoldAspect("eten", "pos"),)


def test_of_those_who_agree_the_latest_with_most_evidence_counts(history):
    history.add([decide("lekkere soep", "eten:pos:soep", analyst="Noor")])
    history.add([decide("lekkere soep", "eten:pos", analyst="Bram")])
    assert standing(history)["lekkere soep"].analyst == "Noor"
    history.add([decide("lekkere soep", "eten:pos:lekkere soep", analyst="Sanne")])
    assert standing(history)["lekkere soep"].analyst == "Sanne"
    # Noor mends her evidence: hers is the latest now, though she was first.
    history.add([decide("lekkere soep", "eten:pos:lekkere", analyst="Noor")])
    assert standing(history)["lekkere soep"].aspects[0].evidence == "lekkere"


def test_the_same_decision_is_stored_once(history):
    made = [
        decide("tekst", "eten:neg:tekst", "weg", analyst="Noor", remark="twijfel"),
        decide("ander", analyst="Noor", sentiment=None),
    ]
    assert history.add([*made, made[0]]).n_same == 1
    later = [replace(d, date=now(), where="Beoordelen!9", part=MEASUREMENT) for d in made]
    added = history.add(later)
    assert (added.batch, added.n_same, added.n_new, added.n_changed) == (None, 2, 0, 0)
    assert len(history.batches()) == 1
    for change, changed in (
        ({"remark": None}, False),
        ({"aspects": (GoldAspect("eten", "neg"),)}, False),
        ({"signals": ()}, True),
        ({"sentiment": "gemengd"}, True),
    ):
        added = history.add([replace(made[0], **change)])
        assert (added.n_same, added.n_changed, added.n_agreed) == (0, changed, not changed)
        added = history.add([made[0]])  # and back: it counts again
        assert (added.n_same, added.n_changed) == (0, changed)
        assert standing(history)["tekst"].labels == made[0].labels


def test_the_same_from_another_sheet_confirms(history):
    made = decide("tekst", "eten:neg", analyst="Noor", source="een.xlsx")
    history.add([made])
    added = history.add([replace(made, source="twee.xlsx")])
    assert (added.batch, added.n_agreed, added.n_same, added.n_changed) == (2, 1, 0, 0)
    assert history.add([replace(made, source="twee.xlsx")]).n_same == 1
    state = history.state()
    assert (len(state.decisions), state.n_replaced) == (1, 1)


def test_white_space_makes_no_other_text_and_a_question_does(history):
    history.add([decide("Te  duur!\n", analyst="Noor")])
    assert history.add([decide(" Te duur!", analyst="Noor")]).n_same == 1
    added = history.add([decide("Te duur!", "eten:neg", analyst="Noor", question="Wat kan beter?")])
    assert added.n_new == 1
    assert len(history.state().decisions) == 2


@given(text=TEXTS, question=TEXTS, space=st.sampled_from([" ", "\n", "\u2028", "\x1f", "\x00"]))
def test_a_key_does_not_mix_text_and_question(text, question, space):
    assert text_key(text, "") == text_key(text, None) == text_key(f" {text}\n")
    if question.split():
        assert text_key(text, question) != text_key(f"{text}{space}{question}")
        assert text_key(text, question) != text_key(text)


@pytest.mark.parametrize(("first", "second"), [PARTS, PARTS[::-1]])
def test_a_text_stays_in_the_part_of_its_first_decision(history, first, second):
    history.add([decide("tekst", analyst="Noor", part=first)])
    history.add([decide("tekst", "eten:neg", analyst="Noor", part=second)])
    history.add([decide("tekst", "eten:neg:tekst", analyst="Bram", part=second)])
    found = standing(history)["tekst"]
    assert (found.part, found.analyst) == (first, "Bram")
    history.add([decide("tekst", "eten:pos", analyst="Sanne", part=second, settles=True)])
    assert standing(history)["tekst"].part == first
    assert {TRAINING, MEASUREMENT} == {first, second}


def test_the_order_is_that_in_which_texts_were_first_judged(history):
    for text in ("b", "a", "c", "a", "b"):
        history.add([decide(text, f"eten:{random.choice(POLARITIES)}", analyst="Noor")])
    assert list(standing(history)) == ["b", "a", "c"]


# --- taking back ------------------------------------------------------------------------------


def test_a_withdrawn_decision_does_not_count_and_the_one_before_does(history):
    history.add([decide("tekst", "eten:neg", analyst="Noor")])
    history.add([decide("tekst", "eten:pos", analyst="Noor"), decide("ander", analyst="Noor")])
    assert history.withdraw("2:1", "Noor") == 1
    assert standing(history)["tekst"].aspects == (GoldAspect("eten", "neg"),)
    state = history.state()
    assert (len(state.decisions), state.n_withdrawn, state.n_replaced) == (2, 1, 0)
    with pytest.raises(InputError, match=r"2:1 was withdrawn before"):
        history.withdraw("2:1", "Bram")
    # The rest of its batch goes with the batch.
    assert history.withdraw("2", "Noor") == 1
    assert list(standing(history)) == ["tekst"]
    with pytest.raises(InputError, match=r": 2 was withdrawn before"):
        history.withdraw("2", "Noor")
    assert history.withdraw("1", "Noor") == 1
    assert history.state().decisions == ()
    assert history.state().n_withdrawn == 3


@pytest.mark.parametrize(
    "number", ["9", "1:9", "", "0", "1:", ":1", "1:0", "-1", "een", "2", "2:1"]
)
def test_a_number_that_is_not_there_is_told(history, number):
    history.add([decide(SECRET, analyst="Noor"), decide("ander", analyst="Noor")])
    history.withdraw("1:2", "Noor")  # which is batch 2, and holds no decision
    with pytest.raises(InputError, match="does not exist") as caught:
        history.withdraw(number, "Noor")
    assert "Geheim" not in str(caught.value)
    assert len(history.batches()) == 2


def test_to_withdraw_ends_a_conflict_and_undoes_a_settlement(history):
    history.add([decide("tekst", "eten:neg", analyst="Noor")])
    history.add([decide("tekst", "eten:pos", analyst="Bram")])
    history.withdraw("2", "Bram")
    assert disputed(history) == []
    history.add([decide("tekst", "eten:pos", analyst="Bram")])
    history.add([decide("tekst", "eten:neg", analyst="Sanne", settles=True)])
    assert disputed(history) == []
    history.withdraw("5", "Sanne")
    assert disputed(history) == [{"Noor", "Bram"}]


def test_what_was_withdrawn_can_be_decided_anew(history):
    history.add([decide("tekst", "eten:neg", analyst="Noor")])
    history.withdraw("1", "Noor")
    added = history.add([decide("tekst", "eten:neg", analyst="Noor")])
    assert (added.batch, added.n_new) == (3, 1)
    assert standing(history)["tekst"].number == "3:1"


def test_what_is_saved_after_its_batch_was_withdrawn_counts(history):
    """The page was still open when the batch was withdrawn in the terminal."""
    with closing(history.begin()) as batch:
        batch.append(decide("eerst", analyst="Noor"))
        history.withdraw("1", "Noor")
        batch.append(decide("daarna", analyst="Noor"))
    assert list(standing(history)) == ["daarna"]
    assert history.withdraw("1", "Noor") == 1
    assert history.state().decisions == ()


def test_a_line_that_withdraws_a_whole_batch_counts_too(history):
    history.add([decide("tekst", analyst="Noor"), decide("ander", analyst="Noor")])
    with closing(history.begin()) as batch:
        batch.withdraw("1", "Noor")
    assert history.state().decisions == ()
    assert history.state().n_withdrawn == 2


# --- whatever happens -------------------------------------------------------------------------

_ANALYSTS = ("Noor", "Bram", "Sanne")
_STEPS = st.one_of(
    st.tuples(
        st.just("add"),
        st.lists(
            st.tuples(
                st.sampled_from("ab"),
                st.sampled_from(POLARITIES),
                st.sampled_from(_ANALYSTS),
                st.sampled_from(PARTS),
                st.integers(0, 3),
            ),
            min_size=1,
            max_size=3,
        ),
    ),
    st.tuples(st.just("withdraw"), st.integers(0, 30)),
)


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(_STEPS, max_size=10))
def test_whatever_happens_a_text_counts_once_or_is_in_conflict(steps, tmp_path_factory):
    history = History(tmp_path_factory.mktemp("correcties"))
    for kind, what in steps:
        if kind == "add":
            before = history.decisions()[0]
            made = [
                decide(text, f"eten:{polarity}", analyst=analyst, part=part, settles=not settles)
                for text, polarity, analyst, part, settles in what
            ]
            added = history.add(made)
            after = history.decisions()[0]
            assert after[: len(before)] == before  # append-only
            assert len(after) - len(before) == len(made) - added.n_same
            again = history.add(made[-1:])
            assert (again.batch, again.n_same) == (None, 1)
        elif found := history.decisions()[0]:
            chosen = found[what % len(found)].number
            number = chosen if what % 3 else chosen.partition(":")[0]
            gone = history.decisions()[1]
            hit = {d.number for d in found if number in (d.number, d.number.partition(":")[0])}
            if hit - gone:
                assert history.withdraw(number, "Noor") == len(hit - gone)
            else:
                with pytest.raises(InputError, match="was withdrawn before"):
                    history.withdraw(number, "Noor")
            assert history.decisions() == (found, gone | hit)
        state = history.state()
        assert state == History(history.folder).state()
        made, withdrawn = history.decisions()
        left = [d for d in made if d.number not in withdrawn]
        settled = [d.key for d in state.decisions]
        conflicts = [c.key for c in state.conflicts]
        assert len({*settled, *conflicts}) == len(settled) + len(conflicts)
        assert {*settled, *conflicts} == {d.key for d in left}
        for conflict in state.conflicts:
            assert len({d.labels for d in conflict.decisions}) > 1
            analysts = [d.analyst for d in conflict.decisions]
            assert len(set(analysts)) == len(analysts)
        for decision in state.decisions:
            about = [d for d in left if d.key == decision.key]
            assert decision.part == about[0].part
            assert decision in [replace(d, part=decision.part) for d in counting_decisions(about)]
            # The last word about a text always counts, unless it opened a conflict.
            assert about[-1].labels == decision.labels
        n_counting = len(state.decisions) + state.n_replaced + state.n_withdrawn
        n_counting += sum(len(c.decisions) for c in state.conflicts)
        assert n_counting <= len(made)


# --- as labelled texts ------------------------------------------------------------------------


def test_decisions_as_labelled_texts(tiny_taxonomy):
    decision = decide(
        "De soep was koud",
        "eten:neg:soep",
        "weg",
        question="En?",
        score=3.0,
        source="sheet.xlsx",
        where="Beoordelen!4",
        sentiment=None,
        number="2:1",
    )
    [text], problems = labelled_texts([decision], tiny_taxonomy)
    assert problems == []
    assert (text.id, text.text) == (decision.key, decision.text)
    assert text.aspects == (GoldAspect("eten", "neg", "soep"),)
    assert (text.signals, text.sentiment) == (("weg",), None)
    assert (text.question, text.score, text.author) == ("En?", 3.0, None)
    assert text.where == "sheet.xlsx Beoordelen!4"


@pytest.mark.parametrize(
    ("label", "told"),
    [
        ("etten:neg", "unknown label 'etten'; did you mean 'eten'?"),
        ("wachten:neg", "unknown label 'wachten'"),  # a category is no leaf
        ("wegg", "unknown label 'wegg'; did you mean 'weg'?"),
        ("eten", "unknown label 'eten'"),  # and a leaf is no signal
        ("weg:neg", "unknown label 'weg'"),
        ("xyzzy:neg", "unknown label 'xyzzy'."),
    ],
)
def test_an_unknown_label_names_the_decision(tiny_taxonomy, label, told, tmp_path):
    bad = decide(SECRET, "in_de_rij:neg", label, source="a.xlsx", where="B!3", number="4:2")
    good = decide("ander", "eten:neg")
    texts, problems = labelled_texts([bad, good], tiny_taxonomy)
    assert [text.text for text in texts] == ["ander"]
    [problem] = problems
    assert problem.startswith("decision 4:2 (a.xlsx B!3)")
    assert told in problem
    assert "Geheim" not in problem
    with pytest.raises(CorpusError, match="druppel taxonomy migrate") as caught:
        check_labels(problems, tmp_path)
    assert problem in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path}: 1 decisions")
    check_labels([], tmp_path)


def test_a_date_is_in_utc_to_the_second():
    assert now()[10] == "T"
    assert now().endswith("+00:00")
    assert len(now()) == 25
    assert abs(datetime.now(UTC) - datetime.fromisoformat(now())) < timedelta(seconds=5)
