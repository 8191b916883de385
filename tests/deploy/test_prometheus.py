"""A real Prometheus scrapes a real Larder by the configuration that is handed out, and is asked everything that rules and dashboard ask."""

import json
import re
import subprocess

import httpx
import pytest
import yaml

from files import DEPLOY, RUNBOOK, panels, rules, run
from origin import DEADLINE, free_port, until

CONFIG = """
routes: { "/api/projects/{id}": 1h, /api/search: 1h, /api/stats: bypass }
warm: { before_ready: 10s, requests: [{ get: /api/projects/1 }] }
"""

#: Metrics that are there only with Redis, or when something has gone wrong: what asks for them parses, and may be empty.
SELDOM = {
    "larder_fleet_away", "larder_redis_connected", "larder_tier_reads_total", "larder_tier_fills_total", "larder_redis_op_seconds_bucket",
    "larder_webhooks_refused_total", "larder_demotions_total", "larder_audit_checks_total", "larder_evictions_total",
    "larder_fills_discarded_total", "larder_alert",
}  # fmt: skip


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
    """A Larder, and the Prometheus that scrapes it."""
    proxy = larder(CONFIG)
    prometheus = Prometheus(tmp_path, proxy.admin.removeprefix("http://"))
    yield proxy, prometheus
    prometheus.end()


def load(proxy, origin):
    """Something of everything: hits, misses, bypasses, writes, purges, an origin that fails, what is refused, a hit that was warmed."""
    for n in (1, 1, 2, 3):
        proxy.get(f"/api/projects/{n}")
    proxy.get("/api/stats")
    proxy.request("PUT", "/api/projects/2", json={})
    proxy.raw_get("/api/projects/2", **{"Content-Length": "1x"})
    httpx.post(f"{proxy.admin}/v1/purge", json={"paths": ["/api/projects/3"]}, trust_env=False).raise_for_status()
    httpx.post(f"{proxy.admin}/v1/events", json={"type": "nobody.knows", "data": {}}, trust_env=False)
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


def may_be_empty(where, expression):
    quiet = where.startswith(("alert ", "mark "))
    derived = {"job:larder_eviction_ratio:rate5m", "job:larder_fills_discarded_ratio:rate5m"}
    errors = "larder_upstream_errors_total" in expression and where.startswith("panel")
    return quiet or errors or any(name in expression for name in SELDOM) or where.removeprefix("record ") in derived


def test_all_that_rules_and_dashboard_ask_is_answered(watched, origin):
    proxy, prometheus = watched
    scraped = 'count_over_time(larder_build_info[5m]) >= 2'
    load(proxy, origin)
    until(lambda: prometheus.ask(scraped), "it was scraped", within=60)

    def unanswered():
        load(proxy, origin)
        asked = {where: prometheus.ask(expression) for where, expression in expressions().items()}
        told = {where for where, result in asked.items() if any(sample["value"][1] != "NaN" for sample in result)}
        return {where for where in asked.keys() - told if not may_be_empty(where, expressions()[where])}

    left = unanswered()
    assert len(expressions()) > 90
    try:
        until(lambda: not unanswered(), "all has data", within=30)
    except AssertionError:
        raise AssertionError(f"without data: {unanswered()}, at first {left}") from None


def test_it_is_up_and_every_rule_is_healthy(watched, origin):
    proxy, prometheus = watched
    load(proxy, origin)
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
        for case in test["alert_rule_test"]:
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
