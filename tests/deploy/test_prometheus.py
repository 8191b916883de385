"""A real Prometheus scrapes a real Larder by the configuration that is handed out, and is asked everything that rules and dashboard ask."""

import base64
import itertools
import json
import re
import subprocess

import httpx
import pytest
import yaml

from files import DEPLOY, RUNBOOK, panels, rules, run
from origin import DEADLINE, free_port, until
from servers import Server

numbers = itertools.count(1)

#: Everything at once that is counted anywhere: a fleet, its tier and its channels, what only audits and shadow mode count, what goes wrong.
CONFIG = """
routes:
  "/api/projects/{{id}}": 1h
  "/api/imports/{{id}}": {{ ttl: 1h, mode: shadow }}
  /api/members: {{ ttl: 1h, scope: public }}
  /api/download: {{ ttl: 1h, entry: 1KiB }}
  /api/search: 1h
  /api/slow: {{ ttl: 1h, timeout: 50ms }}
  /api/stats: bypass
redis: {{ url: "{redis}", subscribe: "cache:invalidate" }}
webhooks: {{ /hooks/cms: {{ secrets: ["{secret}"] }} }}
limits: {{ entries: 20 }}
warm: {{ before_ready: 10s, requests: [{{ get: /api/projects/1 }}] }}
monitor: {{ every: 1s, audit: {{ share: 100%, per_second: 1000 }} }}
"""


class Prometheus:
    """By deploy/prometheus/prometheus.yml, with another target, and with less patience."""

    def __init__(self, folder, target):
        self.url = f"http://127.0.0.1:{free_port()}"
        config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["rule_files"] = [str(DEPLOY / "prometheus/larder.rules.yml")]
        config["scrape_configs"][0]["static_configs"] = [{"targets": [target]}]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
        self.log = (folder / "prometheus.log").open("wb")
        self.process = subprocess.Popen([*command, f"--web.listen-address={self.url[7:]}"], stdout=self.log, stderr=self.log)
        self.client = httpx.Client(base_url=self.url, trust_env=False, timeout=DEADLINE)

    def ask(self, query):
        """The result; an expression that is none fails."""
        try:
            answer = self.client.get("/api/v1/query", params={"query": query})
        except httpx.TransportError:
            assert self.process.poll() is None, "prometheus ended"
            return []
        if answer.status_code == 503:  # it begins
            return []
        answer = answer.json()
        assert answer["status"] == "success", f"{query}: {answer}"
        return answer["data"]["result"]

    def end(self):
        self.client.close()
        self.process.terminate()
        self.process.wait(DEADLINE)
        self.log.close()


@pytest.fixture
def watched(larder, origin, tmp_path):
    """Two nodes of a fleet, their Redis, and the Prometheus that scrapes the first."""
    redis = Server(tmp_path)
    secret = "whsec_" + base64.b64encode(bytes(32)).decode()
    config = CONFIG.format(redis=f"redis://127.0.0.1:{redis.port}", secret=secret)
    try:
        proxy, other = larder(config), larder(config)
        prometheus = Prometheus(tmp_path, proxy.admin.removeprefix("http://"))
        yield proxy, other, redis, prometheus
        prometheus.end()
    finally:
        redis.end()


def load(proxy, other, origin):
    """Something of everything: hits, misses, bypasses, writes, purges, an origin that fails, what is refused, a hit that was warmed, what
    another node has, what does not fit, and what would have been a hit."""
    fresh = f"new-{next(numbers)}"
    for n in (1, 1, 2, 3, fresh):
        other.get(f"/api/projects/{n}")
    for n in (1, 1, 2, 3, fresh, fresh):
        proxy.get(f"/api/projects/{n}")
        proxy.get("/api/imports/1")
    for n in range(30):
        proxy.get(f"/api/projects/{fresh}-{n}")
    origin.desk.put(f"{origin.url}/api/projects/1", json={}).raise_for_status()  # in silence
    proxy.get("/api/imports/1")
    origin.close_gate("GET /api/slow")
    proxy.get("/api/slow")
    origin.open_gate("GET /api/slow")
    proxy.get("/api/stats")
    proxy.get("/api/members", Authorization="Bearer one")
    proxy.get("/api/download?mib=1")
    proxy.request("PUT", "/api/projects/2", json={})
    proxy.raw_get("/api/projects/2", **{"Content-Length": "1x"})
    httpx.post(f"{proxy.url}/hooks/cms", json={}, headers={"webhook-id": "1", "webhook-timestamp": "1", "webhook-signature": "v1,none"}, trust_env=False)
    httpx.post(f"{proxy.admin}/v1/purge", json={"paths": ["/api/projects/3"]}, trust_env=False).raise_for_status()
    httpx.post(f"{proxy.admin}/v1/events", json={"type": "nobody.knows", "data": {}}, trust_env=False)
    httpx.get(f"{proxy.admin}/v1/usage", trust_env=False)  # which looks at what is kept, and draws what is audited
    origin.answer("/api/search", 502)
    proxy.get("/api/search")


