from __future__ import annotations

import http.client
import json
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from druppel.corpus import GoldAspect
from druppel.corrections import MEASUREMENT, Decision, History
from druppel.errors import InputError
from druppel.result import Aspect, Result, Sentiment, Signal
from druppel.review import QueueItem
from druppel.review_web import TOKEN_HEADER, ReviewServer
from druppel.taxonomy import Taxonomy

SECRET = "Zilvermeeuw"  # stands in every text; must not turn up where no text belongs


def _item(text: str, **changes: Any) -> QueueItem:
    """An answer for which nothing is proposed but that it is neutral."""
    result = Result(Sentiment("neutraal", 0.0), (), (), "nl", False, "klein 0.1")
    return replace(QueueItem(text, None, None, result, "willekeurig"), **changes)


ITEMS = (
    _item(f"{SECRET}: een uur in de rij 😡 gestaan.", question="Wat kan beter?", score=2.0, row=7),
    _item(f"Lekker gegeten bij {SECRET}.", part=MEASUREMENT),
    _item(f"{SECRET} schrijft nooit terug."),
)


def _body(item: QueueItem = ITEMS[0], **changes: Any) -> dict[str, Any]:
    return {
        "key": item.key,
        "replaces": None,
        "sentiment": "negatief",
        "aspects": [],
        "signals": [],
        "remark": None,
        **changes,
    }


def _aspect(**changes: Any) -> dict[str, Any]:
    return {"leaf": "in_de_rij", "polarity": "neg", "start": None, "end": None, **changes}


class Site:
    """A server that runs, and a browser without a page."""

    def __init__(self, server: ReviewServer) -> None:
        self.server = server
        self.port = int(re.match(r"http://127\.0\.0\.1:(\d+)/#", server.url)[1])

    def ask(
        self, path: str, body: Any = None, *, method: str | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        given = {
            "Host": f"127.0.0.1:{self.port}",
            TOKEN_HEADER: self.server.token,
            "Content-Type": "application/json",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method or ("GET" if body is None else "POST"), path, data, given)
            reply = connection.getresponse()
            return reply.status, dict(reply.getheaders()), reply.read()
        finally:
            connection.close()

    def post(self, path: str, body: Any) -> tuple[int, dict[str, Any]]:
        status, _, content = self.ask(path, body)
        return status, json.loads(content)

    def queue(self) -> dict[str, Any]:
        return json.loads(self.ask("/api/queue")[2])


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "correcties")


@pytest.fixture
def start(tiny_taxonomy: Taxonomy, history: History) -> Iterator[Callable[..., Site]]:
    servers: list[ReviewServer] = []

    def _start(items: Sequence[QueueItem] = ITEMS, analyst: str = "Noor") -> Site:
        server = ReviewServer(items, tiny_taxonomy, history, analyst=analyst)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return Site(server)

    yield _start
    for server in servers:
        server.shutdown()


@pytest.fixture
def site(start: Callable[..., Site]) -> Site:
    return start()


def _made(history: History) -> list[Decision]:
    """What counts, whoever said it, without numbers and dates."""
    decisions, withdrawn = history.decisions()
    return [replace(d, number="", date="") for d in decisions if d.number not in withdrawn]


# ---- who may ask --------------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["", "x", "é", "x" * 43])
@pytest.mark.parametrize(("path", "body"), [("/api/queue", None), ("/api/decide", _body())])
def test_without_the_token_nothing_is_given_or_taken(
    site: Site, history: History, path: str, body: Any, token: str
) -> None:
    status, _, content = site.ask(path, body, **{TOKEN_HEADER: token})
    assert (status, json.loads(content)) == (403, {"error": "wrong_token"})
    assert not history.batches()


def test_token_is_another_each_time_and_stays_out_of_requests(start: Callable[..., Site]) -> None:
    first, second = start().server, start().server
    assert first.token != second.token
    assert len(first.token) >= 40
    # Behind the # a browser keeps it to itself.
    assert first.url.partition("#")[2] == first.token


@pytest.mark.parametrize("host", ["attacker.example", "attacker.example:{port}", "127.0.0.1", ""])
@pytest.mark.parametrize("path", ["/", "/review.js", "/api/queue"])
def test_another_name_for_this_computer_is_refused(site: Site, host: str, path: str) -> None:
    status, _, content = site.ask(path, Host=host.format(port=site.port))
    assert (status, json.loads(content)) == (421, {"error": "wrong_host"})


