"""A fleet over Redis servers that stand in for one another: what was acknowledged holds, whichever of them is lost."""

import collections
import contextlib
import threading
import time

import httpx
import pytest

from origin import until
from proxy import cached
from servers import Cluster, Sentinels, Server
from test_fleet import Node

CONFIG = """
hosts: [api.example]
routes: {{ "/api/projects/{{id}}": 1h }}
invalidation: {{ settle: 10ms, debounce: 5ms }}
redis: {{ {where}, replicas: 1, subscribe: cache:invalidate, ack_timeout: 2s }}
"""

#: Seconds of the load after everything is as it should be.
CALM = 1.0


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
        until(lambda: self.applied() > acks + 20 and self.hits > hits + 50, "it goes on as before")

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
    """The primary is lost, another takes over, and all goes on; gives the one that was lost, and how long it took."""
    lost = servers.primary()
    since = time.monotonic()
    how(lost)
    until(lambda: servers.primary() not in (lost, None), "another takes over")
    taken_over = time.monotonic() - since
    if servers.primary().info("replication")["connected_slaves"] == 0:
        # It is the last copy, and nothing counts that only one has: the one that was lost is started again.
        lost.start()
    load.goes_well()
    print(f"taken over after {taken_over:.1f} s, as before after {time.monotonic() - since:.1f} s")
    return lost


def test_a_primary_that_is_killed_under_load_takes_nothing_along_that_was_acknowledged(servers, larder):
    nodes = fleet(larder, servers)
    with Load(nodes) as load:
        load.goes_well()
        lose(servers, load, Server.kill)
        until(lambda: all(n.proxy.metric("larder_redis_connected") == 1 for n in nodes), "the channels are heard")
        assert servers.primary().client.publish("cache:invalidate", "/api/projects/200") >= 0
        load.goes_well()
    load.holds()
    print(load.acks, load.reads, load.hits)
    assert len(nodes[0].fleet()["nodes"]) == 2
