"""Shadow mode, with the real binary before the real application: no byte differs, and what a cache would be worth is told."""

import json
import random
import subprocess

import httpx

from origin import until
from proxy import BINARY, cached
from test_usage import report, route, usage

SHADOW = """
mode: shadow
routes:
  /api/projects: { ttl: 1h, tags: projects }
  "/api/projects/{id}": { ttl: 1h, tags: "project:{id}" }
  "/api/imports/{id}": 1h
  /api/etag: 1h
  /api/visits: 1h
  /api/echo: { ttl: 1h, scope: public, ignore_query: utm_* }
  /api/download: { ttl: 1h, entry: 1MiB }
writes: { "PUT|PATCH /api/projects/{id}": { invalidate: projects } }
log: { access: off }
"""
OURS = {"cache-status", "x-cache", "date", "server"}


def told(response):
    fields = sorted((name, value) for name, value in response.headers.multi_items() if name not in OURS)
    return response.status_code, fields, response.content


def test_no_byte_differs_from_what_the_application_says(larder, origin):
    proxy = larder(SHADOW)
    mixed = [
        ("GET", "/api/projects", {}),
        ("GET", "/api/projects/1", {}),
        ("HEAD", "/api/projects/1", {}),
        ("GET", "/api/etag", {}),
        ("GET", "/api/etag", {"If-None-Match": '"1"'}),
        ("GET", "/api/etag", {"If-None-Match": '"other"', "Cache-Control": "no-cache"}),
        ("GET", "/api/projects/1", {"Range": "bytes=0-3"}),
        ("GET", "/api/projects/1", {"Accept-Encoding": "gzip"}),
        ("GET", "/api/projects/1", {"Origin": "https://elsewhere.example"}),
        ("GET", "/api/projects/absent-\u00fc", {}),
        ("GET", "/api/nowhere", {}),
        ("OPTIONS", "/api/projects", {}),
        ("GET", "/api/download?mib=2", {}),
        ("GET", "/api/items", {}),
        ("GET", "/api/visits", {}),
    ]
    with httpx.Client(base_url=origin.url, trust_env=False) as straight:
        for _ in range(3):
            for method, path, headers in mixed:
                host = {"Host": f"localhost:{proxy.port}"}  # as all loopback names reach the application
                origin.reset()  # what it counts in its bodies
                plain = straight.request(method, path, headers=headers | host)
                origin.reset()
                passed = proxy.request(method, path, headers=headers)
                assert told(passed) == told(plain), (method, path, headers)
                if method != "OPTIONS":
                    assert cached(passed) == "BYPASS", (method, path)
    assert proxy.metric("larder_requests_total", cache="hit") == 0
    assert proxy.metric("larder_shadow_requests_total", would="hit") > 0


def test_nobody_gets_what_another_one_asked_for(larder, origin):
    proxy = larder(SHADOW)
    for _ in range(2):
        for who in ("a", "b"):
            said = proxy.get("/api/echo?utm_source=x", Authorization=f"Bearer {who}", Cookie=f"sid={who}").json()
            assert ["authorization", f"Bearer {who}"] in said["headers"] and ["cookie", f"sid={who}"] in said["headers"]
    until(lambda: proxy.metric("larder_shadow_checks_total", result="stale") >= 2, "that it is not public shows")


def test_events_come_as_they_happen(larder, origin):
    proxy = larder(SHADOW)
    with proxy.client.stream("GET", "/api/events") as response:
        lines = response.iter_lines()
        for number in range(3):
            assert next(line for line in lines if line) == f"data: {number}"
            origin.step()


def workload(proxy, seed):
    """Reads of forty projects, most of few, and some writes."""
    chance = random.Random(seed)
    ranks = [1 / rank for rank in range(1, 41)]
    for _ in range(800):
        id = chance.choices(range(40), ranks)[0]
        if chance.random() < 0.04:
            proxy.request("PUT", f"/api/projects/{id}", json={})
        else:
            proxy.get(f"/api/projects/{id}" if chance.random() < 0.8 else "/api/projects")


def test_what_is_foretold_comes_true_within_two_points(larder, origin):
    settle = SHADOW + "invalidation: { settle: 0s }\n"
    shadow, cache = larder(settle), larder(settle.replace("mode: shadow", "mode: cache"))
    workload(shadow, 11)
    foretold = usage(shadow)["all"]["shadow"]
    workload(cache, 11)
    measured = usage(cache)["all"]
    assert measured["shadow"] is None and usage(shadow)["all"]["hit_ratio"] is None
    assert abs(foretold["hit_ratio"] - measured["hit_ratio"]) <= 0.02, (foretold, measured)
    assert 0.5 < measured["hit_ratio"] < 0.95
    assert foretold["seconds_saved"] > 0
    assert foretold["stale_per_million"] > 900_000, "bodies that count are another each time"


def test_rows_that_change_in_silence_are_stale_and_the_report_says_so(larder, origin):
    proxy = larder(SHADOW)
    for path in ("/api/imports/1", "/api/imports/1"):
        proxy.get(path)
    origin.desk.put(f"{origin.url}/api/projects/1", json={}).raise_for_status()
    assert [proxy.get("/api/imports/1").json()["version"] for _ in range(3)] == [1, 1, 1], "the client has the truth"
    until(lambda: route(usage(proxy), "/api/imports/{id}")["shadow"]["checks"]["stale"] == 3, "three would have been stale")
    imports = route(usage(proxy), "/api/imports/{id}")["shadow"]
    assert (imports["requests"]["miss"], imports["requests"]["hit"], imports["hit_ratio"]) == (1, 4, 0.8)
    assert imports["interval"][0] < imports["stale_per_million"] == 750_000 < imports["interval"][1]
    table = report(proxy)
    assert "in shadow mode" in table and "750000 (" in table
    explained = [str(BINARY), "explain", "GET /api/imports/1", "--admin", proxy.admin, "--json"]
    said = json.loads(subprocess.run(explained, capture_output=True, text=True, timeout=30, check=True).stdout)
    assert (said["outcome"]["x_cache"], said["would"]["x_cache"]) == ("BYPASS", "HIT")
    routes = httpx.get(f"{proxy.admin}/v1/routes", trust_env=False).json()["routes"]
    assert {told["mode"] for told in routes} == {"shadow"}