def test_localhost_is_this_computer(site: Site) -> None:
    assert site.ask("/", Host=f"localhost:{site.port}")[0] == 200


@pytest.mark.parametrize("origin", ["https://attacker.example", "null", "http://127.0.0.1:1"])
def test_another_site_cannot_post(site: Site, history: History, origin: str) -> None:
    assert site.ask("/api/decide", _body(), Origin=origin)[0] == 403
    assert not history.batches()
    assert site.ask("/api/decide", _body(), Origin=f"http://127.0.0.1:{site.port}")[0] == 200


def test_only_loopback_is_served(tiny_taxonomy: Taxonomy, history: History, site: Site) -> None:
    assert site.server._http.server_address[0] == "127.0.0.1"
    for host in ("0.0.0.0", "", "::", "192.168.1.4"):
        with pytest.raises(InputError, match="this computer only"):
            ReviewServer(ITEMS, tiny_taxonomy, history, analyst="Noor", host=host)


def test_a_port_that_is_taken_is_said(
    tiny_taxonomy: Taxonomy, history: History, site: Site
) -> None:
    for port in (site.port, 70_000):
        with pytest.raises(InputError, match=f"Port {port} cannot be used"):
            ReviewServer(ITEMS, tiny_taxonomy, history, analyst="Noor", port=port)


@pytest.mark.parametrize("path", ["/", "/review.css", "/review.js", "/api/queue", "/nergens"])
def test_every_reply_bears_the_headers_that_guard_it(site: Site, path: str) -> None:
    _, headers, _ = site.ask(path)
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert "Python" not in headers["Server"]


def test_the_page_itself_holds_no_answer_and_names_no_other_site(site: Site) -> None:
    for path in ("/", "/review.css", "/review.js"):
        status, _, content = site.ask(path, **{TOKEN_HEADER: ""})
        page = content.decode()
        assert status == 200
        assert SECRET not in page
        assert set(re.findall(r"https?://[^'\"\s]+", page)) <= {"http://www.w3.org/2000/svg"}


def test_paths_do_not_lead_to_files(site: Site) -> None:
    for path in ("/review.html", "/../taxonomy.toml", "/taxonomy.toml", "/%2e%2e/errors.py"):
        assert site.ask(path)[0] == 404


# ---- decisions ----------------------------------------------------------------------------------


def test_a_decision_is_in_the_history_before_the_reply(site: Site, history: History) -> None:
    text = ITEMS[0].text
    begin = text.index("een uur")
    status, reply = site.post(
        "/api/decide",
        _body(
            aspects=[_aspect(start=begin, end=text.index(" gestaan")), _aspect(leaf="eten")],
            signals=["weg"],
            remark="  let op 👀 ",
        ),
    )
    assert (status, reply) == (200, {"number": "1:1", "session": ["1:1"]})
    # Read anew: as another process sees it.
    (decision,) = History(history.folder).state().decisions
    assert decision.date.endswith("+00:00")
    assert replace(decision, date="", number="") == Decision(
        text=text,
        aspects=(
            GoldAspect("in_de_rij", "neg", "een uur in de rij 😡"),
            GoldAspect("eten", "neg", None),
        ),
        sentiment="negatief",
        signals=("weg",),
        question="Wat kan beter?",
        score=2.0,
        analyst="Noor",
        source="web",
        where="rij 7",
        part="training",
        remark="let op 👀",
    )


def test_the_part_of_an_answer_goes_with_its_decision(site: Site, history: History) -> None:
    site.post("/api/decide", _body(ITEMS[1]))
    assert [d.part for d in _made(history)] == ["meting"]


