"""Warming beyond the start: lists, schedules, people, `larder warm`, and what it was worth."""

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from origin import until
from proxy import BINARY, cached

pytestmark = pytest.mark.any_backend

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
    """What `/v1/warm` says. What entries have earned is looked at every ten seconds, and for a report of usage."""
    httpx.get(f"{proxy.admin}/v1/usage", trust_env=False).raise_for_status()
    return httpx.get(f"{proxy.admin}/v1/warm", trust_env=False).raise_for_status().json()


def readiness(proxy):
    return httpx.get(f"{proxy.admin}/readyz", trust_env=False)


def post(proxy, path, body):
    return httpx.post(f"{proxy.admin}{path}", json=body, trust_env=False, timeout=30)


def purge_all(proxy):
    post(proxy, "/v1/purge", {"all": True}).raise_for_status()


WHOLE = """
routes:
  /api/projects: 1h
  "/api/projects/{id}": 1h
  "/api/projects/{id}/export": 1h
  /api/stats: 1h
  /api/search: 1h
  /api/dashboard: 1h
warm:
  before_ready: 60s
  requests:
    - { get: /api/projects }
    - { get: /api/stats, priority: 200 }
    - { get: "/api/search?q=warm" }
    - { get: "/api/search?q=stats" }
    - { get: /api/dashboard }
    - { get: "/api/projects/{id}", for_each: /api/projects, select: "$.items[*].id" }
    - { get: "/api/projects/{id}/export", params: { id: [1, 2, 3] } }
"""
TARGETS = ["/api/projects", "/api/stats", "/api/search?q=warm", "/api/search?q=stats", "/api/dashboard", "/api/projects/42"]
TARGETS += [f"/api/projects/{id}/export" for id in (1, 2, 3)]


def test_started_on_an_empty_store_each_route_is_fetched_once_and_everybody_hits(larder, origin):
    origin.close_gate("GET /api/stats")
    proxy = larder(WHOLE, ready=False)
    origin.wait_at_gate("GET /api/stats")
    until(lambda: {request["target"] for request in origin.seen()} == set(TARGETS), "all the others are fetched")
    assert readiness(proxy).status_code == 503 and readiness(proxy).json()["checks"]["warm"] == "fail"
    origin.open_gate("GET /api/stats")
    until(lambda: readiness(proxy).status_code == 200, "the list has ended")
    assert [cached(proxy.get(target)) for target in TARGETS] == ["HIT"] * len(TARGETS)
    assert sorted(request["target"] for request in origin.seen()) == sorted(TARGETS), "once each"
    assert {request["headers"]["larder-purpose"] for request in origin.seen()} == {"warm"}


def test_a_route_that_hangs_holds_traffic_off_for_before_ready_and_no_longer(larder, origin):
    origin.close_gate("GET /api/stats")
    proxy = larder(WHOLE.replace("60s", "700ms"), ready=False)
    origin.wait_at_gate("GET /api/stats")
    until(lambda: readiness(proxy).status_code == 200, "before_ready has passed")
    (run,) = told(proxy)["runs"]
    assert (run["state"], run["done"]) == ("running", run["total"] - 1)
    others = [target for target in TARGETS if target != "/api/stats"]
    assert [cached(proxy.get(target)) for target in others] == ["HIT"] * len(others)
    with ThreadPoolExecutor() as pool:
        client = pool.submit(proxy.get, "/api/stats")
        origin.open_gate("GET /api/stats")
        assert client.result().status_code == 200
    assert origin.count("/api/stats") == 1, "who came meanwhile waited for the same answer"


def test_lists_templates_and_what_is_learnt_each_earn_hits(larder, origin):
    config = WHOLE.replace("warm:", "warm:\n  learn: { top: 10, every: 1h }")
    config = config.replace("    - { get: /api/stats, priority: 200 }\n", "    - { id: stats, get: /api/stats }\n")
    config = config.replace('{ get: "/api/projects/{id}/export", params', '{ id: exports, get: "/api/projects/{id}/export", params')
    proxy = larder(config)
    for _ in range(5):
        proxy.get("/api/items/?q=often")  # not kept, and not learnt
    learnt = "/api/projects/7"
    for _ in range(5):
        proxy.get(learnt)
    assert told(proxy)["runs"][0]["trigger"] == "start"
    until(lambda: proxy.metric("larder_learn_keys") >= 1, "it is learnt")
    purge_all(proxy)
    done = warm(proxy, "learn", "--wait", "--json")
    report = json.loads(done.stdout)
    assert (done.returncode, report["state"], report["stored"]) == (0, "ok", 1), report
    assert [task["task"] for task in report["tasks"]] == ["learn"]
    assert cached(proxy.get(learnt)) == "HIT"
    assert origin.count("/api/items/") == 5, "what is not kept is not fetched"
    run = post(proxy, "/v1/warm", {"tasks": ["learn", "stats", "exports"], "wait": True}).json()
    assert (run["state"], run["stored"], run["fresh"]) == ("ok", 4, 1), run
    for target in ("/api/stats", "/api/projects/1/export", "/api/projects/2/export", learnt):
        assert cached(proxy.get(target)) == "HIT"
    whole = told(proxy)
    (task,) = [task for task in whole["tasks"] if task["id"] == "learn"]
    assert (task["get"], task["every"], task["priority"]) == (None, "1h", 0)
    assert task["next_due"] and task["last_run"]["run"] == run["run"]
    report = httpx.get(f"{proxy.admin}/v1/warm/{run['run']}", trust_env=False).json()
    earned = {part["task"]: part["hits_earned"] for part in report["tasks"]}
    assert earned == {"learn": 0, "stats": 1, "exports": 2}, "what was there already was learnt by the run before"
    before = [known for known in whole["runs"] if known["trigger"] == "asked"][1]
    assert before["hits_earned"] == 2, "the one after it, and this one"


