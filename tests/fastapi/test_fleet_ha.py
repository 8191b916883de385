"""A fleet over Redis servers that stand in for one another: what was acknowledged holds, whichever of them is lost."""

import collections
import random
import threading
import time

import httpx
import pytest

from origin import until
from proxy import cached
from servers import COMMANDS, USER, Cluster, Sentinels, Server, Tls
from test_fleet import Node

pytestmark = pytest.mark.any_backend

CONFIG = """
hosts: [api.example]
routes: {{ "/api/projects/{{id}}": 1h }}
invalidation: {{ settle: 10ms, debounce: 5ms }}
redis: {{ {where}, replicas: 1, subscribe: cache:invalidate, ack_timeout: 1s }}
"""

#: Servers that are lost, one after the other, where there is time.
LOSSES = 4

#: How a server is lost, and how it comes back.
KILLED, STOPPED = (Server.kill, Server.start), (Server.stop, Server.go_on)


class Load:
    """Readers and writers through every node. What a write was told `applied` no read that began later may miss."""

    def __init__(self, nodes, paths=4):
        self.nodes, self.paths = nodes, [f"/api/projects/{200 + n}" for n in range(paths)]
        self.acknowledged = collections.Counter()
        self.acks, self.reads, self.hits, self.wrong = collections.Counter(), 0, 0, []
        self.lock, self.over = threading.Lock(), threading.Event()
        work = [(self._write, node, n) for n, node in enumerate(nodes)]
        work += [(self._read, node, n) for node in nodes for n in range(2)]
        self.threads = [threading.Thread(target=what, args=arguments) for what, *arguments in work]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()

    def applied(self):
        return self.acks["applied"]

    def _client(self, node):
        headers = {"host": "api.example"}
        return httpx.Client(base_url=node.proxy.url, trust_env=False, timeout=15, headers=headers)

    def _write(self, node, nth):
        with self._client(node) as client:
            while not self.over.is_set():
                for path in self.paths[nth :: len(self.nodes)]:
                    answer = client.put(path, json={})
                    with self.lock:
                        ack = answer.headers.get("larder-ack")
                        self.acks[ack] += 1
                        if answer.status_code != 200:
                            self.wrong.append(f"PUT {path}: {answer.status_code} {answer.text}")
                        elif ack == "applied":
                            version = answer.json()["version"]
                            self.acknowledged[path] = max(self.acknowledged[path], version)
                time.sleep(0.01)

    def _read(self, node, nth):
        with self._client(node) as client:
            while not self.over.is_set():
                for path in self.paths:
                    at_least = self.acknowledged[path]
                    answer = client.get(path)
                    with self.lock:
                        self.reads += 1
                        self.hits += cached(answer) == "HIT"
                        if answer.status_code != 200:
                            self.wrong.append(f"GET {path}: {answer.status_code} {answer.text}")
                        elif answer.json()["version"] < at_least:
                            what = f"GET {path}: {answer.json()['version']}, after {at_least} was acknowledged"
                            self.wrong.append(f"{what} ({node.proxy.url}, {cached(answer)})")

    def goes_well(self):
        """Acknowledgements, and answers from memory, have come since this was called."""
        acks, hits = self.applied(), self.hits
        until(lambda: self.applied() > acks + 20 and self.hits > hits + 50, "it goes on as before", within=60)

    def holds(self):
        assert not self.wrong, self.wrong[:5]


def fleet(larder, servers, count=2):
    nodes = [Node(larder(CONFIG.format(where=servers.config), env=servers.env)) for _ in range(count)]
    for node in nodes:
        node.keeps()
    until(lambda: nodes[0].write() == "applied", "it is acknowledged")
    return nodes


@pytest.fixture(params=[Sentinels, Cluster])
def servers(request, tmp_path):
    servers = request.param(tmp_path)
    yield servers
    servers.end()