WRONG: dict[str, dict[str, Any]] = {
    "unknown sentiment": {"sentiment": "boos"},
    "no sentiment": {"sentiment": None},
    "sentiment of another type": {"sentiment": ["negatief"]},
    "aspects of another type": {"aspects": "in_de_rij"},
    "an aspect that is none": {"aspects": ["in_de_rij"]},
    "unknown leaf": {"aspects": [_aspect(leaf="in_de_ry")]},
    "a category in place of a leaf": {"aspects": [_aspect(leaf="wachten")]},
    "a signal in place of a leaf": {"aspects": [_aspect(leaf="weg")]},
    "leaf of another type": {"aspects": [_aspect(leaf=None)]},
    "unknown polarity": {"aspects": [_aspect(polarity="negatief")]},
    "the same aspect twice": {"aspects": [_aspect(), _aspect(start=0, end=4)]},
    "an aspect with more fields": {"aspects": [{**_aspect(), "evidence": "bedacht"}]},
    "half an evidence": {"aspects": [_aspect(start=0)]},
    "empty evidence": {"aspects": [_aspect(start=3, end=3)]},
    "evidence backwards": {"aspects": [_aspect(start=5, end=2)]},
    "evidence before the text": {"aspects": [_aspect(start=-3, end=4)]},
    "evidence past the text": {"aspects": [_aspect(start=0, end=len(ITEMS[0].text) + 1)]},
    "evidence of white space": {
        "aspects": [_aspect(start=len(SECRET) + 1, end=len(SECRET) + 2)],
    },
    "evidence by true and false": {"aspects": [_aspect(start=False, end=True)]},
    "evidence by fractions": {"aspects": [_aspect(start=0.0, end=4.0)]},
    "unknown signal": {"signals": ["wegg"]},
    "a leaf in place of a signal": {"signals": ["eten"]},
    "the same signal twice": {"signals": ["weg", "weg"]},
    "signals of another type": {"signals": {"weg": True}},
    "remark of another type": {"remark": 3},
    "a remark without end": {"remark": "x" * 2001},
    "replaces of another type": {"replaces": 1},
    "a part of her own": {"part": "training"},
}


@pytest.mark.parametrize("changes", WRONG.values(), ids=WRONG)
def test_a_decision_that_cannot_be_is_refused(
    site: Site, history: History, changes: dict[str, Any]
) -> None:
    status, _, content = site.ask("/api/decide", _body(**changes))
    assert status == 400
    assert set(json.loads(content)) == {"error"}
    assert SECRET.encode() not in content
    assert not history.batches()


def test_a_decision_that_lacks_something_is_refused(site: Site, history: History) -> None:
    for field in _body():
        body = _body()
        del body[field]
        assert site.post("/api/decide", body) == (400, {"error": "fields"})
    assert not history.batches()


def test_only_answers_of_the_queue_are_decided_on(site: Site, history: History) -> None:
    for key in ("0" * 16, 3, None):
        assert site.post("/api/decide", _body(key=key))[0] == 404
    assert not history.batches()


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (json.dumps(_body()).encode(), {"Content_Type": "text/plain"}, 415),
        (json.dumps(_body()).encode(), {"Content_Type": ""}, 415),
        (b"sentiment=negatief", {"Content_Type": "application/x-www-form-urlencoded"}, 415),
        (b"{", {}, 400),
        (b"[" * 60_000, {}, 400),
        (b"[1, 2]", {}, 400),
        (b"\xff", {}, 400),
        (b" " * 70_000, {}, 413),
        (b"{}", {"Content_Length": "9" * 5000}, 413),
        (b"{}", {"Content_Length": "-2"}, 411),
        (b"{}", {"Content_Length": "\u00b2"}, 411),
    ],
)
def test_a_body_that_is_no_decision_is_refused(
    site: Site, body: bytes, headers: dict[str, str], status: int
) -> None:
    assert site.ask("/api/decide", body, **headers)[0] == status
    assert site.post("/api/decide", _body())[0] == 200  # and serving goes on


