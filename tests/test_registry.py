from __future__ import annotations

import errno
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from druppel import registry as module
from druppel.errors import ModelError
from druppel.registry import (
    HISTORY,
    POINTER,
    PROMOTE,
    ROLLBACK,
    Event,
    Registry,
    compare_labels,
    link_identical,
    resolve_model,
)
from druppel.store import MANIFEST, load_model
from druppel.taxonomy import Taxonomy

BY = {"by": "anna", "reason": "probeersel"}
posix = pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")


class Killed(BaseException):
    """Stands for a process that ends here."""


def replay(events: list[Event]) -> tuple[int | None, list[int]]:
    """Work out the current version and the way back from the history alone."""
    current, before = None, []
    for event in events:
        if event.action == PROMOTE:
            assert event.previous == current
            before += [] if current is None else [current]
        elif event.action == ROLLBACK:
            assert (event.previous, event.number) == (current, before.pop())
        else:
            continue
        current = event.number
    return current, before


def assert_consistent(registry: Registry) -> None:
    said = json.loads((registry.folder / POINTER).read_bytes())
    assert replay(registry.history()) == (said["number"], said["before"])
    assert registry.current().number == said["number"]


def fill(folder: Path, source: Path, count: int) -> Registry:
    registry = Registry(folder)
    for _ in range(count):
        shutil.copytree(source, registry.reserve())
    return registry


@pytest.fixture
def source(tiny_trained):
    return tiny_trained.folder


@pytest.fixture
def registry(source, tmp_path):
    """Versions 0, 1 and 2, none of them current."""
    return fill(tmp_path / "modellen", source, 3)


def damage(version: Path) -> None:
    path = version / "weights.npz"
    path.write_bytes(path.read_bytes()[:-1] + b"?")


# --- versions -----------------------------------------------------------------------------


def test_a_registry_that_is_not_there_is_empty(tmp_path):
    registry = Registry(tmp_path / "modellen")
    assert registry.versions() == []
    assert registry.history() == []
    assert registry.next_number() == 0
    assert registry.previous() is None
    with pytest.raises(ModelError, match=r"no current version.*train one"):
        registry.current()
    assert not registry.folder.exists()


def test_admitting_promoting_and_going_back(source, tmp_path):
    registry = Registry(tmp_path / "modellen")
    first = registry.admit(source, "meegeleverd", by="anna")
    second = registry.admit(source, "van een collega", by="bram")
    assert (first.number, first.title, first.note) == (0, "klein 0.1", "meegeleverd")
    assert first.sound
    assert not first.current
    registry.promote(0, by="anna", reason="begin")
    assert registry.promote(1, by="bram", reason="beter").current
    assert registry.previous() == 0
    assert registry.rollback(by="anna", reason="viel tegen").number == 0
    assert [v.to_dict() for v in registry.versions()] == [
        {
            **{"number": 0, "folder": str(first.folder), "title": "klein 0.1"},
            **{"created": first.created, "note": "meegeleverd", "current": True},
            **{"promoted": 1, "problem": None, "sound": True},
        },
        {
            **{"number": 1, "folder": str(second.folder), "title": "klein 0.1"},
            **{"created": second.created, "note": "van een collega", "current": False},
            **{"promoted": 1, "problem": None, "sound": True},
        },
    ]
    told = [(e.action, e.number, e.previous, e.by, e.reason) for e in registry.history()]
    assert told == [
        ("admit", 0, None, "anna", "meegeleverd"),
        ("admit", 1, None, "bram", "van een collega"),
        ("promote", 0, None, "anna", "begin"),
        ("promote", 1, 0, "bram", "beter"),
        ("rollback", 0, 1, "anna", "viel tegen"),
    ]
    lines = (registry.folder / HISTORY).read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [e.to_dict() for e in registry.history()]


def test_a_second_rollback_goes_one_further_back(registry):
    for number in (0, 1, 2):
        registry.promote(number, **BY)
    assert registry.rollback(**BY).number == 1
    assert registry.rollback(**BY).number == 0
    with pytest.raises(ModelError, match=r"no earlier version.*sound versions \(1, 2\)"):
        registry.rollback(**BY)
    registry.promote(2, **BY)
    assert registry.rollback(**BY).number == 0
    assert_consistent(registry)


