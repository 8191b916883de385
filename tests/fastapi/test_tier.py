"""Three proxies before one backend that share what they fetched, over a Redis that is killed, emptied and misconfigured."""

import threading

import httpx
import pytest
import redis
from origin import until
from proxy import cached
from test_fleet import CONFIG, PROJECT, Node, between, nodes  # noqa: F401

pytestmark = pytest.mark.any_backend

# Nobody waits for the tier beyond its deadline, and a busy machine may miss that.
TRIES = 20


def tier(response):
    return "detail=tier" in response.headers["cache-status"]


def told(one, other, origin):
    """`one` has fetched what is new, and `other`, which never had it, answers with it: it, and the origin's count before."""
    for _ in range(TRIES):
        stored = lambda: one.proxy.metric("larder_tier_fills_total", result="stored")  # noqa: E731
        before = stored()
        assert one.write() == "applied"
        one.keeps()
        until(lambda: stored() > before, "Redis has it")
        count = origin.count(PROJECT)
        response = other.get()
        if tier(response):
            return response, count
    raise AssertionError("it is never in time")


def test_what_one_node_has_fetched_another_answers_without_asking_the_origin(nodes, origin):
    response, before = told(nodes[0], nodes[1], origin)
    assert cached(response) == "HIT" and response.json()["version"] == nodes[0].version()
    assert origin.count(PROJECT) == before
    again = nodes[1].get()
    assert cached(again) == "HIT" and not tier(again) and again.headers["etag"] == response.headers["etag"]


def test_a_node_that_is_restarted_answers_its_first_request_from_the_tier(nodes, larder, between, origin):
    for _ in range(TRIES):
        told(nodes[0], nodes[1], origin)
        count = origin.count(PROJECT)
        late = Node(larder(CONFIG.format(url=between.url)))
        first = late.get()
        assert first.json()["version"] == nodes[0].version()
        late.proxy.stop()
        if tier(first):
            assert origin.count(PROJECT) == count
            return
    raise AssertionError("it is never in time")


def test_what_is_acknowledged_is_not_told_any_more_though_redis_still_holds_it(nodes, between, origin):
    client = redis.Redis.from_url(between.url)
    refused = lambda: nodes[2].proxy.metric("larder_tier_reads_total", result="outdated")  # noqa: E731
    for turn in range(TRIES):
        told(nodes[0], nodes[1], origin)
        before, lies = nodes[0].version(), {name: client.get(name) for name in client.scan_iter("larder:e:*")}
        asked = refused()
        assert nodes[turn % 2].write() == "applied"
        assert lies and {name: client.get(name) for name in lies} == lies
        assert nodes[2].version() == before + 1
        if refused() > asked:
            return
    raise AssertionError("it is never in time to be refused")


def test_a_redis_that_is_killed_under_load_fails_no_request_and_is_used_again(nodes, between, origin):
    told(nodes[0], nodes[1], origin)
    seen, ended = [], threading.Event()

    def read(node, path):
        with httpx.Client(base_url=node.proxy.url, headers={"host": "api.example"}, trust_env=False) as client:
            while not ended.is_set():
                seen.append(client.get(path).status_code)

    paths = [PROJECT, "/api/projects/1"]
    readers = [threading.Thread(target=read, args=(node, path)) for node in nodes for path in paths]
    for reader in readers:
        reader.start()
    between.kill()
    until(lambda: all(node.fleet()["node"]["error"] for node in nodes), "all notice")
    assert nodes[0].write() == "unconfirmed"
    newest = nodes[0].version()
    # Nobody confirmed it: until then the others may serve what they keep.
    until(lambda: all(node.fleet()["node"]["lease_left"] == 0 for node in nodes), "no lease is left")
    between.start()
    for node in nodes:
        node.keeps()
    ended.set()
    for reader in readers:
        reader.join()
    assert len(seen) > 100 and max(seen) < 500, sorted(set(seen))
    assert {node.version() for node in nodes} == {newest}
    told(nodes[1], nodes[2], origin)


def test_a_redis_that_is_emptied_takes_nothing_along_and_brings_nothing_back(nodes, between, origin):
    client = redis.Redis.from_url(between.url)
    told(nodes[0], nodes[1], origin)
    before, journal = nodes[0].version(), nodes[0].fleet()["journal"]["epoch"]
    lies = {name: (client.dump(name), client.pttl(name)) for name in client.scan_iter("larder:e:*")}
    client.flushall()
    until(lambda: all(node.fleet()["journal"]["epoch"] != journal for node in nodes), "another epoch")
    assert nodes[0].write() == "applied"
    for name, (value, left) in lies.items():
        client.restore(name, left, value)
    assert {node.version() for node in nodes} == {before + 1}
    told(nodes[1], nodes[2], origin)


def test_a_redis_that_may_evict_leases_carries_no_fleet_and_says_so(nodes, between, origin):
    client = redis.Redis.from_url(between.url)
    told(nodes[0], nodes[1], origin)
    before = nodes[0].version()
    client.config_set("maxmemory-policy", "allkeys-lru")
    until(lambda: all("allkeys-lru" in (node.fleet()["node"]["error"] or "") for node in nodes), "all say so")
    until(lambda: not any(node.fleet()["node"]["lease_left"] for node in nodes), "their leases are over")
    assert nodes[0].write() == "unconfirmed"
    for node in nodes:
        response = node.get()
        assert cached(response) == "MISS" and response.json()["version"] == before + 1
        until(lambda: node.proxy.metric("larder_fleet_away", reason="evicts") == 1, "and so do metrics")
    assert "maxmemory-policy allkeys-lru" in nodes[1].proxy.stderr()
    client.config_set("maxmemory-policy", "volatile-lru")
    for node in nodes:
        node.keeps()
        assert node.proxy.metric("larder_fleet_away") == 0
    assert nodes[0].write() == "applied"
    told(nodes[1], nodes[2], origin)
