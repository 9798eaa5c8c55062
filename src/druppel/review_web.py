"""The page on which an analyst reviews a queue: served to her own browser, and to nobody else.

What the browser and the server say to each other is JSON. ``GET /api/queue`` gives the answers,
the taxonomy and what was decided so far; ``POST /api/decide`` saves a decision and
``POST /api/withdraw`` takes one back. Offsets count characters (code points) of the text.
"""

from __future__ import annotations

import hmac
import json
import secrets
import socketserver
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any

from druppel.corpus import GoldAspect
from druppel.corrections import Decision, History, now
from druppel.errors import InputError
from druppel.result import POLARITIES, SENTIMENTS
from druppel.review import QueueItem
from druppel.taxonomy import Label, Taxonomy

SOURCE = "web"
"""Source of the decisions that are made on the page."""

TOKEN_HEADER = "X-Druppel-Token"
"""Request header that must hold the token of the address."""

_HOSTS = ("127.0.0.1", "localhost")
_MAX_BODY = 64 * 1024
_MAX_REMARK = 2000
_FIELDS = ("key", "replaces", "sentiment", "aspects", "signals", "remark")
_ASPECT_FIELDS = ("leaf", "polarity", "start", "end")
_FILES = {
    "/": ("review.html", "text/html"),
    "/review.css": ("review.css", "text/css"),
    "/review.js": ("review.js", "text/javascript"),
}
_HEADERS = {
    "Cache-Control": "no-store",
    # Nothing from elsewhere, nothing inline; and markup can only come from the page itself.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class ReviewServer:
    """Serve a queue of answers as a web page on this computer, for one analyst.

    Only the loopback interface is served, only under its own name, and only to who has the token
    in `url`. The token stands behind the ``#``: a browser never sends that part, the page puts it
    in a header, so no log and no other site gets it.

    Parameters
    ----------
    items : sequence of QueueItem
        In the order in which they are to be asked. Those that the analyst decided on before, by
        the history, are not asked again.
    taxonomy : Taxonomy
        Every decision is checked against it.
    history : History
        Each decision is saved in it at once, in a batch of this session.
    analyst : str
        Whose decisions these are.
    host : {"127.0.0.1", "localhost"}, default="127.0.0.1"
    port : int, default=0
        By default any free port.

    Raises
    ------
    InputError
        If the host is not this computer alone, or the port cannot be had.
    CorpusError
        If the history is damaged.

    Examples
    --------
    >>> from pathlib import Path
    >>> server = ReviewServer([], Taxonomy.load(), History(Path("correcties")), analyst="Noor")
    >>> server.url.startswith("http://127.0.0.1:")
    True
    >>> server.shutdown()
    """

    def __init__(
        self,
        items: Sequence[QueueItem],
        taxonomy: Taxonomy,
        history: History,
        *,
        analyst: str,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        if host not in _HOSTS:
            msg = f"The page is served to this computer only: choose {' or '.join(_HOSTS)}."
            raise InputError(msg)
        self.token = secrets.token_urlsafe(32)
        self._items: dict[str, QueueItem] = {}
        for item in items:
            self._items.setdefault(item.key, item)  # the same answer is asked once
        self._taxonomy = taxonomy
        self._history = history
        self._analyst = analyst
        # Requests come in threads of their own; what is below changes under the lock only.
        self._lock = threading.Lock()
        self._batch = history.begin()
        self._standing = self._read_standing()
        self._earlier = frozenset(self._standing)
        self._withdrawn: dict[str, str] = {}
        self._closed = False
        self._serving = False
        try:
            self._http = _Server((host, port), _Handler)
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or error
            msg = f"Port {port} cannot be used ({why}). Choose another, or 0 for any free one."
            raise InputError(msg) from None
        self._http.review = self

    @property
    def url(self) -> str:
        """Address of the page, with its token; keep it to yourself."""
        return f"http://{_HOSTS[0]}:{self._http.server_address[1]}/#{self.token}"

    def serve_forever(self) -> None:
        """Serve until `shutdown` is called (from another thread) or Ctrl-C is pressed."""
        self._serving = True
        self._http.serve_forever(poll_interval=0.1)

    def shutdown(self) -> None:
        """Stop serving and end the session; safe to call twice, and before serving."""
        if self._serving:
            self._http.shutdown()
        self._http.server_close()
        with self._lock:
            self._closed = True
            self._batch.close()

    @property
    def n_decided(self) -> int:
        """Number of answers that were decided on in this session and not taken back."""
        with self._lock:
            return len({self._standing[number].key for number in self._session()})

    def queue(self) -> dict[str, Any]:
        """Return the answers, what was decided on them, and the taxonomy."""
        with self._lock:
            # Another window, or the sheet, may have added to the history meanwhile.
            self._standing = self._read_standing()
            latest = self._latest()
            return {
                "analyst": self._analyst,
                "items": [
                    {**_plain_item(item), "decision": _plain_decision(latest.get(key))}
                    for key, item in self._items.items()
                ],
                "session": self._session(),
                "categories": [_plain_label(label) for label in self._taxonomy.categories],
                "leaves": [_plain_label(label) for label in self._taxonomy.leaves],
                "signals": [_plain_label(label) for label in self._taxonomy.signals],
            }

    def decide(self, body: dict[str, Any]) -> dict[str, Any]:
        """Check and save a decision.

        Saving the same once more does nothing, so a browser that got no reply can ask again.
        ``replaces`` names the decision that the page knows of: if that is not the one that
        stands, another window was first, and the analyst is asked what she wants.
        """
        decision = self._read_decision(body)
        with self._saving():
            before = self._latest().get(decision.key)
            if before is None or _said(before) != _said(decision):
                if body["replaces"] != (before.number if before else None):
                    standing = _plain_decision(before)
                    raise _RefusedError(HTTPStatus.CONFLICT, "decided_elsewhere", decision=standing)
                before = self._batch.append(decision)
                self._standing[before.number] = before
            return {"number": before.number, "session": self._session()}

    def withdraw(self, body: dict[str, Any]) -> dict[str, Any]:
        """Take back a decision of this session; what stood before it counts again."""
        number = body.get("number")
        _require(isinstance(number, str) and set(body) == {"number"}, "number")
        with self._saving():
            if number in self._session():
                self._batch.withdraw(number, self._analyst)
                self._withdrawn[number] = self._standing.pop(number).key
            elif number not in self._withdrawn:
                raise _RefusedError(HTTPStatus.NOT_FOUND, "no_such_decision")
            key = self._withdrawn[number]
            standing = _plain_decision(self._latest().get(key))
            return {"key": key, "decision": standing, "session": self._session()}

    def _read_standing(self) -> dict[str, Decision]:
        """Decisions of the analyst on the queue that were not withdrawn, by number, in order."""
        decisions, withdrawn = self._history.decisions()
        return {
            d.number: d
            for d in decisions
            if d.analyst == self._analyst and d.number not in withdrawn and d.key in self._items
        }

    def _session(self) -> list[str]:
        return [number for number in self._standing if number not in self._earlier]

    def _latest(self) -> dict[str, Decision]:
        return {decision.key: decision for decision in self._standing.values()}

    @contextmanager
    def _saving(self) -> Iterator[None]:
        with self._lock:
            if self._closed:
                raise _RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "stopped")
            try:
                yield
            except (OSError, InputError):
                # Half a line may stand there, and must not get another behind it: go on in a new
                # file. Or it came through whole: look what counts.
                with suppress(OSError):
                    self._batch.close()
                self._batch = self._history.begin()
                self._standing = self._read_standing()
                raise _RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "not_saved") from None

    def _read_decision(self, body: dict[str, Any]) -> Decision:
        """Check what the browser sent as strictly as a line of a corpus."""
        _require(set(body) == set(_FIELDS), "fields")
        item = self._items.get(body["key"]) if isinstance(body["key"], str) else None
        if item is None:
            raise _RefusedError(HTTPStatus.NOT_FOUND, "no_such_answer")
        _require(isinstance(body["replaces"], str | None), "replaces")
        _require(_is_one_of(body["sentiment"], SENTIMENTS), "sentiment")
        remark = body["remark"]
        _require(isinstance(remark, str | None) and len(remark or "") <= _MAX_REMARK, "remark")
        _require(isinstance(body["aspects"], list), "aspects")
        aspects = tuple(self._read_aspect(aspect, item.text) for aspect in body["aspects"])
        _require(len({(a.leaf, a.polarity) for a in aspects}) == len(aspects), "same_aspect_twice")
        signals, known = body["signals"], [signal.slug for signal in self._taxonomy.signals]
        _require(isinstance(signals, list) and all(_is_one_of(s, known) for s in signals), "signal")
        _require(len(set(signals)) == len(signals), "same_signal_twice")
        return Decision(
            text=item.text,
            aspects=aspects,
            sentiment=body["sentiment"],
            signals=tuple(signals),
            question=item.question,
            score=item.score,
            analyst=self._analyst,
            date=now(),
            source=SOURCE,
            where="" if item.row is None else f"rij {item.row}",
            part=item.part,
            remark=(remark or "").strip() or None,
        )

    def _read_aspect(self, aspect: Any, text: str) -> GoldAspect:
        _require(isinstance(aspect, dict) and set(aspect) == set(_ASPECT_FIELDS), "aspect")
        leaf, polarity, start, end = (aspect[field] for field in _ASPECT_FIELDS)
        _require(_is_one_of(leaf, self._taxonomy.parent), "leaf")
        _require(_is_one_of(polarity, POLARITIES), "polarity")
        if start is None and end is None:
            return GoldAspect(leaf, polarity)
        _require(type(start) is int and type(end) is int and 0 <= start < end, "evidence")
        _require(end <= len(text) and bool(text[start:end].strip()), "evidence")
        return GoldAspect(leaf, polarity, text[start:end])