def test_promoting_the_current_version_is_no_event(registry):
    registry.promote(1, **BY)
    before = registry.history()
    assert registry.promote(1, by="bram", reason="nog eens").number == 1
    assert registry.history() == before
    assert registry.previous() is None


def test_foreign_entries_are_ignored(registry):
    for name in (".3.staging", ".nieuw.abc", "03", "-1", "oud", "٤"):
        (registry.folder / name).mkdir()
    (registry.folder / ".DS_Store").write_bytes(b"")
    (registry.folder / "7").write_text("geen map")
    assert [v.number for v in registry.versions()] == [0, 1, 2]
    assert registry.next_number() == 3


def test_a_folder_put_there_by_hand_has_the_date_of_its_manifest(registry):
    os.utime(registry.folder / "1" / MANIFEST, (0, 0))
    version = registry.version(1)
    assert version.created.startswith("1970-01-01T00:00:00+")
    assert version.note == ""


def test_odd_names_and_reasons_are_kept(registry):
    reason = 'een "regel"\nnog een \u2028 \ud800 é'
    registry.promote(0, by="zoë", reason=reason)
    registry.promote(1, **BY)
    assert [e.reason for e in registry.history()] == [reason, "probeersel"]


# --- numbers ------------------------------------------------------------------------------


def test_a_number_is_given_out_once(registry):
    assert registry.next_number() == 3
    assert [registry.reserve().name for _ in range(2)] == ["3", "4"]
    assert registry.next_number() == 5
    shutil.rmtree(registry.folder / "2")
    (registry.folder / ".volgnummer").unlink()
    registry.promote(1, **BY)
    assert registry.next_number() == 2  # nothing was ever told of 2
    (registry.folder / ".volgnummer").write_text("onzin")
    assert registry.reserve().name == "2"


def test_a_deleted_version_leaves_its_number_to_nobody(source, tmp_path):
    registry = Registry(tmp_path / "modellen")
    registry.admit(source, "een")
    registry.admit(source, "twee")
    shutil.rmtree(registry.folder / "1")
    (registry.folder / ".volgnummer").unlink()
    assert registry.admit(source, "drie").number == 2


def test_registering_notes_where_a_version_comes_from(registry, source):
    folder = registry.reserve()
    shutil.copytree(source, folder)
    version = registry.register(folder, by="anna", note="50 correcties")
    assert (version.number, version.note, version.current) == (3, "50 correcties", False)
    assert registry.history()[-1].action == "train"


def test_only_a_sound_version_of_this_registry_is_registered(registry, source):
    with pytest.raises(ModelError, match="is no version of"):
        registry.register(source, by="anna")
    with pytest.raises(ModelError, match="no version 3"):
        registry.register(registry.reserve(), by="anna")
    damage(registry.folder / "2")
    with pytest.raises(ModelError, match=r"weights\.npz is damaged"):
        registry.register(registry.folder / "2", by="anna")


# --- what is damaged ----------------------------------------------------------------------


def test_every_damaged_file_makes_a_version_unsound(registry):
    folder = registry.folder / "1"
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        path.write_bytes(b"?" + content[1:])
        problem = registry.version(1).problem
        assert problem
        assert problem.startswith(path.name)
        path.unlink()
        assert registry.version(1).problem == f"{path.name} is missing"
        path.write_bytes(content)
    assert registry.version(1).sound


def test_an_unsound_version_is_not_promoted(registry):
    registry.promote(0, **BY)
    damage(registry.folder / "1")
    with pytest.raises(ModelError, match=r"weights\.npz is damaged.*sound versions \(0, 2\)"):
        registry.promote(1, **BY)
    with pytest.raises(ModelError, match=r"no version 9\. Versions there: 0, 1, 2"):
        registry.promote(9, **BY)
    assert registry.current().number == 0
    assert len(registry.history()) == 1


def test_a_manifest_that_does_not_fit_its_files_is_not_promoted(registry):
    path = registry.folder / "1" / MANIFEST
    manifest = json.loads(path.read_bytes())
    path.write_text(json.dumps({**manifest, "labels": manifest["labels"][1:]}))
    with pytest.raises(ModelError, match="labels do not match"):
        registry.promote(1, **BY)


