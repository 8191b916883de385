"""Three proxies before one backend, and a Redis between them: what one of them has acknowledged holds on all."""

import contextlib
import re
import signal
import subprocess
import threading

import httpx
import pytest
import redis

from origin import free_port, until
from proxy import BINARY, ROOT, Larder, cached

pytestmark = pytest.mark.any_backend

CONFIG = """
hosts: [api.example]
routes: {{ "/api/projects/{{id}}": 1h }}
invalidation: {{ settle: 10ms, debounce: 5ms }}
redis: {{ url: "{url}" }}
"""

PROJECT = "/api/projects/42"


class Redis:
    """A `redis-server` of the test's own, with nothing on disk."""

    def __init__(self, folder):
        self.folder, self.port = folder, free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self.start()

    def start(self):
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        client = redis.Redis.from_url(self.url)
        until(lambda: answers(client), "redis-server answers")
        client.close()

    def kill(self):
        self.process.kill()
        self.process.wait()


def answers(client):
    try:
        return client.ping()
    except redis.ConnectionError:
        return False


class Node:
    """A proxy of the fleet, asked under the name that all of them have."""

    def __init__(self, proxy):
        self.proxy, self.process = proxy, proxy.process
        proxy.client.headers["host"] = "api.example"

    def get(self):
        response = self.proxy.get(PROJECT)
        assert response.status_code == 200
        return response

    def version(self):
        return self.get().json()["version"]

    def write(self):
        response = self.proxy.request("PUT", PROJECT, json={"name": "new"})
        assert response.status_code == 200
        return response.headers["larder-ack"]

    def fleet(self):
        return httpx.get(f"{self.proxy.admin}/v1/fleet", trust_env=False).json()

    def purge(self):
        return httpx.post(f"{self.proxy.admin}/v1/purge", json={"paths": ["/api/elsewhere"]}, trust_env=False)

    def operation(self, name):
        return httpx.get(f"{self.proxy.admin}/v1/operations/{name}", trust_env=False).json()["state"]

    def begin_write(self):
        """A write whose answer nobody waits for."""

        def write():
            with contextlib.suppress(httpx.TransportError):
                httpx.put(f"{self.proxy.url}{PROJECT}", headers={"host": "api.example"}, json={}, trust_env=False)

        thread = threading.Thread(target=write)
        thread.start()
        return thread

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.proxy.graceful = False

    def writes(self):
        """How many writes have outdated something here."""
        response = httpx.get(f"{self.proxy.admin}/v1/invalidations", params={"limit": 1000}, trust_env=False)
        return sum(invalidation["source"] == "write" for invalidation in response.json()["invalidations"])

    def keeps(self):
        """It serves what it keeps: it has a lease."""
        until(lambda: cached(self.get()) == "HIT", "it has a lease")


@pytest.fixture
def between(tmp_path):
    server = Redis(tmp_path)
    yield server
    server.kill()


@pytest.fixture
def nodes(larder, between):
    nodes = [Node(larder(CONFIG.format(url=between.url))) for _ in range(3)]
    for node in nodes:
        node.keeps()
    # In a new epoch nobody acknowledges anything for a lease and its margin.
    assert nodes[0].write() == "applied"
    for node in nodes:
        node.keeps()
    return nodes


def test_what_is_warmed_at_start_is_kept(larder, between, origin):
    warming = f"warm: {{ requests: [{{ get: {PROJECT} }}], before_ready: 60s }}"
    node = Node(larder(CONFIG.format(url=between.url) + warming))
    until(lambda: node.fleet()["node"]["lease_left"], "it has a lease")
    assert origin.count(PROJECT) == 1 and cached(node.get()) == "HIT"


def runs(node):
    """The tasks of the runs that a schedule has begun on a node, oldest first."""
    known = httpx.get(f"{node.proxy.admin}/v1/warm", trust_env=False).json()["runs"]
    return [run["run"] for run in reversed(known) if run["trigger"] == "schedule"]


TURNS = """
warm:
  learn: {{ top: 10, every: 2s }}
  requests:
    - {{ id: shared, get: /api/stats, every: 2s }}
    - {{ id: own, get: /api/dashboard, for_users: active, every: 2s }}
"""


def ran(node, task):
    """In how many runs of a schedule a node had this task."""
    count = 0
    for run in runs(node):
        report = httpx.get(f"{node.proxy.admin}/v1/warm/{run}", trust_env=False).json()
        count += any(part["task"] == task for part in report["tasks"])
    return count