def expressions():
    """Where it stands → what is asked, with the dashboard's variables as Grafana would put them."""
    found = {f"{kind} {name}": rule["expr"] for kind in ("record", "alert") for name, rule in rules(kind).items()}
    for panel in panels():
        for target in panel["targets"]:
            found[f"panel {panel['title']} {target['refId']}"] = target["expr"]
    dashboard = json.loads((DEPLOY / "grafana/larder.json").read_text())
    for mark in dashboard["annotations"]["list"]:
        found[f"mark {mark['name']}"] = mark["expr"]
    values = {"$__rate_interval": "5m", "$job": ".+", "$instance": ".+"}
    for where, expression in found.items():
        for name, value in values.items():
            expression = expression.replace(name, value)
        found[where] = expression
    return found


def test_all_that_rules_and_dashboard_ask_is_answered(watched, origin):
    """Alerts and marks are quiet while all is well; whatever else asks has an answer."""
    proxy, other, redis, prometheus = watched
    asked = {where: expression for where, expression in expressions().items() if not where.startswith(("alert ", "mark "))}
    assert len(asked) > 60

    def unanswered():
        load(proxy, other, origin)
        told = lambda result: any(sample["value"][1] != "NaN" for sample in result)  # noqa: E731
        return {where for where, expression in asked.items() if not told(prometheus.ask(expression))}

    def answered(of):
        of.difference_update(set(asked) - unanswered())
        return not of

    # That Redis is away is told while it is.
    left = set(asked) - {"panel Redis is of no use A"}
    try:
        until(lambda: answered(left), "all has data", within=120)
    except AssertionError:
        raise AssertionError(f"without data: {left}") from None
    redis.kill()
    until(lambda: prometheus.ask(asked["panel Redis is of no use A"]), "that Redis is away is told", within=60)
    for where in expressions().keys() - asked.keys():
        prometheus.ask(expressions()[where])


def test_it_is_up_and_every_rule_is_healthy(watched, origin):
    proxy, other, _, prometheus = watched
    load(proxy, other, origin)
    until(lambda: prometheus.ask('up{job="larder"} == 1'), "it is scraped", within=60)

    def health():
        groups = prometheus.client.get("/api/v1/rules").json()["data"]["groups"]
        return [(rule["name"], rule["health"], rule.get("lastError")) for group in groups for rule in group["rules"]]

    until(lambda: all(state != "unknown" for _, state, _ in health()), "all were evaluated", within=60)
    assert [rule for rule in health() if rule[1] != "ok"] == []


def test_promtool_takes_the_configuration_and_the_rules():
    for command in (["check", "config", "prometheus.yml"], ["test", "rules", "larder.rules.test.yml"]):
        said = run("promtool", *command, cwd=DEPLOY / "prometheus")
        assert said.returncode == 0, said.stdout + said.stderr


def test_every_alert_is_played_both_ways():
    played = yaml.safe_load((DEPLOY / "prometheus/larder.rules.test.yml").read_text())["tests"]
    outcomes = {"fires": set(), "quiet": set()}
    for test in played:
        for case in test.get("alert_rule_test", []):
            outcomes["fires" if case["exp_alerts"] else "quiet"].add(case["alertname"])
    assert outcomes == {"fires": set(rules("alert")), "quiet": set(rules("alert"))}


def test_every_alert_says_how_bad_it_is_and_what_to_read():
    for name, rule in rules("alert").items():
        assert rule["labels"]["severity"] in ("critical", "warning"), name
        assert rule["annotations"]["summary"] and rule["annotations"]["description"], name
        assert rule["annotations"]["runbook_url"] == f"RUNBOOK.md#{name.lower()}", name


def test_every_alert_has_its_entry_and_every_entry_its_alert():
    entries = re.findall(r"^### (Larder\w+)$", RUNBOOK, re.MULTILINE)
    assert sorted(entries) == sorted(rules("alert"))
    for entry in entries:
        text = RUNBOOK.split(f"### {entry}\n")[1].split("\n#")[0]
        for part in ("**Means**", "**See**", "**Do**", "**Sure**"):
            assert part in text, f"{entry} has no {part}"
