"""Origins that are slow, full, gone, or close their connections."""

import ssl
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from origin import Backend, read_head
from servers import Tls

CONFIG = """
routes: { /api/slow: { ttl: 1h, timeout: 1m }, /api/stats: 1h, /api/search: bypass }
limits: { upstream_concurrency: 1, upstream_timeout: 300ms }
"""


def assert_problem(response, status):
    """RFC 9457."""
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == status and problem["title"]


def test_an_origin_that_does_not_answer_in_time_is_a_504_and_is_not_kept(larder, origin):
    proxy = larder(CONFIG)
    origin.close_gate("GET /api/stats")
    assert_problem(proxy.get("/api/stats"), 504)
    origin.open_gate("GET /api/stats")
    assert proxy.get("/api/stats").status_code == 200


def test_an_origin_that_is_full_is_a_503(larder, origin):
    proxy = larder(CONFIG)
    origin.close_gate("GET /api/slow")
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(proxy.raw_get, "/api/slow")
        origin.wait_at_gate("GET /api/slow")
        assert_problem(proxy.get("/api/stats"), 503)
        origin.open_gate("GET /api/slow")
        assert slow.result()[2] == 200


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", b"nonsense\r\n\r\n"], ids=["", "half", "nonsense"])
def test_an_origin_that_closes_before_its_head_is_a_502(larder, raw_origin, sent):
    def handle(connection, _):
        read_head(connection)
        connection.sendall(sent)

    assert_problem(larder(CONFIG, upstream=raw_origin(handle).url).get("/api/stats"), 502)


class ClosesOnReuse:
    """Answers one request; then, as if its idle time had run out just now, closes on the next. Later connections are good."""

    def __init__(self):
        self.methods = []
        self.first = None  # the first connection that asks: Larder's look at whether anybody is there asks nothing

    def __call__(self, connection, number):
        while head := read_head(connection):
            self.methods.append(head.split(b" ")[0])
            self.first = self.first or number
            if number == self.first and len(self.methods) > 1:
                return
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


def test_an_idempotent_request_on_a_stale_connection_is_tried_once_more(larder, raw_origin):
    handle = ClosesOnReuse()
    proxy = larder(CONFIG, upstream=raw_origin(handle).url)
    assert [proxy.get("/api/search").text for _ in range(2)] == ["ok", "ok"]
    assert len(handle.methods) == 3


def test_a_post_is_never_sent_twice(larder, raw_origin):
    handle = ClosesOnReuse()
    proxy = larder(CONFIG, upstream=raw_origin(handle).url)
    proxy.get("/api/search")
    proxy.request("POST", "/api/search")
    assert handle.methods.count(b"POST") == 1


def test_uvicorns_closing_of_idle_connections_is_never_seen(larder):
    backend = Backend("--timeout-keep-alive", "1")
    try:
        proxy = larder(CONFIG, upstream=backend.url)
        for _ in range(4):
            assert proxy.get("/api/search").status_code == 200
            time.sleep(1.0)  # what uvicorn waits, to the millisecond where the two cross
    finally:
        backend.stop()


@pytest.mark.any_backend
def test_an_origin_behind_tls_that_hangs_up_after_each_answer_answers_each_time(larder, raw_origin, tmp_path):
    tls, context = Tls(tmp_path), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls.cert, tls.key)

    def answer(connection, _):
        with context.wrap_socket(connection, server_side=True) as wrapped:
            _, path, _ = read_head(wrapped).split(b" ", 2)
            wrapped.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(path), path))

    proxy = larder("routes: {}", upstream=raw_origin(answer).url.replace("http:", "https:"), env=tls.env)
    answers = [proxy.get(f"/{number}") for number in range(30)]
    assert [(answer.status_code, answer.text) for answer in answers] == [(200, f"/{number}") for number in range(30)]
