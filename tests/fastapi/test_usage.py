"""What the cache was worth, with the real binary: a report of a trace, and rows that somebody changes behind everybody's back."""

import json
import subprocess

import httpx
import pytest

from origin import until
from proxy import BINARY, cached

pytestmark = pytest.mark.any_backend

TRACED = """
routes: { "/api/projects/{id}": 1h, /api/search: 1s }
log: { access: off }
"""
AUDITED = """
routes: { "/api/imports/{id}": 1h, /api/stats: bypass }
log: { access: off }
monitor: { audit: { share: 100%, per_second: 100, repair: true } }
"""


def usage(proxy):
    return httpx.get(f"{proxy.admin}/v1/usage", trust_env=False).json()


def report(proxy, *words):
    command = [str(BINARY), "report", "--admin", proxy.admin, *words]
    told = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert told.returncode == 0, told.stderr
    return told.stdout


def route(told, name):
    return next(route for route in told["routes"] if route["route"] == name)


def test_a_trace_is_told_with_what_could_be_better(larder, origin):
    proxy = larder(TRACED)
    for id, reads in [(1, 30), (2, 20), (3, 10)]:
        for _ in range(reads):
            proxy.get(f"/api/projects/{id}")
    for number in range(60):
        proxy.get(f"/api/search?q={number}")
    until(lambda: route(usage(proxy), "/api/search")["lives"]["ended"] == 60, "what was searched for has expired")
    for told in (usage(proxy), json.loads(report(proxy, "--json"))):
        projects, search = route(told, "/api/projects/{id}"), route(told, "/api/search")
        assert [(key["target"], key["hits"]) for key in projects["top"]] == [
            ("/api/projects/1", 29),
            ("/api/projects/2", 19),
            ("/api/projects/3", 9),
        ]
        assert projects["hit_ratio"] == 57 / 60 and projects["lives"]["ended"] == 0
        assert projects["seconds_saved"] > 0 and projects["reuse_distance"]["p50"] <= 3
        assert (search["lives"]["never_read"], search["lives"]["ttl_wasted"], search["fills"]) == (1, 1, 60)
        assert told["all"]["requests"] == 120
        assert [(said["route"], said["kind"]) for said in told["recommendations"]] == [("/api/search", "never-read")]
        said = told["recommendations"][0]["text"]
        assert said.startswith("`bypass`, or a shorter ttl: of 60 entries whose life ended 100 % were never read")
    table = report(proxy)
    assert "/api/projects/{id}" in table and said in table
    assert "/api/projects/1" in report(proxy, "/api/projects/{id}", "--top", "1")


def test_rows_that_change_in_silence_are_found_and_healed_for_a_hundredth_of_the_load(larder, origin):
    proxy = larder(AUDITED)
    paths = [f"/api/imports/{id}" for id in range(10)]
    for path in paths:
        proxy.get(path)
    for id in range(0, 10, 2):
        origin.desk.put(f"{origin.url}/api/projects/{id}", json={}).raise_for_status()
    assert [proxy.get(path).json()["version"] for path in paths] == [0] * 10  # nobody told

    def stale():
        for _ in range(100):
            proxy.get("/api/stats")
        for path in paths:
            proxy.get(path)
        usage(proxy)
        return proxy.metric("larder_audit_checks_total", result="stale")

    until(stale, "one of them is found", within=60)
    audits = [r for r in origin.seen() if r["headers"].get("larder-purpose") == "audit"]
    others = len(origin.seen()) - len(audits)
    assert 0 < len(audits) * 100 <= others
    assert not any("authorization" in audit["headers"] for audit in audits)
    asked = [audit["path"] for audit in audits]
    twice = {path for path in asked if asked.count(path) > 1 and int(path.rsplit("/", 1)[1]) % 2 == 0}
    assert twice, "what was called stale was asked for twice"
    until(lambda: any(proxy.get(path).json()["version"] == 1 for path in twice), "it is healed")
    right = [path for path in paths if path not in asked]
    assert all(cached(proxy.get(path)) == "HIT" for path in right), "nothing else was dropped"
    told = usage(proxy)["all"]["audit"]
    assert told["stale"] >= 1 and told["volatile"] == told["failed"] == 0
    low, high = told["interval"]
    assert low <= told["stale_per_million"] <= high
    assert "held against the origin" in report(proxy)
    assert proxy.stderr().count("a stale entry") >= 1
