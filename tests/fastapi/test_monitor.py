"""The monitor with the real binary: a backend that gets slow, a hit ratio that drops, alerts received by a real server."""

import http.server
import itertools
import json
import threading

import httpx
import pytest

from origin import until

CONFIG = """
routes: { /api/search: 1h, "/api/projects/{id}": 1h }
log: { access: off }
monitor: { every: 200ms, %s, webhook: "%s" }
"""


class SlowOrigin:
    """A backend whose answers take `pause` seconds."""

    def __init__(self):
        self.pause = 0
        origin = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                threading.Event().wait(origin.pause)
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def stop(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


class Receiver:
    """An HTTP server that keeps what is posted to it, and answers the first `failures` posts with 503."""

    def __init__(self, failures=0):
        self.posts, self.refused = [], failures
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if receiver.refused:
                    receiver.refused -= 1
                    self.send_response(503)
                else:
                    receiver.posts.append((self.path, json.loads(body)))
                    self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/alerts/secret"

    def told(self):
        return [(post["alert"], post["state"]) for _, post in self.posts]

    def stop(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def receiver(request):
    receiver = Receiver(getattr(request, "param", 0))
    yield receiver
    receiver.stop()


@pytest.fixture
def slow_origin():
    origin = SlowOrigin()
    yield origin
    origin.stop()


def monitor(proxy):
    return httpx.get(f"{proxy.admin}/v1/monitor", trust_env=False).json()


class Client(threading.Thread):
    """Asks without end: for what `next` says."""

    def __init__(self, proxy, following):
        super().__init__()
        self.proxy, self.following, self.over = proxy, following, threading.Event()
        self.start()

    def run(self):
        with httpx.Client(base_url=self.proxy.url, trust_env=False) as client:
            while not self.over.is_set():
                client.get(self.following())

    def stop(self):
        self.over.set()
        self.join()


def test_a_hit_ratio_that_drops_is_one_alert_and_its_end_another(larder, receiver):
    proxy = larder(CONFIG % ("target_hit_ratio: 0.9", receiver.url))
    numbers = itertools.count()
    dropped = threading.Event()
    client = Client(proxy, lambda: f"/api/search?q={next(numbers)}" if dropped.is_set() else "/api/search")
    try:
        until(lambda: len(monitor(proxy)["windows"]) >= 4, "four windows")
        assert receiver.told() == []
        dropped.set()
        until(lambda: receiver.told() == [("hit-ratio", "firing")], "the alert")
        assert proxy.metric("larder_alert", alert="hit-ratio") == 1
        dropped.clear()
        until(lambda: receiver.told() == [("hit-ratio", "firing"), ("hit-ratio", "resolved")], "its end")
        assert proxy.metric("larder_alert", alert="hit-ratio") == 0
        windows = len(receiver.posts)
        until(lambda: len(monitor(proxy)["windows"]) >= 30, "many more windows")
        assert len(receiver.posts) == windows == 2
    finally:
        client.stop()
    path, post = receiver.posts[0]
    assert path == "/alerts/secret"
    assert post["value"] < 0.9 == post["target"] and post["route"] == "/api/search" and str(proxy.port) in post["node"]
    log = proxy.stderr()
    assert log.count("the hit ratio is") == 2 and log.count("WARN") == 1 and "secret" not in log


def test_a_backend_that_gets_slow_is_one_alert(larder, receiver, slow_origin):
    targets = "target_latency: 200ms, alerts: latency"
    proxy = larder((CONFIG % (targets, receiver.url)).replace("200ms, target", "1s, target"), upstream=slow_origin.url)
    numbers = itertools.count()

    def one_in_eight_is_new():
        number = next(numbers)
        return f"/api/search?q={number}" if number % 8 == 0 else "/api/search"

    clients = [Client(proxy, one_in_eight_is_new) for _ in range(4)]
    try:
        until(lambda: len(monitor(proxy)["windows"]) >= 3, "three windows")
        assert receiver.told() == []
        slow_origin.pause = 0.4
        until(lambda: receiver.told() == [("latency", "firing")], "the alert")
        slow_origin.pause = 0
        until(lambda: receiver.told() == [("latency", "firing"), ("latency", "resolved")], "its end")
    finally:
        for client in clients:
            client.stop()
    slowest = max(monitor(proxy)["windows"], key=lambda window: (window["all"]["misses"] or {"p50": 0})["p50"])
    assert slowest["all"]["misses"]["p50"] > 0.3 > 0.2 > slowest["all"]["hits"]["p50"]
    assert slowest["tiers"]["origin"]["concurrency"] > 0.3
    assert receiver.posts[0][1]["value"] > 0.2 == receiver.posts[0][1]["target"]


@pytest.mark.parametrize("receiver", [2], indirect=True)
def test_a_receiver_that_fails_twice_is_told_all_the_same(larder, receiver):
    proxy = larder(CONFIG % ("target_hit_ratio: 0.9", receiver.url))
    numbers = itertools.count()
    client = Client(proxy, lambda: f"/api/search?q={next(numbers)}")
    try:
        until(lambda: receiver.told() == [("hit-ratio", "firing")], "the alert, at the third try")
    finally:
        client.stop()
    assert receiver.refused == 0
    until(lambda: proxy.metric("larder_alert_posts_total", result="delivered") == 1, "it is counted")


def test_a_receiver_that_is_not_there_is_logged_once(larder):
    proxy = larder(CONFIG % ("target_hit_ratio: 0.9, alerts: hit-ratio", "http://127.0.0.1:1/"))
    numbers = itertools.count()
    client = Client(proxy, lambda: f"/api/search?q={next(numbers)}")
    try:
        until(lambda: proxy.metric("larder_alert", alert="hit-ratio") == 1, "the alert")
    finally:
        client.stop()
    until(lambda: "alerts do not reach monitor.webhook" in proxy.stderr(), "it is given up")
    assert proxy.stderr().count("alerts do not reach") == 1
    assert proxy.metric("larder_alert_posts_total", result="failed") == 1