class _RefusedError(Exception):
    """A request that is not granted, with a word for why; never with anything of a text."""

    def __init__(self, status: HTTPStatus, error: str, **details: Any) -> None:
        super().__init__(error)
        self.status = status
        self.body = {"error": error, **details}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    review: ReviewServer

    def server_bind(self) -> None:
        # That of HTTPServer asks the name server for a name that nobody needs.
        socketserver.TCPServer.server_bind(self)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a traceback could show a text."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version, sys_version = "druppel", ""
    protocol_version = "HTTP/1.1"
    timeout = 60  # a connection that says nothing is closed

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def _get(self) -> tuple[bytes, str]:
        path = self.path.partition("?")[0]
        if path in _FILES:
            name, kind = _FILES[path]
            return (resources.files("druppel") / "resources" / name).read_bytes(), kind
        self._check_token()
        if path != "/api/queue":
            raise _RefusedError(HTTPStatus.NOT_FOUND, "no_such_page")
        return _json(self.server.review.queue())

    def _post(self) -> tuple[bytes, str]:
        self._check_token()
        review = self.server.review
        actions = {"/api/decide": review.decide, "/api/withdraw": review.withdraw}
        if self.path not in actions:
            raise _RefusedError(HTTPStatus.NOT_FOUND, "no_such_page")
        return _json(actions[self.path](self._read_body()))

    def _answer(self, work: Callable[[], tuple[bytes, str]]) -> None:
        status = HTTPStatus.OK
        try:
            self._check_origin()
            content, kind = work()
        except _RefusedError as error:
            status = error.status
            content, kind = _json(error.body)
        except Exception:  # whatever it is, its message may hold a text
            status = HTTPStatus.INTERNAL_SERVER_ERROR
            content, kind = _json({"error": "failed"})
        self._send(status, content, kind)

    def _check_origin(self) -> None:
        """Refuse what another name or another site leads here (DNS rebinding, forged forms)."""
        port = self.server.server_address[1]
        hosts = [f"{host}:{port}" for host in _HOSTS]
        if self.headers.get("Host") not in hosts:
            raise _RefusedError(HTTPStatus.MISDIRECTED_REQUEST, "wrong_host")
        origin = self.headers.get("Origin")
        if origin is not None and origin not in [f"http://{host}" for host in hosts]:
            raise _RefusedError(HTTPStatus.FORBIDDEN, "wrong_origin")

    def _check_token(self) -> None:
        given = self.headers.get(TOKEN_HEADER, "").encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(given, self.server.review.token.encode()):
            raise _RefusedError(HTTPStatus.FORBIDDEN, "wrong_token")

    def _read_body(self) -> dict[str, Any]:
        if self.headers.get_content_type() != "application/json":
            raise _RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "not_json")
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdecimal()):
            raise _RefusedError(HTTPStatus.LENGTH_REQUIRED, "no_length")
        if len(length) > len(str(_MAX_BODY)) or int(length) > _MAX_BODY:
            raise _RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large")
        try:
            body = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            body = None
        _require(isinstance(body, dict), "not_json")
        return body

    def _send(self, status: HTTPStatus, content: bytes, kind: str) -> None:
        if status != HTTPStatus.OK:
            self.close_connection = True  # what was sent with it may not have been read
        self.send_response(status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse what is no proper request, without repeating any of it."""
        self._send(HTTPStatus(code), *_json({"error": "bad_request"}))

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


def _require(holds: bool, error: str) -> None:
    if not holds:
        raise _RefusedError(HTTPStatus.BAD_REQUEST, error)


def _is_one_of(value: Any, known: Any) -> bool:
    return isinstance(value, str) and value in known


def _json(data: Any) -> tuple[bytes, str]:
    return json.dumps(data).encode("ascii"), "application/json"


def _said(decision: Decision) -> tuple[Any, ...]:
    aspects, signals = frozenset(decision.aspects), frozenset(decision.signals)
    return aspects, decision.sentiment, signals, decision.remark


def _plain_label(label: Label) -> dict[str, Any]:
    return {field: getattr(label, field) for field in Label.__slots__}


def _plain_item(item: QueueItem) -> dict[str, Any]:
    given = ("key", "text", "question", "score", "reason", "part", "row")
    return {**{field: getattr(item, field) for field in given}, "proposal": item.result.to_dict()}


def _plain_decision(decision: Decision | None) -> dict[str, Any] | None:
    if decision is None:
        return None
    row = decision.to_dict()
    shown = ("sentiment", "aspects", "signals", "remark")
    return {"number": decision.number, **{field: row[field] for field in shown}}
