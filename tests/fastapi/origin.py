"""What stands behind the proxy: the FastAPI app under uvicorn, or a bare socket that misbehaves as told."""

import contextlib
import fcntl
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx

HERE = Path(__file__).parent
DEADLINE = 60.0  # seconds, for anything that should take milliseconds


#: What keeps other tests away from the ports of this one, until the process ends.
_held = []


def free_port():
    """A port below those that the system hands out, which nobody else who asks here gets, in whatever process."""
    for port in random.sample(range(20_000, 30_000), 10_000):
        lock = (Path(tempfile.gettempdir()) / f"larder-test-port-{port}").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            lock.close()
            continue
        _held.append(lock)
        return port
    raise AssertionError("no free port")


def until(condition, what, within=DEADLINE):
    """Asks until `condition()` gives something true, and gives that."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.01)
    raise AssertionError(f"not within {within} s: {what}")


class Backend:
    """`app.py` under uvicorn; every method speaks to its control desk, past the proxy."""

    def __init__(self, *uvicorn_args):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "uvicorn", "app:app", "--app-dir", str(HERE)]
        command += ["--host", "127.0.0.1", "--port", str(self.port), "--log-level", "warning", *uvicorn_args]
        self.process = subprocess.Popen(command)
        self.desk = httpx.Client(base_url=f"{self.url}/_", trust_env=False, timeout=DEADLINE)
        until(self._answers, "uvicorn listens")

    def _answers(self):
        assert self.process.poll() is None, "uvicorn ended"
        with contextlib.suppress(httpx.TransportError):
            return self.desk.get("/seen").is_success

    def stop(self):
        self._ask("POST", "/reset")
        self.desk.close()
        self.process.terminate()
        self.process.wait(DEADLINE)

    def reset(self):
        self._ask("POST", "/reset")

    def seen(self, path=None, method=None):
        """What arrived, oldest first; `headers` with lower-case names."""
        arrived = self._ask("GET", "/seen").json()
        for request in arrived:
            request["headers"] = {name.lower(): value for name, value in request["headers"]}
        return [r for r in arrived if path in (None, r["path"]) and method in (None, r["method"])]

    def count(self, path, method=None):
        return len(self.seen(path, method))

    def close_gate(self, on, stage="request", limit=1_000_000):
        """`on` is `GET /path`; `stage` is `request` (before the route runs) or `response` (after)."""
        self._ask("PUT", "/gate", on=on, stage=stage, limit=limit)

    def wait_at_gate(self, on, held=1):
        self._ask("GET", "/gate", on=on, held=held)

    def open_gate(self, on):
        self._ask("DELETE", "/gate", on=on)

    def answer(self, path, status):
        """From now on `path` is answered with `status` alone."""
        self._ask("PUT", "/answer", path=path, status=status)

    def set_job(self, id, status):
        self._ask("PUT", f"/jobs/{id}", status=status)

    def step(self):
        """Lets the event stream go on by one event."""
        self._ask("POST", "/step")

    def _ask(self, method, at, **params):
        return self.desk.request(method, at, params=params).raise_for_status()


class RawOrigin:
    """A socket whose `handle(connection, number)` is called for every connection, counted from 1, in a thread each."""

    def __init__(self, handle):
        self.handle, self.connections = handle, 0
        self.server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.server.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.server.accept()
                connection.settimeout(DEADLINE)
                self.connections += 1
                threading.Thread(target=self._serve, args=(connection, self.connections), daemon=True).start()

    def _serve(self, connection, number):
        with connection, contextlib.suppress(OSError):
            self.handle(connection, number)

    def stop(self):
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()


def read_head(connection):
    """One request head without a body; empty if the other side closed."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        if not byte:
            return b""
        head += byte
    return head
