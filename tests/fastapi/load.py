"""The load on the project API: clients that read by Zipf and write now and then, and hold every answer against what was acknowledged.

Each client is a thread with a connection of its own and a seed of its own: what it asks for, and in which order, is the same
whoever answers. Nine of ten requests read. Which project, page or word: by Zipf, exponent 1; the projects that are read most are
written most.
"""

import contextlib
import http.client
import itertools
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx

import project_api
from origin import DEADLINE, HERE, free_port, until

#: What stands before it. The team's dashboard is everybody's; the app commits before it answers, so nothing needs to settle.
CONFIG = """
routes:
  /api/projects:
    ttl: 10m
    tags: projects
    body_tags: project:$.items[*].id
  /api/projects/{id}:
    ttl: 30m
    tags: project:{id}
  /api/dashboard:
    ttl: 5m
    tags: dashboard
  /api/search: 20m

writes:
  PUT /api/projects/{id}: { invalidate: "project:{id}", refresh: true }
  POST /api/projects: { invalidate: projects dashboard /api/search, refresh: true }
  POST /api/projects/{id}/classifications: { invalidate: dashboard, cascade: false, refresh: true }

dependencies:
  project:{id}: projects dashboard /api/search

invalidation: { settle: 0s }
log: { access: off }
"""
#: The projects that exist at the start are asked for before the first client comes.
WARM = """
warm:
  before_ready: 1m
  requests:
    - { get: "/api/projects/{id}", for_each: /api/projects, pages: query:page, select: "$.items[*].id", limit: 500 }
"""

READS = {"detail": 60, "list": 20, "search": 10, "dashboard": 10}
WRITES = {"classify": 90, "rename": 8, "create": 2}
ROUTES = {
    "detail": "/api/projects/{id}",
    "list": "/api/projects",
    "search": "/api/search",
    "dashboard": "/api/dashboard",
    "rename": "/api/projects/{id}",
    "create": "/api/projects",
    "classify": "unmatched",
}
PAGES = 10


class ProjectApi:
    """`project_api.py` under uvicorn, on a new database."""

    def __init__(self, folder):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        database = folder / f"{self.port}.sqlite"
        project_api.make(database)
        command = [sys.executable, "-m", "uvicorn", "project_api:app", "--app-dir", str(HERE), "--no-access-log"]
        command += ["--host", "127.0.0.1", "--port", str(self.port), "--log-level", "warning"]
        self.process = subprocess.Popen(command, env=os.environ | {"PROJECTS_DB": str(database)})
        until(self._answers, "uvicorn listens")

    def _answers(self):
        assert self.process.poll() is None, "uvicorn ended"
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/api/projects/1", trust_env=False).is_success

    def stop(self):
        self.process.terminate()
        self.process.wait(DEADLINE)


class Zipf:
    """Ranks 1 to `count`, the n-th with a weight of 1/n."""

    def __init__(self, count):
        self.ranks = range(1, count + 1)
        self.weights = list(itertools.accumulate(1 / rank for rank in self.ranks))

    def draw(self, chance):
        return chance.choices(self.ranks, cum_weights=self.weights)[0]


@dataclass(frozen=True)
class Ask:
    kind: str
    method: str
    target: str
    body: dict | None = None


def asks(seed, reads=0.9):
    """What one client asks for, without end."""
    chance = random.Random(seed)
    projects, pages, words = Zipf(project_api.PROJECTS), Zipf(PAGES), Zipf(len(project_api.WORDS))
    while True:
        mix = READS if chance.random() < reads else WRITES
        kind = chance.choices(list(mix), list(mix.values()))[0]
        id, word = projects.draw(chance), project_api.WORDS[words.draw(chance) - 1]
        match kind:
            case "detail":
                yield Ask(kind, "GET", f"/api/projects/{id}")
            case "list":
                yield Ask(kind, "GET", f"/api/projects?page={pages.draw(chance)}")
            case "search":
                yield Ask(kind, "GET", f"/api/search?q={word}")
            case "dashboard":
                yield Ask(kind, "GET", "/api/dashboard")
            case "rename":
                yield Ask(kind, "PUT", f"/api/projects/{id}", {"name": f"{word} {chance.random()}"})
            case "create":
                yield Ask(kind, "POST", "/api/projects", {"name": word})
            case "classify":
                yield Ask(kind, "POST", f"/api/projects/{id}/classifications", {"label": word})


