"""Web server on loopback with the faults of real ones; it counts its requests and the bytes that it sent."""

import contextlib
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

_BLOCK_BYTES = 1 << 16
_LONGEST_S = 10.0  # a stalled response is kept open


@dataclass(frozen=True)
class Mode:
    """Faults of a response; none by default."""

    status: int | None = None
    retry_after: str | None = None
    says: str = ""  # body of an error response
    location: str | None = None  # with a 3xx status
    truncate: int | None = None  # closes the connection after so many bytes of the body
    stall: int | None = None  # sends no more after so many bytes
    reset: int | None = None  # resets the connection after so many bytes
    pace_s: float = 0.0  # pause between blocks
    length: int | None = None  # Content-Length, true or not
    no_length: bool = False
    chunked: bool = False
    extra: bytes = b""  # sent after the body
    ignore_range: bool = False
    ignore_condition: bool = False  # ignores If-Range and sends a part of the current version
    content_range: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


GOOD = Mode()


class Request(NamedTuple):
    """One request."""

    method: str
    path: str
    range: str | None
    headers: Mapping[str, str]


class HostileServer:
    """Files, and the faults of responses: the next ones from `script`, later ones from `standing`."""

    def __init__(self) -> None:
        self.url = ""
        self.files: dict[str, bytes] = {}
        self.etags: dict[str, str] = {}
        self.flapping: set[str] = set()  # paths with another ETag in each response
        self.script: dict[str, list[Mode]] = {}  # of GET
        self.standing: dict[str, Mode] = {}  # of GET; "*" for all
        self.heads: dict[str, Mode] = {}  # of HEAD
        self.forbidden_after: int | None = None  # requests
        self.closed_s: float | None = None  # answers GET with 429 for so long after the first
        self.asked: list[Request] = []
        self.sent: Counter[str] = Counter()  # bytes of bodies
        self.most_at_once = 0
        self.over = threading.Event()
        self._now, self._opens = 0, 0.0
        self._guard = threading.Lock()

    def add(self, path: str, body: bytes, etag: str | None = "auto") -> str:
        """Serve a file, and return its address."""
        self.files[path] = body
        if etag:
            self.etags[path] = f'"{len(self.etags)}-{len(body)}"' if etag == "auto" else etag
        return self.url + path

    def count(self, path: str | None = None, method: str = "GET") -> int:
        """Return the number of requests."""
        return sum(each.method == method and path in (None, each.path) for each in self.asked)

    def ranges(self, path: str) -> list[str | None]:
        """Return the Range headers of the GET requests."""
        return [each.range for each in self.asked if each.path == path and each.method == "GET"]

    def mode(self, method: str, path: str) -> Mode:
        """Return the faults of the response to this request."""
        with self._guard:
            if self.forbidden_after is not None and len(self.asked) > self.forbidden_after:
                return Mode(status=403, says="<h1>Enough!</h1>\n\x1b[31mYou ask too much")
            if method == "HEAD":
                return self.heads.get(path, GOOD)
            if self.closed_s is not None:
                self._opens = self._opens or time.monotonic() + self.closed_s
                if time.monotonic() < self._opens:
                    return Mode(status=429, retry_after="1")
            queue = self.script.get(path, [])
            return queue.pop(0) if queue else self.standing.get(path, self.standing.get("*", GOOD))

    def busy(self, more: int) -> None:
        """Count the requests that are answered at the same time."""
        with self._guard:
            self._now += more
            self.most_at_once = max(self.most_at_once, self._now)


@contextmanager
def hostile_server() -> Iterator[HostileServer]:
    """Run the server."""
    state = HostileServer()
    handler = type("Handler", (_Handler,), {"state": state})
    server = _Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield state
    finally:
        state.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        pass  # clients close connections early