@pytest.mark.parametrize("user", ["", "larder:PASSWORD@"], ids=["everything", "the readme's"])
def test_of_all_nodes_one_runs_what_is_scheduled_and_each_what_it_alone_knows(larder, between, origin, user):
    """Also where Redis allows no more than the README asks for."""
    (rule,) = re.findall(r"^ACL (SETUSER larder .*)$", (ROOT / "README.md").read_text(), re.MULTILINE)
    with redis.Redis.from_url(between.url) as client:
        client.execute_command("ACL", *rule.split())
        url = between.url.replace("//", f"//{user}")
        pair = [Node(larder(CONFIG.format(url=url) + TURNS.format())) for _ in range(2)]
        for node in pair:
            node.keeps()
        until(lambda: sum(ran(node, "shared") for node in pair) >= 4, "four of its times have come")
        taken = {key.rsplit(b":", 1)[1] for key in client.scan_iter("{larder}:warm:shared:*")}
        kept = {key.split(b":")[2] for key in client.scan_iter("{larder}:warm:*")}
        assert kept == {b"shared"}, "nobody takes a turn in what each knows by itself"
        assert all(0 < client.pttl(key) <= 600_000 for key in client.scan_iter("{larder}:warm:*"))
        # What was begun meanwhile has its turn, too; a turn is taken before the run begins.
        begun = sum(ran(node, "shared") for node in pair)
        assert len(taken) <= begun <= len(set(client.scan_iter("{larder}:warm:shared:*")))
        for task in ("own", "learn"):
            for node in pair:
                until(lambda node=node, task=task: ran(node, task) >= 2, f"{task} is run by each")
        assert not [entry for entry in client.acl_log() if "warm" in str(entry["object"])]
        between.kill()
        for node in pair:
            before = ran(node, "shared")
            until(lambda node=node, before=before: ran(node, "shared") >= before + 2, "without Redis each runs it")


def test_what_one_node_acknowledges_holds_on_all(nodes):
    before = nodes[0].version()
    for turn in range(30):
        assert nodes[turn % 3].write() == "applied"
        assert {node.version() for node in nodes} == {before + turn + 1}
    journal = nodes[0].fleet()
    assert len(journal["nodes"]) == 3 and sum(node["self"] for node in journal["nodes"]) == 1


def test_a_node_that_stands_still_is_shut_out_and_serves_nothing_older_when_it_goes_on(nodes):
    before = nodes[2].version()
    nodes[2].process.send_signal(signal.SIGSTOP)
    try:
        assert nodes[0].write() == "applied"
        assert nodes[1].version() == before + 1
        assert any(node["shut_out"] for node in nodes[0].fleet()["nodes"])
    finally:
        nodes[2].process.send_signal(signal.SIGCONT)
    assert nodes[2].version() == before + 1
    nodes[2].keeps()
    assert nodes[2].version() == before + 1


def test_a_node_that_is_killed_holds_nobody_up_for_longer_than_its_lease(nodes, larder, between):
    before = nodes[0].version()
    nodes[1].kill()
    assert nodes[0].write() == "applied"
    assert nodes[2].version() == before + 1
    late = Node(larder(CONFIG.format(url=between.url)))
    late.keeps()
    assert nodes[2].write() == "applied"
    assert late.version() == before + 2


def test_a_node_that_leaves_is_waited_for_no_more(nodes):
    nodes[1].proxy.stop()
    until(lambda: len(nodes[0].fleet()["nodes"]) == 2, "it has left")
    assert nodes[0].write() == "applied"


def test_without_redis_everything_is_answered_and_nothing_is_promised_and_afterwards_nothing_older_is_served(nodes, between):
    before = nodes[0].version()
    between.kill()
    assert nodes[0].write() == "unconfirmed"
    assert nodes[0].version() == before + 1, "here it holds at once"
    told = nodes[0].purge()
    assert (told.status_code, told.headers["retry-after"]) == (503, "1"), "whoever purges has to ask again"
    operation = told.json()["operation"]
    assert nodes[0].operation(operation) == "pending" and nodes[1].operation(operation) == "lost"
    purge = subprocess.run([BINARY, "purge", "/api/elsewhere", "--admin", nodes[0].proxy.admin], capture_output=True, text=True)
    assert purge.returncode == 1 and "/v1/operations/" in purge.stderr
    until(lambda: cached(nodes[1].get()) != "HIT" and nodes[1].version() == before + 1, "its lease is over")
    assert nodes[1].get().headers["cache-status"].startswith("larder; fwd=miss"), "what it keeps may not be served"
    between.start()
    for node in nodes:
        node.keeps()
    assert {node.version() for node in nodes} == {before + 1}
    until(lambda: nodes[0].operation(operation) == "applied", "what was purged holds everywhere")
    assert nodes[1].write() == "applied" and nodes[2].purge().json()["ack"] == "applied"
    assert {node.version() for node in nodes} == {before + 2}


