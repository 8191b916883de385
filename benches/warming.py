#!/usr/bin/env python3
"""Do clients notice that 10,000 routes are being warmed? Their latency, hits and misses apart, with and without such a run.

    benches/warming.py                 about two minutes; needs `cargo build --release`, and Python 3.11
    benches/warming.py --larder PATH   another binary
    benches/warming.py --seconds 5     shorter stretches

The origin takes 20 ms for an answer and works on 16 at a time; so does `limits.upstream_concurrency`. Clients ask at fixed times, 200
hits and 100 misses a second, whatever became of the request before: what is measured is from when a request was due to the last byte
of its answer. Warming takes half of the slots at most, so `concurrency: 64` is as much as there can be.
"""

import argparse
import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROUTES, SLOTS, TAKES = 10_000, 16, 0.020
HITS, MISSES, HOT = 200, 100, 100
CONFIG = """
upstream: http://127.0.0.1:{origin}
listen: 127.0.0.1:{port}
admin: {{ listen: 127.0.0.1:{admin} }}
log: {{ access: off }}
shutdown: {{ delay: 0s, timeout: 5s }}
limits: {{ upstream_concurrency: {slots} }}
routes: {{ "/{{rest:path}}": 1h }}
warm: {{ concurrency: {concurrency} }}
"""
TASK = {"id": "all", "get": "/warm/{n}", "for_each": "/list", "select": "$[*]", "limit": ROUTES}


async def origin(port: int) -> None:
    slots = asyncio.Semaphore(SLOTS)
    listing = json.dumps(list(range(ROUTES))).encode()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError), contextlib.closing(writer):
            while True:
                path = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1]
                async with slots:
                    await asyncio.sleep(TAKES)
                body = listing if path == b"/list" else b'{"items": []}'
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    async with await asyncio.start_server(serve, "127.0.0.1", port) as server:
        await server.serve_forever()


class Clients:
    """As many connections as it takes, each for one request at a time."""

    def __init__(self, port: int):
        self.port, self.idle, self.asked = port, [], 0

    async def ask(self, path: str, due: float) -> float:
        """Seconds from when it was due to its end."""
        reader, writer = self.idle.pop() if self.idle else await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
        self.idle.append((reader, writer))
        return time.perf_counter() - due

    async def stretch(self, seconds: float) -> dict[str, list[float]]:
        async def steadily(rate: int, path) -> list[float]:
            asking, begin = [], time.perf_counter()
            for nth in range(int(rate * seconds)):
                due = begin + nth / rate
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                asking.append(asyncio.create_task(self.ask(path(nth), due)))
            return await asyncio.gather(*asking)

        def missed(_: int) -> str:
            self.asked += 1
            return f"/miss/{self.asked}"

        hits, misses = await asyncio.gather(steadily(HITS, lambda nth: f"/hot/{nth % HOT}"), steadily(MISSES, missed))
        return {"hits": hits, "misses": misses}


def told(admin: int, path: str, body: dict | None = None) -> dict:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{admin}{path}", data, {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request, timeout=10))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


async def listens(port: int) -> None:
    for _ in range(500):
        with contextlib.suppress(OSError):
            (await asyncio.open_connection("127.0.0.1", port))[1].close()
            return
        await asyncio.sleep(0.02)
    raise SystemExit(f"nobody listens at {port}")


def row(name: str, took: dict[str, list[float]], note: str) -> None:
    def at(which: str, share: float) -> float:
        return sorted(took[which])[int(share * (len(took[which]) - 1))] * 1000

    cells = [at(which, share) for which in ("hits", "misses") for share in (0.5, 0.99)]
    print(f"{name:28}" + "".join(f"{cell:10.2f}" for cell in cells) + f"   {note}", flush=True)


async def measure(larder: Path, concurrency: int, seconds: float, folder: Path, origin_port: int) -> None:
    port, admin = free_port(), free_port()
    file = folder / f"{concurrency}.yaml"
    file.write_text(CONFIG.format(origin=origin_port, port=port, admin=admin, slots=SLOTS, concurrency=concurrency))
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen([larder, "run", "--config", file], stdout=log, stderr=log)
    try:
        await listens(port)
        clients = Clients(port)
        for nth in range(HOT):
            await clients.ask(f"/hot/{nth}", time.perf_counter())
        await clients.stretch(1)
        row("nothing is warmed", await clients.stretch(seconds), "")
        told(admin, "/v1/warm/tasks", TASK)
        run = told(admin, "/v1/warm", {"tasks": ["all"]})["run"]
        while told(admin, f"/v1/warm/{run}")["total"] < ROUTES:
            await asyncio.sleep(0.05)
        before = told(admin, f"/v1/warm/{run}")["done"]
        took = await clients.stretch(seconds)
        report = told(admin, f"/v1/warm/{run}")
        rate = (report["done"] - before) / seconds
        note = f"{rate:.0f} routes a second, {report['failed']} failed, {report['state']} at the end"
        row(f"10,000 routes, {concurrency} at once", took, note)
        row("nothing is warmed", await clients.stretch(seconds), "") if report["state"] != "running" else None
    finally:
        process.terminate()
        process.wait(20)


async def compare(larder: Path, seconds: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        backend = subprocess.Popen([sys.executable, __file__, "--origin", str(port)])
        try:
            await listens(port)
            print(f"{'ms':28}{'hit p50':>10}{'hit p99':>10}{'miss p50':>10}{'miss p99':>10}")
            for concurrency in (4, 64):
                await measure(larder, concurrency, seconds, Path(folder), port)
        finally:
            backend.terminate()
            backend.wait(5)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = Path(__file__).resolve().parent.parent
    parser.add_argument("--larder", type=Path, default=root / "target/release/larder")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--origin", type=int, help=argparse.SUPPRESS)
    said = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(origin(said.origin) if said.origin else compare(said.larder, said.seconds))
