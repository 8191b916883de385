"""The origin of `promises`: every address has a version, an answer can be held back, and who asks is counted."""

import collections
import http.client
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Callable

PATIENCE_SECONDS = 20


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def handle_error(self, *_: object) -> None:
        """A proxy that hangs up is no mistake."""


class Origin:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: collections.Counter[str] = collections.Counter()
        self._versions: collections.Counter[str] = collections.Counter()
        self._gates: dict[str, threading.Event] = {}
        self._failing: set[str] = set()
        origin = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                origin._answer(self)

            def do_PUT(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                origin.change(self.path)
                origin._send(self, 200, b"changed", {})

            def log_message(self, *_: object) -> None:
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def asked(self, path: str) -> int:
        """How often it was asked for this."""
        return self._asked[path]

    def version(self, path: str) -> bytes:
        """What it says of this now."""
        return f"{path} version {self._versions['/item' if path == '/item' else path]}".encode()

    def change(self, path: str) -> None:
        """It says something else of this from now on, and of the list."""
        with self._lock:
            self._versions[path] += 1
            self._versions["/item"] += 1

    def hold(self, path: str) -> threading.Event:
        """Answers about this are decided and then wait until the event is set."""
        self._gates[path] = threading.Event()
        return self._gates[path]

    def fail(self, path: str) -> None:
        self._failing.add(path)

    def stop(self) -> None:
        self._server.shutdown()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path
        with self._lock:
            self._asked[path] += 1
            body = self.version(path)
        if path == "/me":
            body = (request.headers["authorization"] or "nobody").encode()
        if gate := self._gates.get(path):
            gate.wait(PATIENCE_SECONDS)
        if path in self._failing:
            return self._send(request, 500, b"broken", {})
        said = urllib.parse.parse_qs(urllib.parse.urlsplit(path).query)
        fields = {"cache-control": said.get("control", ["max-age=60"])[0]}
        for tag in said.get("tag", []):
            fields |= {"surrogate-key": tag, "xkey": tag}
        return self._send(request, 200, body, fields)

    @staticmethod
    def _send(request: BaseHTTPRequestHandler, status: int, body: bytes, fields: dict[str, str]) -> None:
        request.send_response(status)
        for name, value in {**fields, "content-length": str(len(body)), "content-type": "text/plain"}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)


def ask(port: int, method: str, path: str, fields: dict[str, str] | None = None,
        body: bytes | None = None) -> tuple[int, dict[str, str], bytes]:
    """Status, fields (names in lower case) and body of one answer, on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    try:
        connection.request(method, path, body, fields or {})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def eventually(holds: Callable[[], bool], seconds: float) -> bool:
    """Whether it holds before the time is up."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.02)
    return holds()