def test_the_advice_for_a_damaged_current_version_works(registry):
    for number in (0, 1):
        registry.promote(number, **BY)
    damage(registry.folder / "1")
    with pytest.raises(
        ModelError, match=r"Go back to version 0 with 'druppel rollback'.*\(0, 2\).*promote 2"
    ):
        registry.current()
    assert [v.current for v in registry.versions()] == [False, True, False]
    registry.rollback(**BY)
    assert registry.current().number == 0
    shutil.rmtree(registry.folder / "0")
    with pytest.raises(ModelError, match=r"names version 0, which is missing.*promote 2"):
        registry.current()
    registry.promote(2, **BY)
    assert_consistent(registry)


def test_rollback_refuses_an_unsound_version(registry):
    for number in (0, 1):
        registry.promote(number, **BY)
    damage(registry.folder / "0")
    with pytest.raises(ModelError, match=r"not sound: weights\.npz.*\(2\)"):
        registry.rollback(**BY)
    shutil.rmtree(registry.folder / "0")
    with pytest.raises(ModelError, match="not sound: missing"):
        registry.rollback(**BY)
    assert registry.current().number == 1


@pytest.mark.parametrize(
    "content",
    [b"", b"1", b"{", b"[]", b'{"number": 1}', b"\xff", b"[" * 100_000, None, "other", "before"],
)
def test_a_damaged_pointer_is_told_and_mended_by_promoting(registry, content):
    for number in (0, 1):
        registry.promote(number, **BY)
    path = registry.folder / POINTER
    said = json.loads(path.read_bytes())
    if content is None:
        content = json.dumps({**said, "event": None}).encode()
    elif content == "other":  # a number that the event does not tell of
        content = json.dumps({**said, "number": 0}).encode()
    elif content == "before":
        content = json.dumps({**said, "before": ["0"]}).encode()
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"names no version\. The last .* is 1\..*: 0, 1, 2"):
        registry.current()
    with pytest.raises(ModelError, match="names no version"):
        registry.rollback(**BY)
    assert not any(v.current for v in registry.versions())
    assert registry.promote(1, **BY).number == 1
    assert registry.rollback(**BY).number == 0  # the way back is known from the history


def test_lines_of_the_history_that_are_no_event_cost_nothing_else(registry):
    registry.promote(0, **BY)
    with (registry.folder / HISTORY).open("ab") as stream:
        stream.write(b'\n{"action": "promote"}\n[1]\n\xff\n' + b"[" * 100_000)
    registry.promote(1, **BY)
    assert [e.number for e in registry.history()] == [0, 1]
    assert_consistent(registry)


# --- admitting ----------------------------------------------------------------------------


def test_only_what_the_manifest_lists_is_copied(source, tmp_path):
    model = shutil.copytree(source, tmp_path / "model")
    (model / "stiekem.py").write_text("raise SystemExit")
    (model / "__pycache__").mkdir()
    version = Registry(tmp_path / "modellen").admit(model, "")
    assert {p.name for p in version.folder.iterdir()} == {p.name for p in source.iterdir()}
    assert version.folder.stat().st_mode & 0o777 == 0o755 or sys.platform == "win32"


def _edit(**changes):
    def edit(folder):
        path = folder / MANIFEST
        path.write_text(json.dumps({**json.loads(path.read_bytes()), **changes}))

    return edit


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (damage, r"weights\.npz.*damaged"),
        (lambda folder: (folder / "words.txt").unlink(), r"words\.txt: cannot be copied"),
        (lambda folder: (folder / MANIFEST).unlink(), r"no model there"),
        (lambda folder: (folder / MANIFEST).write_text("{"), r"model\.json is damaged"),
        (_edit(format=1), "model format 1; .* reads format 2"),
        (_edit(sha256={"../buiten.txt": "0"}), "outside the model folder"),
        (_edit(sha256={"..\\buiten.txt": "0"}), "outside the model folder"),
        (_edit(sha256={"a.txt": 3}), r"model\.json is damaged"),
        (_edit(sha256={}), "do not fit together"),
        (_edit(profiles={}), "not those of a model"),
    ],
)
def test_a_model_that_is_not_right_is_not_admitted(source, tmp_path, spoil, words):
    model = shutil.copytree(source, tmp_path / "model")
    spoil(model)
    registry = Registry(tmp_path / "modellen")
    with pytest.raises(ModelError, match=words) as raised:
        registry.admit(model, "")
    assert str(model) in str(raised.value)
    assert registry.versions() == []
    assert not registry.folder.exists() or not any(
        p.name.startswith(".nieuw") for p in registry.folder.iterdir()
    )


