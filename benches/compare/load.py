"""One measured stretch of load: wrk on the load core, the server's CPU time before and after."""

import json
import os
import resource
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from process import Failed, Process, TICKS, plain_environment
from scenario import Scenario, served

CONNECTIONS = 64
WARM_UP_SECONDS = 1
SCRIPT = Path(__file__).with_name("load.lua")


@dataclass(frozen=True)
class Sample:
    requests: int
    cpu_us: float           # of the server's process tree, per request
    rate: float             # requests per second
    p50_ms: float
    p99_ms: float
    busy: float             # share of its core that the server used; near 1: the rate is its own limit, else the load's
    origin: float           # share of the requests that reached the origin
    errors: int             # connect, read, write, timeout, and statuses of 400 and above
    others: float           # share of the machine that neither the servers nor the load used


class Load:
    def __init__(self, wrk: str, core: int, origin: Process, origin_port: int):
        self.wrk, self.core, self.origin, self.origin_port = wrk, core, origin, origin_port

    def sample(self, server: Process, port: int, scenario: Scenario, seconds: int) -> Sample:
        """Asks `server` for `seconds`, after a stretch that does not count."""
        self._run(scenario, port, WARM_UP_SECONDS)
        heard, cpu, all_cpu, machine = served(self.origin_port), server.cpu_seconds(), self._ours(server), machine_seconds()
        start = time.monotonic()
        told = self._run(scenario, port, seconds)
        wall = time.monotonic() - start
        cpu = server.cpu_seconds() - cpu
        all_cpu, machine = self._ours(server) - all_cpu, machine_seconds() - machine
        heard, requests = served(self.origin_port) - heard, told["requests"]
        if not requests:
            raise Failed(f"{server.name} answered nothing within {seconds} s")
        return Sample(requests=requests, cpu_us=cpu / requests * 1e6, rate=requests / told["seconds"], p50_ms=told["p50"],
                      p99_ms=told["p99"], busy=cpu / wall, origin=heard / requests, errors=told["errors"],
                      others=max(0.0, (machine - all_cpu) / (wall * (os.cpu_count() or 1))))

    def _run(self, scenario: Scenario, port: int, seconds: int) -> dict:
        # One thread: it has one core.
        command = [self.wrk, "--threads", "1", "--connections", str(CONNECTIONS), "--duration", f"{seconds}s", "--timeout", "5s",
                   "--script", str(SCRIPT), *scenario.load_arguments(port)]
        # run() ends wrk on a timeout and on Ctrl-C.
        said = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 15, env=plain_environment(),
                              preexec_fn=lambda: os.sched_setaffinity(0, {self.core}))
        lines = said.stdout.strip().splitlines()
        if said.returncode or not lines or not lines[-1].startswith("{"):
            raise Failed(f"wrk: {(said.stderr or said.stdout).strip() or said.returncode}")
        return json.loads(lines[-1])

    def _ours(self, server: Process) -> float:
        load = resource.getrusage(resource.RUSAGE_CHILDREN)
        return server.cpu_seconds() + self.origin.cpu_seconds() + load.ru_utime + load.ru_stime


def machine_seconds() -> float:
    """User, nice and system time of all cores; interrupts belong to nobody."""
    return sum(int(word) for word in Path("/proc/stat").read_text().split()[1:4]) / TICKS
