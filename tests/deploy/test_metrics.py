"""What is counted: that all of it is documented, that none of it grows with what clients invent, that Prometheus reads it."""

import re

import httpx
import pytest

from files import DEPLOY, README, RUNBOOK, family, metrics_of_the_source, named, panels, rules, run

CONFIG = """
routes: { "/api/projects/{id}": { ttl: 1h, tags: "project:{id}" }, /api/search: 1h, /api/stats: bypass }
writes: { "PUT /api/projects/{id}": "project:{id}" }
"""


def scrape(proxy):
    return httpx.get(f"{proxy.admin}/metrics", trust_env=False)


def series(proxy):
    """What stands before the value in each line."""
    lines = scrape(proxy).text.splitlines()
    return {line.rsplit(" ", 1)[0] for line in lines if not line.startswith("#")}


def test_every_metric_that_anything_names_is_declared():
    declared = metrics_of_the_source()
    assert len(declared) > 45, "src/metrics has another form"
    texts = {
        "the rules": (DEPLOY / "prometheus/larder.rules.yml").read_text(),
        "their tests": (DEPLOY / "prometheus/larder.rules.test.yml").read_text(),
        "the dashboard": (DEPLOY / "grafana/larder.json").read_text(),
        "the RUNBOOK": RUNBOOK,
        "the README": README,
    }
    for where, text in texts.items():
        unknown = {name for name in named(text) if family(name) not in declared}
        assert not unknown, f"{where}: {unknown}"


def table():
    """The README's table: name as it is in /metrics → its labels."""
    cells = [line.split("|")[1] for line in README.splitlines() if line.startswith("| `larder_")]
    entries = re.findall(r"`(larder_\w+)(?:\{([\w,]+)\})?`", " ".join(cells))
    return {family(name): set(filter(None, labels.split(","))) for name, labels in entries}


def test_every_metric_has_its_line_in_the_readme():
    assert metrics_of_the_source() == set(table())


def test_labels_are_those_that_the_readme_names(larder):
    proxy = larder(CONFIG)
    hostile(proxy, 5)
    documented = table()
    for line in series(proxy):
        name, _, labels = line.partition("{")
        seen = set(re.findall(r'(\w+)="', labels)) - {"le"}
        said = documented[family(name)] | ({"version"} if name == "larder_build_info" else set())
        assert seen <= said, line


def hostile(proxy, count):
    """Requests that have nothing in common: paths, queries, methods, hosts, fields, credentials, and what is no HTTP at all."""
    for n in range(count):
        known = n % 6
        method = ["GET", "GET", "HEAD", "PUT", "GET", f"M{n:x}"][known]
        path = [f"/x/{n}/%F0%9F%A6%8A", f"/api/projects/{n}", f"/api/search?q={n}&{n}=1", f"/api/projects/{n}", "/api/stats", f"/{n}"][known]
        fields = {"Host": f"h{n}.example", f"X-{n}": str(n), "Authorization": f"Bearer {n}", "Cookie": f"c{n}={n}", "User-Agent": str(n)}
        proxy.request(method, path, headers=fields, json={"name": str(n)} if method == "PUT" else None)
        if known == 0:
            proxy.raw_get(f"/{n}", **{"Content-Length": f"{n}x"})


@pytest.mark.parametrize("count", [1_500, pytest.param(10_000, marks=pytest.mark.long)])
def test_the_number_of_series_does_not_grow_with_what_clients_invent(larder, count):
    proxy = larder(CONFIG)
    for _ in range(2):  # the second time there are hits
        hostile(proxy, 24)
    warm = series(proxy)
    hostile(proxy, count)
    assert series(proxy) == warm


def classic(text):
    """OpenMetrics as the older text format has it, which is all that `promtool check metrics` reads."""
    lines = []
    kinds = dict(re.findall(r"^# TYPE (\S+) (\w+)$", text, re.MULTILINE))
    for line in text.splitlines():
        if (meta := re.match(r"# (HELP|TYPE) (\S+) (.*)", line)) is not None:
            word, name, rest = meta.groups()
            ending = {"counter": "_total", "info": "_info"}.get(kinds[name], "")
            rest = {"info": "gauge", "unknown": "untyped"}.get(rest, rest) if word == "TYPE" else rest
            lines.append(f"# {word} {name}{ending} {rest}")
        elif not line.startswith("#"):
            lines.append(line)
    return "\n".join(lines) + "\n"


def test_promtool_finds_nothing_wrong_with_the_metrics(larder):
    proxy = larder(CONFIG)
    hostile(proxy, 24)
    answer = scrape(proxy)
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    said = run("promtool", "check", "metrics", input=classic(answer.text))
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")


def test_every_panel_says_what_it_shows_and_in_which_unit():
    assert len(panels()) > 25
    for panel in panels():
        assert panel["description"] and panel["fieldConfig"]["defaults"]["unit"] and panel["targets"], panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}", "the reader chooses the data source"
    titles = [panel["title"] for panel in panels()]
    assert len(set(titles)) == len(titles) and rules("record")


def test_every_histogram_ends_with_all_that_it_counted(larder):
    """Without `+Inf` Prometheus has no percentile of it, and says so nowhere."""
    proxy = larder(CONFIG + "warm: { requests: [{ get: /api/projects/1 }] }\n")
    hostile(proxy, 24)
    lines = scrape(proxy).text.splitlines()
    counts, ends = {}, {}
    for line in lines:
        name, value = line.rsplit(" ", 1)
        labels = frozenset(re.findall(r'(\w+="[^"]*")', name)) - {'le="+Inf"'}
        if "_count" in name.split("{")[0]:
            counts[name.split("_count")[0], labels] = value
        elif '_bucket{' in name and 'le="+Inf"' in name:
            ends[name.split("_bucket")[0], labels] = value
    assert counts == ends and len({name for name, _ in counts}) >= 5