def lose(servers, load, how):
    """The primary is lost, another takes over, all goes on, and the one that was lost follows."""
    lost, (is_lost, comes_back) = servers.primary(), how
    since = time.monotonic()
    is_lost(lost)
    until(lambda: servers.primary() not in (lost, None), "another takes over")
    taken_over = time.monotonic() - since
    is_last = servers.primary().info("replication")["connected_slaves"] == 0
    if is_last:
        # Nothing counts that only one has.
        comes_back(lost)
    load.goes_well()
    print(f"taken over after {taken_over:.1f} s, as before after {time.monotonic() - since:.1f} s")
    if not is_last:
        comes_back(lost)
    # Sentinels take some ten seconds to tell it.
    until(lambda: lost.info("replication").get("master_link_status") == "up", "it follows", within=60)


def test_a_primary_that_is_killed_under_load_takes_nothing_along_that_was_acknowledged(servers, larder):
    nodes = fleet(larder, servers)
    with Load(nodes) as load:
        load.goes_well()
        lose(servers, load, KILLED)
        until(lambda: all(n.proxy.metric("larder_redis_connected") == 1 for n in nodes), "the channels are heard")
        assert servers.primary().client.publish("cache:invalidate", "/api/projects/200") >= 0
        load.goes_well()
    load.holds()
    print(load.acks, load.reads, load.hits)
    # One that began to register while the primary changed may be left over, shut out.
    until(lambda: sum(not node["shut_out"] for node in nodes[0].fleet()["nodes"]) == 2, "they are two")


@pytest.mark.long
def test_nothing_that_was_acknowledged_is_lost_whichever_servers_die_or_stand_still(servers, larder):
    nodes, dice = fleet(larder, servers, 3), random.Random(1)
    with Load(nodes) as load:
        load.goes_well()
        for _ in range(LOSSES):
            lose(servers, load, dice.choice([KILLED, STOPPED]))
            load.goes_well()
    load.holds()
    print(load.acks, load.reads, load.hits)


def test_an_old_primary_that_goes_on_alone_confirms_nothing(larder, tmp_path):
    servers = Sentinels(tmp_path)
    try:
        old = servers.primary()
        # It is one of the fleet, and sees nothing but the old primary.
        where = f'url: "redis://larder:pass@127.0.0.1:{old.port}"'
        beside = Node(larder(CONFIG.format(where=where)))
        node = fleet(larder, servers, 1)[0]
        until(lambda: beside.write() == "applied", "they are one fleet")
        beside.keeps()
        old.stop()
        until(lambda: servers.primary() is not old, "another takes over")
        until(lambda: servers.primary().info("replication")["connected_slaves"] == 1, "the other replica follows it")
        until(lambda: node.write() == "applied", "it goes on without the old one")
        # Nobody tells the old one that it is replaced.
        for sentinel in servers.sentinels:
            sentinel.stop()
        old.go_on()
        assert old.info("replication")["role"] == "master"
        for _ in range(3):
            assert node.write() == "applied"
            acknowledged = node.version()
            assert beside.version() == acknowledged and cached(beside.get()) != "HIT"
            assert beside.write() == "unconfirmed"
        assert old.info("replication")["role"] == "master"
    finally:
        servers.end()


def test_a_single_server_over_tls_needs_no_more_of_its_user_than_the_readme_says(larder, tmp_path, origin):
    tls = Tls(tmp_path)
    server = Server(tmp_path, ["--save", "", "--user", *USER.split()], tls)
    try:
        # What several servers need, and another database, is not asked for here.
        for command in ("+role", "+cluster|slots", "+select"):
            assert command in COMMANDS
            server.client.execute_command("ACL", "SETUSER", "larder", command.replace("+", "-"))
        where = f'url: "rediss://larder:pass@127.0.0.1:{server.port}", replicas: 0'
        config = CONFIG.replace("replicas: 1, ", "").format(where=where)
        one, other = (Node(larder(config, env=tls.env)) for _ in range(2))
        for node in (one, other):
            node.keeps()
        until(lambda: one.write() == "applied", "it is acknowledged")
        other.keeps()
        before = other.version()
        assert one.write() == "applied" and other.version() == before + 1
        assert server.client.publish("cache:invalidate", "/api/projects/42") == 2
        assert [entry["username"] for entry in server.client.acl_log()] == []
        stranger = Node(larder(config, upstream=origin.url))
        until(lambda: stranger.fleet()["node"]["error"], "an authority that it does not know is no authority")
    finally:
        server.end()