@dataclass
class Acknowledged:
    """What writes that were answered have brought about, and readers have a right to."""

    revisions: dict = field(default_factory=dict)
    changed: int = 0
    classified: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def now(self):
        with self.lock:
            return Acknowledged(dict(self.revisions), self.changed, self.classified)

    def learn(self, answer):
        with self.lock:
            if "revision" in answer:
                self.revisions[answer["id"]] = max(answer["revision"], self.revisions.get(answer["id"], 0))
                self.changed = max(answer["revision"], self.changed)
            self.classified = max(answer.get("classified", 0), self.classified)

    def outdates(self, ask, body):
        """What in this answer is older than it may be; empty if nothing is."""
        shown = [body] if ask.kind == "detail" else body.get("items", [])
        old = [item["id"] for item in shown if item["revision"] < self.revisions.get(item["id"], 0)]
        if ask.kind != "detail" and body["changed"] < self.changed:
            old.append(f"changed {body['changed']} < {self.changed}")
        if ask.kind == "dashboard" and body["classified"] < self.classified:
            old.append(f"classified {body['classified']} < {self.classified}")
        return old


@dataclass(frozen=True)
class Heard:
    """One answer. `cache` is what X-Cache says, `None` without Larder."""

    ask: Ask
    status: int
    cache: str | None
    is_hit: bool
    seconds: float


class Client(threading.Thread):
    """Asks `count` times; on average every `pause` seconds, or at once if that is zero."""

    def __init__(self, url, seed, count, pause, acknowledged):
        super().__init__()
        self.connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=DEADLINE)
        self.asks, self.chance = itertools.islice(asks(seed), count), random.Random(-seed)
        self.pause, self.acknowledged = pause, acknowledged
        self.heard, self.stale, self.failure = [], [], None

    def run(self):
        try:
            due = time.monotonic()
            for ask in self.asks:
                due += self.chance.expovariate(1 / self.pause) if self.pause else 0
                time.sleep(max(0, due - time.monotonic()))
                self.say(ask)
        except BaseException as failure:  # noqa: BLE001: raised again by whoever joins
            self.failure = failure
        finally:
            self.connection.close()

    def say(self, ask):
        before = self.acknowledged.now()
        body = json.dumps(ask.body).encode() if ask.body else None
        headers = {"Content-Type": "application/json"} if body else {}
        begin = time.perf_counter()
        self.connection.request(ask.method, ask.target, body, headers)
        answer = self.connection.getresponse()
        said = answer.read()
        seconds = time.perf_counter() - begin
        is_hit = "; hit" in answer.getheader("Cache-Status", "")
        self.heard.append(Heard(ask, answer.status, answer.getheader("X-Cache"), is_hit, seconds))
        assert answer.status in (200, 201), (ask, answer.status, said)
        told = json.loads(said)
        if ask.method != "GET":
            self.acknowledged.learn(told)
        elif old := before.outdates(ask, told):
            self.stale.append((ask, old))


@dataclass
class Result:
    heard: list
    stale: list

    def reads(self):
        return [one for one in self.heard if one.ask.method == "GET"]

    def hit_ratio(self, kind=None):
        reads = [one for one in self.reads() if kind in (None, one.ask.kind)]
        return sum(one.is_hit for one in reads) / len(reads)

    def counts(self):
        """By the labels of `larder_requests_total`."""
        return Counter((ROUTES[one.ask.kind], one.ask.method, str(one.status), one.cache.lower()) for one in self.heard)


def play(url, clients, count, rate=0):
    """Lets `clients` ask `count` times each, together `rate` times a second (zero: as fast as they can)."""
    acknowledged = Acknowledged()
    threads = [Client(url, seed, count, clients / rate if rate else 0, acknowledged) for seed in range(1, clients + 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for thread in threads:
        if thread.failure:
            raise thread.failure
    return Result([one for thread in threads for one in thread.heard], [one for thread in threads for one in thread.stale])


def counted(admin):
    """`larder_requests_total` by its labels, as `Result.counts` has it."""
    counts = Counter()
    for line in httpx.get(f"{admin}/metrics", trust_env=False).text.splitlines():
        name, _, rest = line.partition("{")
        if name == "larder_requests_total":
            labels, _, value = rest.rpartition("} ")
            known = dict(pair.split("=", 1) for pair in labels.replace('"', "").split(","))
            counts[known["route"], known["method"], known["code"], known["cache"]] += int(float(value))
    return counts