@posix
def test_a_pipe_in_a_model_folder_does_not_hang(source, tmp_path):
    model = shutil.copytree(source, tmp_path / "model")
    (model / "words.txt").unlink()
    os.mkfifo(model / "words.txt")
    with pytest.raises(ModelError, match=r"words\.txt: cannot be copied"):
        Registry(tmp_path / "modellen").admit(model, "")


def test_every_profile_must_open(tiny_encoded, tmp_path):
    model = shutil.copytree(tiny_encoded.folder, tmp_path / "model")
    registry = Registry(tmp_path / "modellen")
    assert registry.admit(model, "").sound
    (model / "encoder.onnx").write_bytes(b"geen netwerk")
    with pytest.raises(ModelError, match=r"encoder\.onnx"):
        registry.admit(model, "")


def test_a_model_is_admitted_from_another_project(registry, tmp_path):
    registry.promote(1, **BY)
    other = Registry(tmp_path / "ander" / "modellen")
    assert other.admit(tmp_path, "van het andere team").number == 0


def test_label_differences(tiny_taxonomy):
    changed = tiny_taxonomy.source.replace('"op_antwoord"', '"op_reactie"')
    changed = changed.replace(
        'slug = "in_de_rij"\nparent = "wachten"', 'slug = "in_de_rij"\nparent = "smaak"'
    )
    found = compare_labels(tiny_taxonomy, Taxonomy.parse(changed))
    assert found.to_dict() == {
        "added": ("op_reactie",),
        "removed": ("op_antwoord",),
        "moved": (("in_de_rij", "wachten", "smaak"),),
    }
    assert found
    assert not compare_labels(tiny_taxonomy, tiny_taxonomy)


def test_the_taxonomy_of_a_version(registry, tiny_taxonomy):
    assert registry.taxonomy(1).source == tiny_taxonomy.source


# --- which model a path means -------------------------------------------------------------


def test_a_path_stands_for_a_model_a_registry_or_a_project(registry, source):
    registry.promote(1, **BY)
    assert resolve_model(source) == source
    assert resolve_model(registry.folder) == registry.folder / "1"
    assert resolve_model(str(registry.folder.parent)) == registry.folder / "1"
    assert load_model(resolve_model(registry.folder)).title == "klein 0.1"


def test_a_path_that_stands_for_nothing(tmp_path, registry):
    (tmp_path / "iets" / "2023").mkdir(parents=True)
    for path in (tmp_path / "iets", tmp_path / "niets"):
        with pytest.raises(ModelError, match=r"Looked for model\.json.*huidig.*modellen/huidig"):
            resolve_model(path)
    with pytest.raises(ModelError, match=r"no current version.*druppel promote 2"):
        resolve_model(tmp_path)


# --- disk ---------------------------------------------------------------------------------


def test_identical_files_are_kept_once(registry):
    one, two = registry.folder / "0", registry.folder / "1"
    assert link_identical(two, [one]) == 0  # too small to be worth it
    (two / "config.toml").write_text("anders")
    saved = link_identical(two, [one], smallest=0)
    same = [p for p in one.iterdir() if p.samefile(two / p.name)]
    assert saved == sum(p.stat().st_size for p in same) > 0
    assert {p.name for p in one.iterdir()} - {p.name for p in same} == {MANIFEST, "config.toml"}
    assert link_identical(two, [one], smallest=0) == 0
    assert registry.version(0).sound
    assert not registry.version(1).sound  # for its config was changed above
    shutil.rmtree(one)
    assert load_model(registry.folder / "2").title == "klein 0.1"
    assert (two / "weights.npz").is_file()


def test_a_damaged_file_is_not_spread(registry):
    one, two = registry.folder / "0", registry.folder / "1"
    damage(one)
    link_identical(two, [one], smallest=1)
    assert registry.version(1).sound


