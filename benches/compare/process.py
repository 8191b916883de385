"""A server under measurement: a process tree on one core, its CPU time and its memory, ended by pid."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
START_SECONDS = 10
STOP_SECONDS = 5


class Failed(Exception):
    """What went wrong, as a sentence for the person who ran the comparison."""


class Process:
    """Runs `command` on `core`, waits until `port` accepts, and keeps what it says in `log`."""

    def __init__(self, name: str, command: list[str], core: int, port: int, log: Path):
        self.name, self.log = name, log
        with log.open("wb") as out:
            # A session of its own: Ctrl-C reaches the script, which then ends the servers in order.
            self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=log.parent,
                                          env=plain_environment(), start_new_session=True,
                                          preexec_fn=lambda: os.sched_setaffinity(0, {core}))
        try:
            self._await(port)
        except BaseException:
            self.stop()
            raise

    def _await(self, port: int) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.child.poll() is not None:
                raise Failed(f"{self.name} ended at once (exit {self.child.returncode}): {self._last_words()}")
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise Failed(f"{self.name} does not listen after {START_SECONDS} s: {self._last_words()}")

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return " / ".join(lines[-3:]) or "it said nothing"

    def tree(self) -> list[int]:
        """All processes of the session that this server was started in: itself and its workers."""
        pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
        return [pid for pid in pids if (fields := stat(pid)) and int(fields[3]) == self.child.pid]

    def cpu_seconds(self) -> float:
        """User and system time of the tree since it started."""
        if self.child.poll() is not None:
            raise Failed(f"{self.name} died (exit {self.child.returncode}): {self._last_words()}")
        return sum(int(fields[11]) + int(fields[12]) for pid in self.tree() if (fields := stat(pid))) / TICKS

    def memory_bytes(self) -> int:
        """Resident memory of the tree; pages that its processes share are counted once."""
        total = 0
        for pid in self.tree():
            try:
                rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            except OSError:
                continue
            total += sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) * 1024
        return total

    def stop(self) -> None:
        self.child.terminate()
        try:
            self.child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        for pid in self.tree():     # workers that outlived their parent
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name, from the third (state) on; empty if the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def plain_environment() -> dict[str, str]:
    """The environment without what would configure a contender, such as REDIS_URL or CACHE_TTL."""
    return {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "LANG": "C"}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
