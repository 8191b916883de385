"""Events that a backend leaves on a stream of the fleet's Redis: what is gone from it holds on every node."""

import re

import httpx
import pytest
import redis

from origin import until
from proxy import ROOT, cached
from test_fleet import CONFIG, PROJECT, Node, between, nodes  # noqa: F401

pytestmark = pytest.mark.any_backend

STREAM = "larder:events"
EVENT = '{"paths": ["/api/projects/42"]}'


@pytest.fixture
def backend_redis(between):  # noqa: F811
    client = redis.Redis.from_url(between.url)
    yield client
    client.close()


@pytest.fixture
def change(origin, backend_redis):
    """Changes the project past the proxies, and tells the stream; gives its new version."""

    def change(event=EVENT):
        response = httpx.put(f"{origin.url}{PROJECT}", json={"name": "new"}, trust_env=False)
        assert response.status_code == 200
        backend_redis.xadd(STREAM, {"event": event})
        return httpx.get(f"{origin.url}{PROJECT}", trust_env=False).json()["version"]

    return change


@pytest.fixture
def is_read(backend_redis):
    return lambda: until(lambda: backend_redis.xlen(STREAM) == 0, "everything is read")


def applied(node):
    """By whom."""
    audit = httpx.get(f"{node.proxy.admin}/v1/invalidations", trust_env=False).json()
    return [entry["actor"] for entry in audit["invalidations"]]


def test_what_is_gone_from_the_stream_holds_on_every_node(nodes, change, is_read):  # noqa: F811
    for turn in range(10):
        for node in nodes:
            node.keeps()
        event = EVENT if turn % 2 else PROJECT
        version = change(event)
        is_read()
        assert {node.version() for node in nodes} == {version}


def test_what_was_said_before_a_node_was_there_is_read(larder, between, backend_redis, is_read):  # noqa: F811
    backend_redis.xadd(STREAM, {"event": EVENT})
    node = Node(larder(CONFIG.format(url=between.url)))
    is_read()
    assert applied(node) == [STREAM]


def test_what_a_reader_left_behind_is_applied(larder, between, backend_redis, change, is_read):  # noqa: F811
    backend_redis.xgroup_create(STREAM, "larder", "0", mkstream=True)
    version = change()
    assert len(backend_redis.xreadgroup("larder", "larder", {STREAM: ">"})) == 1, "and that reader is never heard of again"
    node = Node(larder(CONFIG.format(url=between.url)))
    node.keeps()
    is_read()
    assert node.version() == version and applied(node) == [STREAM]


def test_a_node_that_dies_loses_nothing(nodes, change, is_read):  # noqa: F811
    for node in nodes:
        node.keeps()
    version = change()
    nodes[1].process.kill()
    nodes[1].process.wait()
    nodes[1].proxy.graceful = False
    for _ in range(20):
        version = change()
    is_read()
    assert {nodes[0].version(), nodes[2].version()} == {version}


def test_what_cannot_be_understood_is_counted_and_stands_in_nobodys_way(nodes, backend_redis, change, is_read):  # noqa: F811
    backend_redis.xadd(STREAM, {"event": "{"})
    backend_redis.xadd(STREAM, {"tags": "project:42"})
    backend_redis.xadd(STREAM, {"event": b"\xff" * (17 << 20)})
    version = change()
    is_read()
    assert {node.version() for node in nodes} == {version}
    bad = sum(node.proxy.metric("larder_redis_bad_messages_total") for node in nodes)
    assert bad == 3


def test_a_stream_that_was_deleted_is_read_again(nodes, backend_redis, change, is_read):  # noqa: F811
    backend_redis.delete(STREAM)
    version = change()
    is_read()
    assert {node.version() for node in nodes} == {version}
    backend_redis.flushall()
    version = change()
    is_read()
    assert {node.version() for node in nodes} == {version}
    assert cached(nodes[0].get()) in ("HIT", "MISS")


def test_a_user_with_what_the_readme_grants_reads_everything(larder, between, backend_redis, change, is_read):  # noqa: F811
    (rule,) = re.findall(r"^ACL (SETUSER .*)$", (ROOT / "README.md").read_text(), re.MULTILINE)
    backend_redis.execute_command("ACL", *rule.split())
    url = between.url.replace("//", "//larder:PASSWORD@")
    node = Node(larder(CONFIG.format(url=url)))
    node.keeps()
    version = change()
    is_read()
    assert node.version() == version and node.write() == "applied"
