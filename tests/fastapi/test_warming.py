"""Warming beyond the start: lists, schedules, people, `larder warm`, and what it was worth."""

import json
import subprocess

import httpx

from origin import until
from proxy import BINARY, cached

LISTED = """
routes: { /api/projects: 1h, "/api/projects/{id}": 1h, "/api/projects/{id}/export": 1h }
warm:
  requests:
    - { id: projects, get: "/api/projects/{id}", for_each: /api/projects, select: "$.items[*].id" }
    - { id: exports, get: "/api/projects/{id}/export", params: { id: [1, 2] } }
"""


def warm(proxy, *words):
    command = [str(BINARY), "warm", "--admin", proxy.admin, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=30)


def told(proxy):
    return httpx.get(f"{proxy.admin}/v1/warm", trust_env=False).json()


def test_a_list_and_parameters_are_fetched_at_start_once_each(larder, origin):
    proxy = larder(LISTED)
    paths = ["/api/projects/42", "/api/projects/1/export", "/api/projects/2/export"]
    assert [cached(proxy.get(path)) for path in paths] == ["HIT"] * 3
    assert [origin.count(path) for path in ["/api/projects", *paths]] == [1] * 4


def test_larder_warm_waits_and_reports(larder, origin):
    proxy = larder(LISTED)
    proxy.get("/api/projects/42")
    httpx.post(f"{proxy.admin}/v1/purge", json={"all": True}, trust_env=False).raise_for_status()
    done = warm(proxy, "--wait", "--json", "projects", "/api/projects/1/export", "/api/none")
    report = json.loads(done.stdout)
    assert (done.returncode, report["state"]) == (1, "partial")
    assert (report["stored"], report["failed"], report["total"]) == (2, 1, 3)
    assert report["errors"] == [{"path": "/api/none", "why": "404 Not Found"}]
    assert cached(proxy.get("/api/projects/42")) == "HIT"
    begun = warm(proxy, "exports")
    assert begun.returncode == 0 and "has begun: 2 requests" in begun.stdout
    assert warm(proxy, "nothing").returncode == 1


def test_it_is_fetched_again_by_its_schedule(larder, origin):
    proxy = larder("routes: { /api/stats: 500ms }\nwarm: { requests: [{ get: /api/stats, every: 1s }] }")
    until(lambda: origin.count("/api/stats") >= 3, "fetched at start and twice since")
    assert {request["headers"]["larder-purpose"] for request in origin.seen("/api/stats")} == {"warm"}
    assert proxy.metric("larder_warm_runs_total", task="/api/stats", result="ok") >= 2
    assert proxy.metric("larder_requests_total") == 0  # of nobody's


def test_everybody_who_was_here_has_his_own_warmed(larder, origin):
    config = 'routes: { /api/dashboard: 500ms }\nwarm: { requests: [{ id: d, get: /api/dashboard, for_users: active, every: 1s }] }'
    proxy = larder(config)
    for who in ("Bearer anna", "Bearer bob"):
        assert proxy.get("/api/dashboard", authorization=who).json()["who"] == who
    until(lambda: origin.count("/api/dashboard") >= 4, "fetched for both")
    fetched = [request["headers"] for request in origin.seen("/api/dashboard")]
    assert {headers["authorization"] for headers in fetched if "larder-purpose" in headers} == {"Bearer anna", "Bearer bob"}
    for who in ("Bearer anna", "Bearer bob"):
        assert proxy.get("/api/dashboard", authorization=who).json()["who"] == who


def test_background_warming_is_switched_off_by_the_environment(larder, origin):
    config = "routes: { /api/stats: 1h }\nwarm: { requests: [{ get: /api/stats, every: 1s }] }"
    for name in ("ENABLE_BACKGROUND_WARMING", "PERF_CACHE_WARMING"):
        proxy = larder(config, env={name: "false"})
        assert cached(proxy.get("/api/stats")) == "HIT"
        assert told(proxy)["background"] is False
        assert told(proxy)["tasks"][0]["next_due"] is None
        assert warm(proxy).returncode == 1
