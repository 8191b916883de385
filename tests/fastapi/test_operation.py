"""Probes, metrics, warming, the access log, and settings from the environment."""

import json

import httpx
import pytest

from origin import free_port, until
from proxy import cached

WARMED = """
routes: { /api/stats: 1h, "/api/projects/{id}": 1h }
warm:
  before_ready: 1m
  requests: [{ get: /api/stats }, { get: /api/projects/42, priority: 200 }]
"""


def probe(proxy, path):
    return httpx.get(f"{proxy.admin}{path}", trust_env=False).status_code


def test_the_probes_answer_on_the_admin_listener_alone(larder):
    proxy = larder(WARMED)
    assert [probe(proxy, path) for path in ("/livez", "/readyz", "/metrics")] == [200] * 3
    assert proxy.get("/livez").status_code == 404  # the app's own


def test_the_probes_listener_carries_nothing_else(larder):
    port = free_port()
    proxy = larder(f"admin: {{ probes: 127.0.0.1:{port} }}")
    proxy.admin = f"http://127.0.0.1:{port}"
    assert [probe(proxy, path) for path in ("/livez", "/readyz", "/metrics", "/v1/status")] == [200, 200, 200, 404]


def test_metrics_count_requests_by_route_and_cache(larder):
    proxy = larder('routes: { "/api/projects/{id}": 1h, /api/search: bypass }')
    for path in ("/api/projects/1", "/api/projects/1", "/api/projects/2", "/api/search"):
        proxy.get(path)
    route = {"route": "/api/projects/{id}", "method": "GET", "code": "200"}
    assert proxy.metric("larder_requests_total", cache="hit", **route) == 1
    assert proxy.metric("larder_requests_total", cache="miss", **route) == 2
    assert proxy.metric("larder_request_duration_seconds_count", route="/api/projects/{id}") == 3
    assert proxy.metric("larder_bypass_total", route="/api/search") == 1
    assert proxy.metric("larder_cache_entries") == 2
    assert 0 < proxy.metric("larder_cache_bytes") < 10_000


def test_the_first_client_after_warming_gets_hits_and_the_origin_one_get_per_route(larder, origin):
    proxy = larder(WARMED)
    assert [cached(proxy.get(path)) for path in ("/api/stats", "/api/projects/42")] == ["HIT", "HIT"]
    assert [(request["method"], request["path"]) for request in origin.seen()].count(("GET", "/api/stats")) == 1
    assert origin.count("/api/projects/42") == 1
    assert {request["headers"]["larder-purpose"] for request in origin.seen()} == {"warm"}


def test_readyz_waits_for_the_warming(larder, origin):
    origin.close_gate("GET /api/stats")
    proxy = larder(WARMED, ready=False)
    origin.wait_at_gate("GET /api/stats")
    assert (probe(proxy, "/livez"), probe(proxy, "/readyz")) == (200, 503)
    origin.open_gate("GET /api/stats")
    until(lambda: probe(proxy, "/readyz") == 200, "ready once warmed")


def test_but_no_longer_than_before_ready(larder, origin):
    origin.close_gate("GET /api/stats")
    larder(WARMED.replace("1m", "200ms"))  # waits for /readyz itself
    origin.open_gate("GET /api/stats")


def test_the_access_log_is_a_json_line_per_request_and_keeps_secrets(larder):
    proxy = larder("routes: { /api/search: 1h }")
    for _ in range(2):
        proxy.get("/api/search?q=s3cret", Authorization="Bearer s3cret")
    until(lambda: proxy.stdout().count("\n") >= 2, "two lines")
    lines = [json.loads(line) for line in proxy.stdout().splitlines()]
    assert [line["cache"].upper() for line in lines] == ["MISS", "HIT"]
    hit = lines[1]
    assert (hit["http.request.method"], hit["url.path"], hit["http.response.status_code"]) == ("GET", "/api/search", 200)
    assert hit["http.route"] == "/api/search"
    assert "s3cret" not in proxy.stdout()


@pytest.mark.parametrize("name", ["CACHE_TTL", "CACHE_DEFAULT_TTL"])
def test_the_environment_sets_the_ttl(larder, name):
    proxy = larder("routes: { /api/stats: { stale_if_error: 1m } }", env={name: "100"})
    proxy.get("/api/stats")
    assert 50 < int(proxy.get("/api/stats").headers["Cache-Status"].split("ttl=")[1].split(";")[0]) <= 100


def test_the_environment_turns_the_cache_off(larder, origin):
    proxy = larder("routes: { /api/stats: 1h }", env={"CACHE_ENABLED": "false"})
    assert [proxy.get("/api/stats").json()["n"] for _ in range(2)] == [1, 2]


def test_the_environment_limits_the_entries(larder):
    proxy = larder("routes: { /api/search: 1h }", env={"CACHE_MAX_ENTRIES": "10"})
    for number in range(50):
        proxy.get(f"/api/search?q={number}")
    until(lambda: proxy.metric("larder_cache_entries") <= 10, "at most ten entries")
    assert proxy.metric("larder_evictions_total") >= 40


def test_no_file_is_needed(larder, origin):
    proxy = larder(None, upstream=None, env={"LARDER_UPSTREAM": origin.url})
    assert proxy.get("/api/projects/42").json()["n"] == 1


def test_a_flag_beats_the_environment_and_that_the_file(larder, origin):
    nowhere = "http://127.0.0.1:1"
    by_flag = larder(f"upstream: {nowhere}", env={"LARDER_UPSTREAM": nowhere})
    by_environment = larder(f"upstream: {nowhere}", upstream=None, env={"LARDER_UPSTREAM": origin.url})
    assert [proxy.get("/api/stats").status_code for proxy in (by_flag, by_environment)] == [200, 200]