def test_without_links_the_copies_stay(registry, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    assert link_identical(registry.folder / "1", [registry.folder / "0"], smallest=1) == 0
    assert registry.version(1).sound
    assert not list((registry.folder / "1").glob(".*"))


def test_an_encoder_is_shared_between_versions(tiny_encoded, tmp_path):
    registry = Registry(tmp_path / "modellen")
    first = registry.admit(tiny_encoded.folder, "")
    second = registry.admit(tiny_encoded.folder, "")
    folder = shutil.copytree(tiny_encoded.folder, registry.reserve())
    registry.register(folder, by="anna")
    assert (first.folder / "encoder.onnx").samefile(second.folder / "encoder.onnx")
    assert (first.folder / "encoder.onnx").samefile(folder / "encoder.onnx")
    assert not (first.folder / "README.md").samefile(folder / "README.md")


# --- crashes and crowds -------------------------------------------------------------------


def _die(*_args, **_kwargs):
    raise Killed


def _die_half_way(self, event):
    with (self.folder / HISTORY).open("ab") as stream:
        stream.write(json.dumps(event.to_dict())[:40].encode())
    raise Killed


@pytest.mark.parametrize(
    ("where", "name", "crash", "moved"),
    [
        (module, "atomic", _die, False),
        (module, "_sync_folder", _die, True),
        (Registry, "_append", _die, True),
        (Registry, "_append", _die_half_way, True),
    ],
)
@pytest.mark.parametrize("action", [PROMOTE, ROLLBACK])
def test_a_crash_at_any_point_leaves_one_truth(
    registry, monkeypatch, where, name, crash, moved, action
):
    for number in (0, 1):
        registry.promote(number, **BY)
    wanted = 2 if action == PROMOTE else 0
    with monkeypatch.context() as patch:
        patch.setattr(where, name, crash)
        with pytest.raises(Killed):
            registry.promote(2, **BY) if action == PROMOTE else registry.rollback(**BY)
    assert registry.current().number == (wanted if moved else 1)
    assert len(registry.history()) == (3 if moved else 2)
    assert_consistent(registry)
    registry.reserve()  # any change mends the history
    assert_consistent(registry)
    lines = (registry.folder / HISTORY).read_bytes().split(b"\n")
    assert json.loads(lines[-2])["number"] == registry.current().number
    registry.promote(2 if registry.current().number != 2 else 1, **BY)
    assert_consistent(registry)


def test_a_full_disk_does_not_undo_what_is_done(registry, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    registry.promote(0, **BY)
    with monkeypatch.context() as patch:
        patch.setattr(Registry, "_append", full)
        registry.promote(1, **BY)
    assert_consistent(registry)
    with monkeypatch.context() as patch:
        patch.setattr(module, "atomic", full)
        with pytest.raises(OSError, match="No space left"):
            registry.promote(2, **BY)
    assert registry.current().number == 1
    assert_consistent(registry)


@posix
def test_waiting_for_another_process_ends(registry, monkeypatch):
    monkeypatch.setattr(module, "_PATIENCE", 0.05)
    with registry._locked(), pytest.raises(ModelError, match="another druppel is changing it"):
        registry.reserve()
    registry.reserve()


def test_reading_takes_no_lock(registry):
    registry.promote(0, **BY)
    with registry._locked():
        assert registry.current().number == 0
        assert len(registry.versions()) == 3
        assert len(registry.history()) == 1
        assert resolve_model(registry.folder) == registry.folder / "0"


def test_a_folder_that_cannot_be_written_is_told(source, tmp_path):
    (tmp_path / "bestand").write_text("geen map")
    registry = Registry(tmp_path / "bestand" / "modellen")
    with pytest.raises(ModelError, match="cannot write there"):
        registry.reserve()
    with pytest.raises(ModelError, match="cannot write there"):
        registry.admit(source, "")


def _play(folder: str, seed: int, rounds: int, told) -> None:
    """Promote and roll back at random; runs in a process of its own."""
    registry, chance = Registry(folder), random.Random(seed)
    for _ in range(rounds):
        with suppress(ModelError):  # nothing to go back to
            if chance.random() < 0.4:
                registry.rollback(by=str(seed), reason="")
            else:
                registry.promote(chance.randrange(3), by=str(seed), reason="")
        registry.reserve()
        if told is not None:
            told.put(int(registry.reserve().name))


def _processes():
    # A server that has the library loaded starts a process in no time; Windows has none.
    method = "spawn" if sys.platform == "win32" else "forkserver"
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(
            ["druppel.registry", "hypothesis.stateful", "pytest", "tests.test_registry"]
        )
    return context


def test_many_processes_at_once(registry):
    context = _processes()
    told = context.Queue()
    rounds = 8
    players = [
        context.Process(target=_play, args=(str(registry.folder), seed, rounds, told))
        for seed in range(6)
    ]
    for player in players:
        player.start()
    numbers = [told.get(timeout=60) for _ in range(len(players) * rounds)]
    for player in players:
        player.join(60)
        assert player.exitcode == 0
    assert len(set(numbers)) == len(numbers)
    assert_consistent(registry)
    assert {e.by for e in registry.history()} == {str(seed) for seed in range(6)}
    lines = (registry.folder / HISTORY).read_bytes().splitlines()
    assert [json.loads(line) for line in lines] == [e.to_dict() for e in registry.history()]


@posix
def test_killed_at_any_moment(registry):
    context, chance = _processes(), random.Random(0)
    registry.promote(0, **BY)
    lengths = [1]
    for seed in range(20):
        player = context.Process(target=_play, args=(str(registry.folder), seed, 10_000, None))
        player.start()
        deadline = time.monotonic() + 30
        while len(registry.history()) == lengths[-1] and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.03))
        os.kill(player.pid, signal.SIGKILL)
        player.join(30)
        assert_consistent(registry)
        lengths.append(len(registry.history()))
    registry.reserve()
    assert_consistent(registry)
    assert lengths == sorted(set(lengths))  # nothing that was told is lost, and all took part


