"""The monitor with the real binary: a backend that gets slow, a hit ratio that drops, alerts received by a real server."""

import contextlib
import http.client
import http.server
import itertools
import json
import signal
import ssl
import threading

import httpx
import pytest

from origin import DEADLINE, until
from servers import Server, Tls

pytestmark = pytest.mark.any_backend

CONFIG = """
routes: { /api/search: 1h, "/api/projects/{id}": 1h }
log: { access: off }
monitor: { every: 500ms, %s, webhook: "%s" }
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
    """An HTTP server that keeps what is posted to it, and answers the first posts as told: a status, or a gate to wait at."""

    def __init__(self, first=(), tls=None):
        self.posts, self.first = [], list(first)
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                answer = receiver.first.pop(0) if receiver.first else 200
                if isinstance(answer, threading.Event):
                    receiver.posts.append((self.path, json.loads(body)))
                    answer.wait()
                    answer = 200
                elif answer != 503:
                    receiver.posts.append((self.path, json.loads(body)))
                self.send_response(answer)
                self.send_header("Content-Length", "0")
                self.send_header("Location", "/elsewhere")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls.cert, tls.key)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.server.server_port}/alerts/secret"

    def told(self, alert=None):
        return [(post["alert"], post["state"]) for _, post in self.posts if alert in (None, post["alert"])]

    def stop(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def receiver(request):
    receiver = Receiver(getattr(request, "param", ()))
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
        # A window says nothing of fewer than twenty reads, however busy the machine is: this one costs little.
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.proxy.port, timeout=DEADLINE)) as connection:
            while not self.over.is_set():
                connection.request("GET", self.following())
                connection.getresponse().read()

    def stop(self):
        self.over.set()
        self.join()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


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
    proxy = larder((CONFIG % (targets, receiver.url)).replace("500ms, target", "1s, target"), upstream=slow_origin.url)
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


@pytest.mark.parametrize("receiver", [(503, 503)], indirect=True)
def test_a_receiver_that_fails_twice_is_told_all_the_same(larder, receiver):
    proxy = larder(CONFIG % ("target_hit_ratio: 0.9", receiver.url))
    numbers = itertools.count()
    client = Client(proxy, lambda: f"/api/search?q={next(numbers)}")
    try:
        until(lambda: receiver.told() == [("hit-ratio", "firing")], "the alert, at the third try")
    finally:
        client.stop()
    assert receiver.first == []
    until(lambda: proxy.metric("larder_alert_posts_total", result="delivered") == 1, "it is counted")


def test_a_receiver_that_is_not_there_or_not_to_be_trusted_is_logged_once(larder, tmp_path):
    stranger = Receiver(tls=Tls(tmp_path))
    try:
        urls = ["http://127.0.0.1:1/", stranger.url]
        proxies = [larder(CONFIG % ("target_hit_ratio: 0.9, alerts: hit-ratio", url)) for url in urls]
        for proxy in proxies:
            numbers = itertools.count()
            with Client(proxy, lambda numbers=numbers: f"/api/search?q={next(numbers)}"):
                until(lambda proxy=proxy: proxy.metric("larder_alert", alert="hit-ratio") == 1, "the alert")
        for proxy in proxies:
            until(lambda proxy=proxy: "alerts do not reach monitor.webhook" in proxy.stderr(), "it is given up", within=30)
            assert proxy.stderr().count("alerts do not reach") == 1
            assert proxy.metric("larder_alert_posts_total", result="failed") == 1
        assert stranger.posts == []
    finally:
        stranger.stop()


def test_a_receiver_is_told_over_tls_if_its_certificate_is_good(larder, tmp_path):
    tls, numbers = Tls(tmp_path), itertools.count()
    receiver = Receiver(tls=tls)
    try:
        trusting = larder(CONFIG % ("target_hit_ratio: 0.9, alerts: hit-ratio", receiver.url), env=tls.env)
        with Client(trusting, lambda: f"/api/search?q={next(numbers)}"):
            until(lambda: receiver.told() == [("hit-ratio", "firing")], "the alert")
    finally:
        receiver.stop()


@pytest.mark.parametrize("receiver", [(302,)], indirect=True)
def test_a_redirect_is_not_followed_and_not_tried_again(larder, receiver):
    proxy = larder(CONFIG % ("target_hit_ratio: 0.9, alerts: hit-ratio", receiver.url))
    numbers = itertools.count()
    with Client(proxy, lambda: f"/api/search?q={next(numbers)}"):
        until(lambda: proxy.metric("larder_alert_posts_total", result="failed") == 1, "it is given up")
    assert [path for path, _ in receiver.posts] == ["/alerts/secret"]
    assert "it answered 302" in proxy.stderr()


def test_nobody_waits_for_a_receiver_that_hangs_and_all_is_told_in_order(larder):
    gate = threading.Event()
    receiver, numbers, is_cold = Receiver([gate]), itertools.count(), threading.Event()
    is_cold.set()
    try:
        proxy = larder(CONFIG % ("target_hit_ratio: 0.9, alerts: hit-ratio", receiver.url))
        with Client(proxy, lambda: f"/api/search?q={next(numbers)}" if is_cold.is_set() else "/api/search"):
            until(lambda: receiver.posts, "the alert hangs")
            is_cold.clear()
            until(lambda: proxy.metric("larder_alert", alert="hit-ratio") == 0, "it ends meanwhile")
            is_cold.set()
            until(lambda: proxy.metric("larder_alerts_total", alert="hit-ratio") == 2, "and begins again")
            gate.set()
            until(lambda: proxy.metric("larder_alert_posts_total", result="delivered") == 3, "all three are told")
    finally:
        gate.set()
        receiver.stop()
    # A post that hung for too long came twice, with the same id.
    ids = list(dict.fromkeys(post["id"] for _, post in receiver.posts))
    assert [id.rsplit("/", 1)[1] for id in ids] == ["firing", "resolved", "firing"]


def test_memory_that_cannot_be_kept_free_and_what_is_thrown_out_for_it_are_alerts(larder, receiver):
    # Two entries are too many and one is not: whenever a window ends, some have come since room was last made.
    limits = 'limits: { entries: 1000, high: 0.2%%, low: 0.15%% }\n' + CONFIG.replace("500ms", "1s")
    proxy = larder(limits % ("alerts: memory evictions", receiver.url))
    numbers, is_cold = itertools.count(), threading.Event()
    is_cold.set()
    following = lambda: f"/api/search?q={next(numbers)}" if is_cold.is_set() else "/api/search"  # noqa: E731
    with Client(proxy, following), Client(proxy, following):
        until(lambda: len(receiver.posts) == 2, "both alerts")
        assert sorted(receiver.told()) == [("evictions", "firing"), ("memory", "firing")]
        is_cold.clear()
        until(lambda: len(receiver.posts) == 4, "their ends")
    assert receiver.told("memory") == [("memory", "firing"), ("memory", "resolved")]
    assert receiver.told("evictions") == [("evictions", "firing"), ("evictions", "resolved")]
    window = monitor(proxy)["windows"][-1]
    assert window["tiers"]["memory"]["used"] < 0.01
    assert window["process"]["resident"] > 2**20


def test_warming_that_fails_is_an_alert_until_it_works(larder, receiver, origin):
    origin.answer("/api/stats", 500)
    tasks = "routes: { /api/stats: 1h }\nwarm: { requests: [{ id: stats, get: /api/stats }] }\n"
    config = tasks + CONFIG.partition("\n")[2].partition("\n")[2] % ("alerts: warming", receiver.url)
    proxy = larder(config)
    until(lambda: receiver.told() == [("warming", "firing")], "the alert")
    origin.answer("/api/stats", 200)
    assert httpx.post(f"{proxy.admin}/v1/warm", json={"tasks": ["stats"]}, trust_env=False).is_success
    until(lambda: receiver.told() == [("warming", "firing"), ("warming", "resolved")], "its end")


@pytest.mark.parametrize("limit", ["entries: 200", "memory: 300KiB, entry: 10KiB"])
def test_limits_hold_while_far_more_comes_in(larder, origin, limit):
    proxy = larder("limits: { %s }\nroutes: { /api/search: 1h }" % limit)
    numbers, seen = itertools.count(), []

    def look():
        held = [proxy.metric(name) for name in ("larder_cache_entries", "larder_cache_bytes")]
        seen.append((*held, proxy.metric("larder_evictions_total", reason="size")))
        return seen[-1][2] > 600

    with Client(proxy, lambda: f"/api/search?q={next(numbers)}"):
        until(look, "three times as much as there is room for was let go", within=60)
    entries, bytes, evicted = zip(*seen)
    if "entries" in limit:
        assert max(entries) <= 200
    else:
        assert max(bytes) <= 300 * 1024
    assert list(evicted) == sorted(evicted)


FLEET = """
redis: { url: "redis://127.0.0.1:%s", lease: 2s }
hosts: [api.example]
"""


def test_redis_that_is_killed_and_acknowledgements_that_take_long_are_alerts(larder, receiver, tmp_path):
    between = Server(tmp_path, ["--save", ""])
    try:
        config = FLEET % between.port + CONFIG % ("alerts: redis acknowledgements", receiver.url)
        one, other = larder(config), larder(FLEET % between.port + CONFIG.partition("monitor")[0])

        def nodes():
            fleet = httpx.get(f"{one.admin}/v1/fleet", trust_env=False).json()
            return sum(not node["shut_out"] for node in fleet["nodes"])

        def purge():
            return httpx.post(f"{one.admin}/v1/purge", json={"tags": ["x"]}, trust_env=False, timeout=DEADLINE)

        until(lambda: nodes() == 2, "both are registered")
        # Each time the other one stands still, an acknowledgement takes as long as its lease, until it is shut out.
        for _ in range(2):
            other.process.send_signal(signal.SIGSTOP)
            purge()
            other.process.send_signal(signal.SIGCONT)
            until(lambda: nodes() == 2, "both are registered again")
        until(lambda: receiver.told() == [("acknowledgements", "firing")], "the alert")

        def purged():
            purge()
            return receiver.told() == [("acknowledgements", "firing"), ("acknowledgements", "resolved")]

        until(purged, "its end")
        between.kill()
        until(lambda: receiver.told("redis") == [("redis", "firing")], "Redis is missed")
        between.start()
        until(lambda: receiver.told("redis") == [("redis", "firing"), ("redis", "resolved")], "Redis is back")
        assert len(receiver.posts) == 4
    finally:
        between.end()