def test_other_methods_and_noise_are_refused_as_json(site: Site) -> None:
    for method in ("PUT", "DELETE", "OPTIONS"):
        status, headers, content = site.ask("/api/queue", method=method)
        assert (status, json.loads(content)) == (501, {"error": "bad_request"})
        assert "Access-Control-Allow-Origin" not in headers
    with socket.create_connection(("127.0.0.1", site.port), timeout=10) as raw:
        raw.sendall(f"{SECRET} onzin\r\n\r\n".encode())
        reply = raw.makefile("rb").read()
    assert b"bad_request" in reply
    assert SECRET.encode() not in reply


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_offsets_count_code_points(
    tiny_taxonomy: Taxonomy, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    words = st.text(alphabet=st.sampled_from("ab \u0301é👍👩\u200d🏽𝒳\n"), min_size=1, max_size=20)
    text = data.draw(words.filter(lambda words: words.strip()))
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    if not text[start:end].strip():
        return
    item = _item(text)
    history = History(tmp_path_factory.mktemp("punten"))
    server = ReviewServer([item], tiny_taxonomy, history, analyst="Noor")
    try:
        server.decide(_body(item, aspects=[_aspect(start=start, end=end)]))
    finally:
        server.shutdown()
    (decision,) = _made(history)
    assert decision.aspects[0].evidence == text[start:end]


# ---- again, elsewhere, and back -----------------------------------------------------------------


def test_the_same_decision_again_is_not_stored_again(site: Site, history: History) -> None:
    first = site.post("/api/decide", _body(signals=["weg"]))
    assert site.post("/api/decide", _body(signals=["weg"])) == first
    assert len(_made(history)) == 1


def test_a_window_that_knows_less_does_not_overwrite(site: Site, history: History) -> None:
    site.post("/api/decide", _body())
    status, reply = site.post("/api/decide", _body(sentiment="positief"))
    assert (status, reply["error"]) == (409, "decided_elsewhere")
    assert (reply["decision"]["number"], reply["decision"]["sentiment"]) == ("1:1", "negatief")
    assert len(_made(history)) == 1
    status, reply = site.post("/api/decide", _body(sentiment="positief", replaces="1:1"))
    assert (status, reply["number"]) == (200, "1:2")
    assert [d.sentiment for d in history.state().decisions] == ["positief"]


def test_withdrawing_appends_and_what_stood_before_counts_again(
    site: Site, history: History
) -> None:
    site.post("/api/decide", _body())
    before = (history.folder / "0001.jsonl").read_bytes()
    site.post("/api/decide", _body(sentiment="positief", replaces="1:1"))
    status, reply = site.post("/api/withdraw", {"number": "1:2"})
    assert status == 200
    assert reply["key"] == ITEMS[0].key
    assert reply["decision"]["sentiment"] == "negatief"
    assert reply["session"] == ["1:1"]
    # Once more, because the reply was lost: the same, and no line more.
    length = len(list(history.lines()))
    assert site.post("/api/withdraw", {"number": "1:2"}) == (200, reply)
    assert len(list(history.lines())) == length == 3
    assert (history.folder / "0001.jsonl").read_bytes().startswith(before)
    assert [d.sentiment for d in history.state().decisions] == ["negatief"]
    assert site.post("/api/withdraw", {"number": "1:1"})[1]["decision"] is None
    assert history.state().decisions == ()


def test_only_decisions_of_this_session_are_taken_back(
    start: Callable[..., Site], history: History
) -> None:
    earlier = start()
    earlier.post("/api/decide", _body())
    earlier.server.shutdown()
    site = start()
    for number in ("1:1", "1", "9:9"):
        expected = (404, {"error": "no_such_decision"})
        assert site.post("/api/withdraw", {"number": number}) == expected
    for body in ({}, {"number": 1}, {"number": "1:1", "key": "x"}):
        assert site.post("/api/withdraw", body)[0] == 400
    assert len(history.state().decisions) == 1


def test_what_the_analyst_decided_earlier_is_not_asked_again(
    start: Callable[..., Site], history: History
) -> None:
    earlier = start()
    earlier.post("/api/decide", _body(aspects=[_aspect()], remark="klopt"))
    earlier.post("/api/decide", _body(ITEMS[1]))
    earlier.post("/api/withdraw", {"number": "1:2"})
    earlier.server.shutdown()
    queue = start().queue()
    first, second, third = (item["decision"] for item in queue["items"])
    assert first == {
        "number": "1:1",
        "sentiment": "negatief",
        "aspects": [{"leaf": "in_de_rij", "polarity": "neg", "evidence": None}],
        "signals": [],
        "remark": "klopt",
    }
    assert second is None
    assert third is None
    assert queue["session"] == []
    assert [item["decision"] for item in start(analyst="Bas").queue()["items"]] == [None] * 3


def test_the_queue_gives_answers_proposals_and_taxonomy(start: Callable[..., Site]) -> None:
    text = "👍 Lekker, maar lang gewacht."
    result = Result(
        Sentiment("gemengd", 0.1),
        (Aspect("smaak", "eten", "pos", 0.9, 2, 8, "Lekker"),),
        (Signal("weg", 0.6, 10, 14, "maar"),),
        "nl",
        True,
        "klein 0.1",
    )
    item = QueueItem(text, "Hoe was het?", 6.5, result, "de twijfel is groot", MEASUREMENT, 12)
    queue = start([item, item, ITEMS[0]]).queue()  # the same answer is asked once
    assert len(queue["items"]) == 2
    assert queue["items"][0] == {
        "key": item.key,
        "text": text,
        "question": "Hoe was het?",
        "score": 6.5,
        "reason": "de twijfel is groot",
        "part": "meting",
        "row": 12,
        "proposal": result.to_dict(),
        "decision": None,
    }
    assert [leaf["slug"] for leaf in queue["leaves"]] == ["in_de_rij", "op_antwoord", "eten"]
    assert queue["leaves"][0]["name_nl"] == "In de rij"


def test_decisions_at_the_same_moment_are_all_kept(
    start: Callable[..., Site], history: History
) -> None:
    items = [_item(f"Antwoord nummer {i} over {SECRET}.") for i in range(24)]
    site, other = start(items), start(items, "Bas")
    jobs = [(where, item) for item in items for where in (site, other)]
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda job: job[0].post("/api/decide", _body(job[1])), jobs))
    assert {status for status, _ in replies} == {200}
    assert len({reply["number"] for _, reply in replies}) == len(jobs)
    assert len(_made(history)) == len(jobs)
    assert len(history.state().decisions) == len(items)
    assert site.server.n_decided == len(items)