# --- any order of events ------------------------------------------------------------------


def test_any_order_of_events(source, tmp_path_factory):
    class Machine(RuleBasedStateMachine):
        @initialize()
        def begin(self):
            folder = tmp_path_factory.mktemp("register") / "modellen"
            self.registry = fill(folder, source, 3)
            self.current: int | None = None
            self.before: list[int] = []
            self.broken: set[int] = set()
            self.n_events = 0

        @rule(number=st.integers(0, 2))
        def promote(self, number):
            if number in self.broken:
                with pytest.raises(ModelError, match="damaged"):
                    self.registry.promote(number, **BY)
                return
            assert self.registry.promote(number, **BY).number == number
            if number != self.current:
                self.before += [] if self.current is None else [self.current]
                self.current = number
                self.n_events += 1

        @rule()
        def rollback(self):
            if not self.before or self.before[-1] in self.broken:
                with pytest.raises(ModelError):
                    self.registry.rollback(**BY)
                return
            self.current = self.before.pop()
            self.n_events += 1
            assert self.registry.rollback(**BY).number == self.current

        @rule(number=st.integers(0, 2))
        def damage(self, number):
            if number not in self.broken:
                damage(self.registry.folder / str(number))
                self.broken.add(number)

        @rule(number=st.integers(0, 2))
        def mend(self, number):
            shutil.copy(source / "weights.npz", self.registry.folder / str(number))
            self.broken.discard(number)

        @precondition(lambda self: self.current is not None)
        @rule(kept=st.integers(0, 60))
        def lose_the_end_of_the_history(self, kept):
            """As when the power goes between pointer and history."""
            path = self.registry.folder / HISTORY
            lines = path.read_bytes().splitlines(keepends=True)
            if json.loads(lines[-1]) == self.registry.history()[-1].to_dict():
                path.write_bytes(b"".join(lines[:-1]) + lines[-1][:kept])
                self.registry.reserve()

        @invariant()
        def holds(self):
            if not hasattr(self, "registry"):
                return
            assert [v.sound for v in self.registry.versions()] == [
                n not in self.broken for n in range(3)
            ]
            assert replay(self.registry.history()) == (self.current, self.before)
            assert len(self.registry.history()) == self.n_events
            if self.current is None or self.current in self.broken:
                with pytest.raises(ModelError):
                    self.registry.current()
            else:
                assert self.registry.current().number == self.current

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=12,
            stateful_step_count=15,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