class _Handler(BaseHTTPRequestHandler):
    state: HostileServer
    protocol_version = "HTTP/1.1"
    timeout = 1.0  # of an idle connection, so that none outlives its test for long

    def do_GET(self) -> None:
        self.state.busy(+1)
        self._counted = True
        with contextlib.suppress(ConnectionError):
            self._answer()
        self._leave()

    do_HEAD = do_GET

    def _leave(self) -> None:
        """Stop counting the request, before its last bytes are sent: the next request may follow at once."""
        if self._counted:
            self.state.busy(-1)
        self._counted = False

    def _answer(self) -> None:
        state = self.state
        path = self.path if self.path in state.files else self.path.partition("?")[0]
        state.asked.append(Request(self.command, path, self.headers["Range"], dict(self.headers)))
        mode = state.mode(self.command, path)
        body = state.files.get(path)
        if body is None or mode.status is not None:
            self._refuse(mode, 404 if body is None and mode.status is None else mode.status or 404)
            return
        tag = f'"{len(state.asked)}"' if path in state.flapping else state.etags.get(path)
        start, end = self._span(mode, tag, len(body))
        if "Range" in self.headers and start >= len(body):
            self._refuse(mode, 416, f"bytes */{len(body)}")
            return
        whole = (start, end) == (0, len(body)) and "Range" not in self.headers
        partial = not whole and not mode.ignore_range and self._asks_for_part(mode, tag)
        self.send_response(206 if partial else 200)
        if partial:
            self.send_header("Content-Range", mode.content_range or f"bytes {start}-{end - 1}/{len(body)}")
            if named := re.match(r"bytes (\d+)-(\d+)", mode.content_range or ""):
                start, end = int(named[1]), int(named[2]) + 1  # the body is as stated
        if mode.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif not mode.no_length:
            self.send_header("Content-Length", str(end - start if mode.length is None else mode.length))
        if mode.no_length or mode.extra:
            self.send_header("Connection", "close")
            self.close_connection = True
        if tag:
            self.send_header("ETag", tag)
        for name, value in mode.headers.items():
            self.send_header(name, value)
        if self.command == "HEAD":
            self._leave()
        self.end_headers()
        if self.command == "GET":
            self._send(path, body[start:end] + mode.extra, mode)

    def _asks_for_part(self, mode: Mode, tag: str | None) -> bool:
        condition = self.headers["If-Range"]
        met = condition is None or mode.ignore_condition or condition in (tag, mode.headers.get("Last-Modified"))
        return "Range" in self.headers and met

    def _span(self, mode: Mode, tag: str | None, size: int) -> tuple[int, int]:
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers["Range"] or "")
        if match is None or mode.ignore_range or not self._asks_for_part(mode, tag):
            return 0, size
        return int(match[1]), min(int(match[2]) + 1 if match[2] else size, size)

    def _refuse(self, mode: Mode, status: int, content_range: str | None = None) -> None:
        said = mode.says.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(said)))
        if mode.retry_after is not None:
            self.send_header("Retry-After", mode.retry_after)
        if content_range is not None:
            self.send_header("Content-Range", content_range)
        if mode.location is not None:
            self.send_header("Location", mode.location)
        self._leave()
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(said)

    def _send(self, path: str, data: bytes, mode: Mode) -> None:
        ends = [each for each in (mode.truncate, mode.stall, mode.reset) if each is not None]
        stop = min(ends, default=len(data))
        for at in range(0, min(stop, len(data)), _BLOCK_BYTES):
            block = data[at : min(at + _BLOCK_BYTES, stop)]
            if at + len(block) >= len(data):
                self._leave()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(block), block) if mode.chunked else block)
            self.state.sent[path] += len(block)
            if mode.pace_s:
                time.sleep(mode.pace_s)
        if mode.chunked and not ends:
            self.wfile.write(b"0\r\n\r\n")
        if not ends and mode.length in (None, len(data)):
            return
        self.close_connection = True
        self.wfile.flush()
        if mode.stall is not None:
            self.state.over.wait(_LONGEST_S)
        if mode.reset is not None:
            time.sleep(0.05)  # the bytes sent must arrive before the reset
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def log_message(self, *_: object) -> None:
        pass
