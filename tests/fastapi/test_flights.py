"""Many requests for one key, and writes in between."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from origin import until
from proxy import cached

CONFIG = """
routes: { "/api/slow": 1h, "/api/says": 1h, "/api/projects/{id}": 1h }
limits: { connections: 4000 }
"""

SLOW = "GET /api/slow"


async def send(proxy, path):
    """Opens a connection, sends the request, and gives what reads the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost:{proxy.port}\r\nConnection: close\r\n\r\n".encode())
    await writer.drain()
    return reader, writer


async def answer(connection):
    reader, writer = connection
    head, _, body = (await asyncio.wait_for(reader.read(), 60)).partition(b"\r\n\r\n")
    writer.close()
    return head.split(b"\r\n")[0], body


async def crowd(proxy, origin, size, leaving):
    origin.close_gate(SLOW)
    leader = await send(proxy, "/api/slow")
    await asyncio.to_thread(origin.wait_at_gate, SLOW)
    others = await asyncio.gather(*(send(proxy, "/api/slow") for _ in range(size - 1)))
    if leaving:
        leader[1].transport.abort()
    others.append(await send(proxy, "/api/slow"))
    origin.open_gate(SLOW)
    staying = others if leaving else [leader, *others]
    return await asyncio.gather(*(answer(connection) for connection in staying))


@pytest.mark.parametrize("leaving", [False, True], ids=["all stay", "the first leaves"])
def test_a_thousand_clients_on_a_cold_slow_key_make_one_origin_request(larder, origin, leaving):
    proxy = larder(CONFIG)
    answers = asyncio.run(crowd(proxy, origin, 1000, leaving))
    assert len(answers) >= 1000
    assert {head for head, _ in answers} == {b"HTTP/1.1 200 OK"}
    assert {body for _, body in answers} == {b'{"query":"","n":1}'}
    assert origin.count("/api/slow") == 1


def test_a_lone_client_that_leaves_does_not_cancel_the_fill(larder, origin):
    proxy = larder(CONFIG)

    async def leave():
        origin.close_gate(SLOW)
        _, writer = await send(proxy, "/api/slow")
        await asyncio.to_thread(origin.wait_at_gate, SLOW)
        writer.transport.abort()

    asyncio.run(leave())
    origin.open_gate(SLOW)
    assert until(lambda: cached(response := proxy.get("/api/slow")) == "HIT" and response, "it is stored").json()["n"] == 1


def test_an_uncacheable_answer_lets_the_next_clients_fetch_side_by_side(larder, origin):
    proxy = larder(CONFIG)
    target = "/api/says?cache_control=no-store"
    assert proxy.get(target).text == "1"
    origin.close_gate("GET /api/says")
    with ThreadPoolExecutor() as pool:
        clients = [pool.submit(lambda: proxy.raw_get(target)[1]) for _ in range(2)]
        origin.wait_at_gate("GET /api/says", held=2)
        origin.open_gate("GET /api/says")
        assert all(client.result() for client in clients)


def test_a_body_fetched_before_a_write_was_answered_is_never_served_after_it(larder, origin):
    proxy = larder(CONFIG)
    origin.close_gate("GET /api/projects/42", stage="response", limit=1)
    with ThreadPoolExecutor() as pool:
        early = pool.submit(proxy.raw_get, "/api/projects/42")
        origin.wait_at_gate("GET /api/projects/42")  # version 0 is on its way
        assert proxy.request("PUT", "/api/projects/42", json={}).json()["version"] == 1
        during = proxy.get("/api/projects/42")
        origin.open_gate("GET /api/projects/42")
        early.result()
    assert during.json()["version"] == 1
    after = until(lambda: (response := proxy.get("/api/projects/42")) and cached(response) == "HIT" and response, "a hit")
    assert after.json()["version"] == 1


def test_the_same_where_the_fetch_is_a_refresh_behind_a_stale_answer(larder, origin):
    proxy = larder('routes: { "/api/projects/{id}": { ttl: 50ms, stale_while_revalidate: 1h } }')
    proxy.get("/api/projects/42")
    origin.close_gate("GET /api/projects/42", stage="response", limit=1)
    until(lambda: cached(proxy.get("/api/projects/42")) == "STALE", "the entry ages")
    origin.wait_at_gate("GET /api/projects/42")
    proxy.request("PUT", "/api/projects/42", json={})
    assert proxy.get("/api/projects/42").json()["version"] == 1
    origin.open_gate("GET /api/projects/42")
    served = []
    until(lambda: served.append(proxy.get("/api/projects/42")) or cached(served[-1]) in ("HIT", "STALE"), "it is kept")
    assert {response.json()["version"] for response in served} == {1}


def test_what_was_read_while_a_write_told_of_its_progress_is_gone_at_its_end(larder, origin):
    proxy = larder('routes: { "/api/imports/{id}": 1h }\ninvalidation: { settle: 10ms }')
    with proxy.client.stream("PUT", "/api/imports/7") as write:
        told = write.iter_raw()
        assert next(told) == b"half, "
        before = until(lambda: cached(r := proxy.get("/api/imports/7")) == "HIT" and r, "it is kept meanwhile")
        assert before.json()["version"] == 0
        origin.step()
        assert b"".join(told) == b"done"
    assert proxy.get("/api/imports/7").json()["version"] == 1