def test_of_different_decisions_at_the_same_moment_one_is_taken(
    site: Site, history: History
) -> None:
    bodies = [_body(remark=f"venster {i}") for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda body: site.post("/api/decide", body)[0], bodies))
    assert sorted(statuses) == [200] + [409] * 7
    assert len(_made(history)) == 1


# ---- what goes wrong ----------------------------------------------------------------------------


@pytest.mark.parametrize("n_before", [0, 1])
def test_a_disk_that_fails_loses_and_doubles_nothing(
    site: Site, history: History, monkeypatch: pytest.MonkeyPatch, n_before: int
) -> None:
    if n_before:
        site.post("/api/decide", _body(ITEMS[1]))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device", SECRET)

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", full)
        for _ in range(2):
            status, reply = site.post("/api/decide", _body())
            # What came through although the disk complained is seen the second time.
            assert (status, reply.get("error")) in {(503, "not_saved"), (200, None)}
    assert site.post("/api/decide", _body())[0] == 200
    assert site.post("/api/decide", _body(ITEMS[2]))[0] == 200
    assert [d.key for d in _made(history)].count(ITEMS[0].key) == 1
    assert len(history.state().decisions) == n_before + 2


def test_half_a_line_does_not_spoil_the_next(
    site: Site, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.post("/api/decide", _body(ITEMS[1]))

    class Torn:
        """Writes half of a line, as a disk does that is full."""

        def __init__(self, stream: Any) -> None:
            self.stream = stream

        def write(self, data: bytes) -> None:
            self.stream.write(data[: len(data) // 2])

        def flush(self) -> None:
            self.stream.flush()
            raise OSError(28, "No space left on device")

        def close(self) -> None:
            self.stream.close()

    batch = site.server._batch
    monkeypatch.setattr(batch, "_stream", Torn(batch._stream))
    assert site.post("/api/decide", _body()) == (503, {"error": "not_saved"})
    assert site.post("/api/decide", _body())[0] == 200
    assert site.post("/api/withdraw", {"number": "1:1"})[0] == 200
    assert [d.key for d in history.state().decisions] == [ITEMS[0].key]


def test_nothing_is_logged_and_no_error_tells_a_text(
    site: Site, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise ValueError(SECRET)

    site.post("/api/decide", _body())
    site.post("/api/decide", _body(sentiment=SECRET))
    monkeypatch.setattr(site.server, "_read_decision", fail)
    status, _, content = site.ask("/api/decide", _body())
    assert (status, json.loads(content)) == (500, {"error": "failed"})
    with socket.create_connection(("127.0.0.1", site.port), timeout=10) as gone:
        gone.sendall(b"POST /api/decide HTTP/1.1\r\nContent-Length: 9\r\n")
    site.queue()
    assert capfd.readouterr() == ("", "")


def test_shutdown_before_serving_and_twice(tiny_taxonomy: Taxonomy, history: History) -> None:
    server = ReviewServer(ITEMS, tiny_taxonomy, history, analyst="Noor")
    server.shutdown()
    server.shutdown()
    with pytest.raises(Exception, match="stopped"):
        server.decide(_body())
    assert not history.batches()


def test_the_page_is_packaged() -> None:
    for name in ("review.html", "review.css", "review.js"):
        assert (resources.files("druppel") / "resources" / name).is_file()