def test_what_is_warmed_for_one_user_is_seen_by_nobody_else(larder, origin):
    config = "routes: { /api/dashboard: 1h }\nwarm: { requests: [{ id: d, get: /api/dashboard, for_users: active }] }"
    proxy = larder(config)
    users = [{"authorization": "Bearer anna"}, {"x-api-key": "bob"}, {"cookie": "session=carl"}]
    ask = lambda headers: proxy.request("GET", "/api/dashboard", headers=headers)  # noqa: E731
    for headers in users:
        assert cached(ask(headers)) == "MISS"
    purge_all(proxy)
    report = json.loads(warm(proxy, "d", "--wait", "--json").stdout)
    assert (report["state"], report["stored"], report["total"]) == ("ok", 3, 3)
    for headers in users:
        response = ask(headers)
        assert (cached(response), response.json()["who"]) == ("HIT", headers.get("authorization"))
    for stranger in ({"authorization": "Bearer dora"}, {"x-api-key": "anna"}, {}):
        assert cached(ask(stranger)) == "MISS"
    text = json.dumps(told(proxy)) + proxy.stderr() + proxy.stdout()
    assert not any(secret in text for secret in ("anna", "bob", "carl")), "no credential is told"


def test_a_task_can_be_added_and_taken_away_while_it_runs(larder, origin):
    proxy = larder("routes: { '/api/{rest:path}': 1h }\nwarm: { requests: [{ id: file, get: /api/stats }] }")
    task = {"id": "exports", "get": "/api/projects/{id}/export", "params": {"id": [1, 2]}, "priority": 7, "every": "1s"}
    added = post(proxy, "/v1/warm/tasks", task)
    assert added.status_code == 201 and added.json()["registered"] is True and added.json()["every"] == "1s"
    ended = lambda: (told(proxy)["tasks"][1]["last_run"] or {}).get("state")
    until(lambda: ended() == "ok", "it is run by its schedule")
    assert origin.count("/api/projects/2/export") == 1
    assert cached(proxy.get("/api/projects/1/export")) == "HIT"
    assert [known["id"] for known in told(proxy)["tasks"]] == ["file", "exports"]
    assert warm(proxy, "exports", "--wait").returncode == 0
    for body, status, why in [
        (task, 409, "a warm task has the id exports already"),
        ({"id": "file", "get": "/a"}, 409, "a warm task has the id file already"),
        ({"id": "learn", "get": "/a"}, 422, "`learn` is the id of what is learnt"),
        ({"get": "/a", "evry": "1s"}, 422, "unknown key `evry`: did you mean `every`?"),
        ({"get": "http://elsewhere.example/"}, 422, "`get`"),
        ({"get": "/a/{id}"}, 422, "nothing says what `{id}` is"),
        ({"get": "/a", "every": "1s", "schedule": "* * * * *"}, 422, "both say when"),
        ({"get": "/a", "headers": {"X-A": "${file:/etc/hostname}"}}, 422, "placeholders are not filled here"),
        ({"get": "/a", "for_users": "active"}, 422, "nobody is remembered"),
        ({}, 422, "has no `get`"),
        ([], 422, "JSON object"),
    ]:
        refused = post(proxy, "/v1/warm/tasks", body)
        assert refused.status_code == status and why in refused.json()["detail"], (body, refused.text)
    gone = f"{proxy.admin}/v1/warm/tasks"
    assert httpx.delete(f"{gone}/exports", trust_env=False).status_code == 204
    assert httpx.delete(f"{gone}/exports", trust_env=False).status_code == 404
    assert httpx.delete(f"{gone}/file", trust_env=False).status_code == 409
    spelt = post(proxy, "/v1/warm/tasks", {"id": "ä", "get": "/api/search?q=ä"})
    assert spelt.status_code == 201 and warm(proxy, "ä", "--wait").returncode == 0
    assert cached(proxy.get("/api/search?q=%C3%A4")) == "HIT"
    assert httpx.delete(f"{gone}/%C3%A4", trust_env=False).status_code == 204
    assert [known["id"] for known in told(proxy)["tasks"]] == ["file"]


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