@pytest.mark.parametrize("stage", ["response", "request"])
def test_what_a_node_had_forwarded_when_it_was_killed_is_outdated_by_the_others(nodes, origin, stage):
    """Committed before it died, or only long after: nobody serves, or keeps, what is older."""
    on, before = f"PUT {PROJECT}", nodes[1].version()
    known = {node: node.writes() for node in nodes}
    origin.close_gate(on, stage)
    write = nodes[0].begin_write()
    origin.wait_at_gate(on)
    committed = before + (stage == "response")
    assert cached(nodes[1].get()) == "HIT", "nobody has answered it yet"
    nodes[0].kill()
    write.join()
    for node in nodes[1:]:
        until(lambda node=node: node.writes() > known[node], "the orphan is found")
    for _ in range(20):
        for node in nodes[1:]:
            response = node.get()
            assert response.json()["version"] == committed and cached(response) != "HIT", "it may yet be committed"
    origin.open_gate(on)
    until(lambda: nodes[1].version() == before + 1, "it is committed")
    assert nodes[2].version() == before + 1


def test_where_writes_are_closed_nothing_is_forwarded_without_redis(larder, between, origin):
    closed = CONFIG.replace('url: "{url}"', 'url: "{url}", writes_when_down: closed')
    node = Node(larder(closed.format(url=between.url)))
    node.keeps()
    assert node.write() == "applied"
    between.kill()
    until(lambda: cached(node.get()) != "HIT", "its lease is over")
    before = origin.count(PROJECT, "PUT")
    refused = node.proxy.request("PUT", PROJECT, json={"name": "new"})
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert refused.headers["content-type"] == "application/problem+json"
    assert origin.count(PROJECT, "PUT") == before
    between.start()
    until(lambda: node.proxy.request("PUT", PROJECT, json={"name": "new"}).status_code == 200, "writes are forwarded again")
    assert node.write() == "applied"


def broadcasting(larder, between):
    return Node(larder(CONFIG.replace('url: "{url}"', 'url: "{url}", coherence: broadcast').format(url=between.url)))


def test_under_broadcast_a_node_that_stands_still_holds_nobody_up_and_is_told_when_it_goes_on(larder, between):
    nodes = [broadcasting(larder, between) for _ in range(3)]
    for node in nodes:
        node.keeps()
    before = nodes[0].version()
    nodes[2].process.send_signal(signal.SIGSTOP)
    try:
        for turn in range(10):
            assert nodes[0].write() == "broadcast"
            assert nodes[0].version() == before + turn + 1, "here it holds"
        told = nodes[0].purge()
        assert (told.status_code, told.json()["ack"]) == (200, "broadcast")
        until(lambda: nodes[1].version() == before + 10, "who lives is told")
        assert nodes[0].proxy.metric("larder_invalidations_unconfirmed_total") == 0
    finally:
        nodes[2].process.send_signal(signal.SIGCONT)
    until(lambda: nodes[2].version() == before + 10, "it is told in the end")
    for node in nodes:
        node.keeps()
    between.kill()
    for node in nodes:
        until(lambda node=node: node.fleet()["node"]["error"], "Redis is away")
        assert cached(node.get()) == "HIT", "it goes on"
    assert nodes[1].write() == "unconfirmed" and nodes[1].version() == before + 11
    between.start()
    for node in nodes:
        until(lambda node=node: node.version() == before + 11, "another epoch drops what is kept")
        node.keeps()


def test_a_node_that_lives_otherwise_is_let_in_when_the_others_are_dead(larder, between):
    first = Node(larder(CONFIG.format(url=between.url)))
    first.keeps()
    assert first.write() == "applied"
    second = broadcasting(larder, between)
    until(lambda: "coherence: acked" in (second.fleet()["node"]["error"] or ""), "it says why it has not joined")
    assert second.proxy.metric("larder_fleet_away", reason="coherence") == 1
    assert [cached(second.get()) for _ in range(3)].count("HIT") == 0
    assert first.write() == "applied" and second.version() == first.version()
    first.kill()
    second.keeps()
    assert second.fleet()["node"]["error"] is None and second.write() == "broadcast"
