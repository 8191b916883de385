"""Bodies of any size and pace, in both directions."""

import hashlib

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from origin import read_head
from proxy import cached

MIB = 1 << 20
GROWTH = 50 * MIB  # "constant" for a body of 100 MiB

PASS = "routes: { /api/events: 1h, /api/projects: 1m }"


@pytest.mark.parametrize("framing", ["content-length", "chunked"])
def test_an_upload_of_100_mib_passes_in_constant_memory(larder, framing):
    proxy = larder(PASS)
    block = bytes(range(256)) * 256
    headers = {"Content-Length": str(100 * MIB)} if framing == "content-length" else {}
    before = proxy.peak_memory()
    blocks = (block for _ in range(100 * MIB // len(block)))
    sent = proxy.request("POST", "/api/echo", content=blocks, headers=headers, timeout=60).json()
    assert sent["size"] == 100 * MIB
    assert sent["sha256"] == hashlib.sha256(block * (100 * MIB // len(block))).hexdigest()
    assert proxy.peak_memory() - before < GROWTH


def test_a_chunked_download_of_100_mib_passes_in_constant_memory(larder):
    proxy = larder("routes: { /api/download: 1h }")
    before = proxy.peak_memory()
    with proxy.client.stream("GET", "/api/download?mib=100", timeout=60) as response:
        assert sum(len(part) for part in response.iter_raw()) == 100 * MIB
    assert proxy.peak_memory() - before < GROWTH
    again = proxy.get("/api/download?mib=100", Range="bytes=0-0")
    assert cached(again) != "HIT"  # larger than `entry`


def test_events_arrive_one_by_one(larder, origin):
    proxy = larder(PASS)
    for _ in range(2):  # a route with a ttl does not make a stream cacheable
        with proxy.client.stream("GET", "/api/events") as response:
            lines = (line for line in response.iter_lines() if line)
            for number in range(3):
                assert next(lines) == f"data: {number}"
                origin.step()
            assert next(lines, None) is None
    assert origin.count("/api/events") == 2


def test_a_websocket_passes(larder):
    proxy = larder(PASS)
    with connect(f"ws://127.0.0.1:{proxy.port}/api/ws", proxy=None) as socket:
        for text in ("one", "two"):
            socket.send(text)
            assert socket.recv(timeout=10) == f"echo {text}"


def test_websockets_can_be_turned_off(larder):
    proxy = larder("upgrades: off")
    with pytest.raises(InvalidStatus):
        connect(f"ws://127.0.0.1:{proxy.port}/api/ws", proxy=None, open_timeout=10)


DYING = {
    "content-length": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789",
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n",
}


@pytest.mark.parametrize("framing", DYING)
def test_of_an_origin_that_dies_in_mid_body_the_client_sees_the_cut_and_nothing_is_stored(larder, raw_origin, framing):
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole"

    def handle(connection, _):
        while read_head(connection):
            handle.asked += 1
            if handle.asked == 1:
                return connection.sendall(DYING[framing])
            connection.sendall(whole)

    handle.asked = 0
    proxy = larder("routes: { /api/projects: 1h }", upstream=raw_origin(handle).url)
    with pytest.raises(httpx.RemoteProtocolError):
        proxy.get("/api/projects")
    after = proxy.get("/api/projects")
    assert after.content == b"whole" and cached(after) == "MISS"
    assert handle.asked == 2
