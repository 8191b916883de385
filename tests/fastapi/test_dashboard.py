"""The dashboard in a real browser, before the real binary and a FastAPI app: what it shows is what happened."""

import gzip
import itertools
import json
import os
import random
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from browser import Browser
from origin import until
from proxy import ROOT, cached, status
from servers import Server

pytestmark = pytest.mark.any_backend

SHOTS = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "screenshots"
TOKEN = "open-sesame"
GUARDED = f"admin: {{ tokens: {{ eyes: {{ token: {TOKEN}, may: read }} }} }}\n"
PROJECTS = (ROOT / "config/projects.yaml").read_text().replace("listen: 0.0.0.0:${PORT:-8080}\n", "")
CACHES = ["hit", "stale", "revalidated", "miss", "bypass"]


@pytest.fixture(scope="module")
def browser():
    browser = Browser()
    yield browser
    browser.stop()


@pytest.fixture
def tab(browser):
    """`tab(…)` opens a tab that has nothing to complain of in the end."""
    opened = []

    def open(**kwargs):
        opened.append(browser.page(**kwargs))
        return opened[-1]

    yield open
    complaints = [complaint for page in opened for complaint in page.complaints() if not expected(complaint)]
    for page in opened:
        page.close()
    assert not complaints, complaints


def expected(complaint):
    """A refused token or question, and a process that has stopped, are in the console, whatever a page does."""
    return any(word in complaint for word in ["401 (Unauthorized)", "422 (Unprocessable", "net::ERR_", "503 (Service"])


def watch(page, proxy):
    page.open(f"{proxy.admin}/dashboard")
    until(lambda: page.text("#live") == "live" and page.eval("document.documentElement.dataset.drawn"), "it is live")


def load(proxy, requests=300, seed=1):
    """Plays requests of every kind; how many came back with each word of the cache, and how many with each route."""
    chance, counts = random.Random(seed), dict.fromkeys(CACHES, 0)
    for number in range(requests):
        id = min(30, int(chance.paretovariate(1.0)))
        kind = chance.random()
        if kind < 0.6:
            answer = proxy.get(f"/api/projects/{id}")
        elif kind < 0.8:
            answer = proxy.get(f"/api/projects?page={id % 3}")
        elif kind < 0.9:
            answer = proxy.get("/api/stats")
        elif kind < 0.96:
            answer = proxy.get(f"/api/auth/{number}")
        else:
            answer = proxy.request("PUT", f"/api/projects/{id}", json={})
        counts[cached(answer).lower()] += 1
    return counts


def shown(page):
    """The table of routes, by route: its requests."""
    return {row[0]: int(row[1].replace(",", "")) for row in page.rows("#routes")}


def test_the_numbers_are_those_of_the_metrics_and_of_the_client(larder, tab):
    proxy, page = larder(PROJECTS), tab()
    watch(page, proxy)
    counts = load(proxy)
    total = sum(counts.values())
    until(lambda: sum(shown(page).values()) == total, "all of them are shown")
    assert proxy.metric("larder_requests_total") == total
    for route, number in shown(page).items():
        assert proxy.metric("larder_requests_total", route=route) == number, route
    figures = httpx.get(f"{proxy.admin}/v1/figures").json()
    for cache, number in counts.items():
        assert figures["totals"]["requests"][cache] == number == proxy.metric("larder_requests_total", cache=cache), cache
    reads = counts["hit"] + counts["stale"] + counts["miss"] + counts["revalidated"]
    ratio = 100 * (counts["hit"] + counts["stale"]) / reads
    sentence = page.text("#sentence")
    assert f"{ratio:.1f} %" in sentence and f"{counts['hit'] + counts['stale']:,} calls to the origin avoided" in sentence
    invalidated = int(proxy.metric("larder_invalidations_total"))
    assert page.text("#invalidations-total").startswith(f"{invalidated:,}, ")
    page.screenshot(SHOTS / "dashboard-dark.png", whole=True)


def test_every_chart_has_a_table_with_the_same_numbers(larder, tab):
    proxy, page = larder(PROJECTS), tab()
    watch(page, proxy)
    counts = load(proxy, 120)
    for details in ["requests-details", "latency-details", "graph-details"]:
        page.click(f"#{details} summary")

    def by_minute():
        rows = page.rows("#requests-table")
        return {cache: sum(int(row[1 + at].replace(",", "")) for row in rows if len(row) > 5) for at, cache in enumerate(CACHES)}

    until(lambda: by_minute() == counts, "each minute is told")
    until(lambda: len(page.rows("#latency-table")) > 1, "latencies are told")
    assert ["project:{id}", "projects dashboard export:{id} /api/stats /api/search"] in page.rows("#dependencies")
    assert page.eval("[...document.querySelectorAll('.chart')].every((chart) => chart.querySelector('canvas'))")
    assert page.eval("[...document.querySelectorAll('table')].every((table) => table.caption.textContent && table.querySelector('th[scope=col]'))")
    assert page.eval("[...document.querySelectorAll('.spark')].every((spark) => spark.ariaLabel.includes('a second now'))")


def test_an_invalidation_is_seen_as_it_happens_and_what_follows_lights_up(larder, tab):
    proxy, page = larder(PROJECTS), tab()
    watch(page, proxy)
    proxy.get("/api/projects/42")
    proxy.get("/api/stats")
    httpx.post(f"{proxy.admin}/v1/purge", json={"tags": ["project:42"]})
    rows = until(lambda: [row for row in page.rows("#invalidations") if "project:42" in row[1]], "it is in the list")
    assert rows[0][1].startswith("admin: 127.0.0.1") and "projects" in rows[0][1] and rows[0][2] == "2"
    lit = "[...document.querySelectorAll('.lit title')].map((title) => title.textContent)"
    assert set(until(lambda: page.eval(lit), "it lights up")) == {
        "project:{id}", "projects", "dashboard", "export:{id}", "/api/stats", "/api/search"
    }


def test_another_configuration_is_seen_and_marked(larder, tab):
    proxy, page = larder(PROJECTS), tab()
    watch(page, proxy)
    page.click("#requests-details summary")
    before = page.text("#chips").split("configuration", 1)[1].split(",")[0].strip()
    file = proxy.out.with_suffix(".yaml")
    file.write_text(file.read_text().replace("/api/stats: 15m", "/api/stats: 16m").replace("project:{id}: projects", "project:{id}: renamed"))
    httpx.post(f"{proxy.admin}/v1/config/reload", json={}).raise_for_status()
    until(lambda: page.eval("document.querySelector('#news').textContent") == "Another configuration is in force.", "it is told")
    until(lambda: sum(int(row[-1]) for row in page.rows("#requests-table") if len(row) > 5) == 1, "it is marked")
    until(lambda: before not in page.text("#chips"), "it has another digest")
    until(lambda: "renamed" in page.eval("document.querySelector('#graph').textContent"), "the graph is another")


def test_the_box_explains_what_the_request_is_then_told(larder, tab):
    proxy, page = larder(PROJECTS), tab()
    watch(page, proxy)
    proxy.get("/api/projects/42")
    page.type("#explain-target", "/api/projects/42?utm_source=mail")
    page.press("Enter")
    told = until(lambda: page.text("#explained"), "it is explained")
    answer = proxy.get("/api/projects/42?utm_source=mail")
    assert cached(answer) == "HIT" and "HIT · larder; hit" in told and "project:42" in told
    page.eval("document.querySelector('#explain-target').value = 'no path'")
    page.click("#explain button")
    until(lambda: page.text("#explained .refused"), "what is none is refused")


def test_a_token_is_asked_for_and_stands_in_no_url(larder, tab):
    proxy, page = larder(PROJECTS + GUARDED), tab()
    load(proxy, 20)
    page.open(f"{proxy.admin}/dashboard")
    until(lambda: page.text("#login"), "it asks for a token")
    assert page.text("#main") is None and "/api/projects" not in page.eval("document.body.textContent").replace("/api/projects/42", "")
    page.type("#token", "open-barley")
    page.press("Enter")
    until(lambda: page.text("#refused") == "This token opens nothing here.", "it is refused")
    page.eval("document.querySelector('#token').value = ''")
    page.type("#token", TOKEN)
    page.press("Enter")
    until(lambda: page.text("#live") == "live" and sum(shown(page).values()) == 20, "it is live")
    assert not [url for url in page.asked() if TOKEN in url]
    assert page.eval("document.cookie") == "" and TOKEN not in page.eval("JSON.stringify({ ...localStorage }) + document.documentElement.outerHTML")
    page.open(f"{proxy.admin}/dashboard")
    until(lambda: page.text("#live") == "live", "the tab remembers it")
    page.click("#leave")
    until(lambda: page.text("#login") and page.text("#main") is None, "and forgets it")


def test_without_a_script_the_numbers_are_in_the_page(larder, tab):
    proxy, page = larder(PROJECTS), tab(scripts=False)
    counts = load(proxy, 100)
    page.open(f"{proxy.admin}/dashboard")
    assert shown(page)["/api/auth/{rest:path}"] > 0 and sum(shown(page).values()) == 100
    assert f"{counts['hit']:,} calls to the origin avoided" in page.text("#sentence")
    assert "reachable" in page.text("#chips") and page.rows("#dependencies") and page.rows("#invalidations")
    assert "larder explain" in page.text("section[aria-labelledby=h-explain]")
    page.screenshot(SHOTS / "dashboard-without-script.png", whole=True)


def test_without_a_script_the_token_goes_by_a_form(larder, tab):
    proxy, page = larder(PROJECTS + GUARDED), tab(scripts=False)
    load(proxy, 30)
    page.open(f"{proxy.admin}/dashboard")
    for word, is_let_in in [("open-barley", False), (TOKEN, True)]:
        page.type("#token", word)
        page.press("Enter")
        until(lambda: page.text("#sentence" if is_let_in else "#refused"), "the form is answered")
    assert sum(shown(page).values()) == 30 and page.eval("location.search") == ""
    assert TOKEN not in page.eval("document.documentElement.outerHTML")


def test_names_from_anywhere_stay_text(larder, tab):
    evil = "<img/src=x/onerror=window.hacked=1>"
    config = f"routes: {{ '/api/stats': {{ ttl: 1h, tags: '{evil}' }}, '/{evil}/{{id}}': 1h }}\ndependencies: {{ '{evil}': ['b{evil}'] }}\n"
    for scripts in [True, False]:
        proxy, page = larder(config), tab(scripts=scripts)
        for target in ["/api/stats", "/api/stats?<script>window.hacked=1</script>", "/%3Cscript%3Ewindow.hacked=1%3C/script%3E"]:
            proxy.get(target)
            proxy.get(target)
        proxy.get(f"/{evil}/1")
        httpx.post(f"{proxy.admin}/v1/purge", json={"tags": [evil, "<script>window.hacked=1</script>"]})
        page.open(f"{proxy.admin}/dashboard")
        until(lambda: any(evil in "".join(row) for row in page.rows("#invalidations")), "it is shown")
        if scripts:
            page.type("#explain-target", f"/{evil}?<script>window.hacked=1</script>")
            page.click("#explain button")
            until(lambda: page.text("#explained"), "it is explained")
            until(lambda: "img" in page.eval("document.querySelector('#graph').textContent"), "it is drawn")
        assert page.eval("document.querySelectorAll('main img, main script, main [onerror]').length") == 0
        assert page.eval("'hacked' in window") is False
        assert not [url for url in page.asked() if url.endswith("/x")]


def test_everything_can_be_reached_and_pressed_by_keyboard(larder, tab):
    proxy, page = larder(PROJECTS), tab(still=True)
    load(proxy, 40)
    watch(page, proxy)
    until(lambda: page.rows("#routes"), "routes are shown")
    wanted = page.eval("""[...document.querySelectorAll('a, button, input, select, textarea, summary, [tabindex]')]
        .filter((one) => one.checkVisibility()).map((one, at) => (one.dataset.at = String(at)))""")
    reached = set()
    for _ in range(2 * len(wanted)):
        page.press("Tab")
        reached.add(page.eval("document.activeElement.dataset.at ?? null"))
        focused = page.eval("document.activeElement === document.body || getComputedStyle(document.activeElement).outlineStyle")
        assert focused is True or focused != "none", "whoever is focused shows it"
    assert reached - {None} == set(wanted)
    page.eval("document.querySelector('#pause').focus()")
    page.press(" ")
    until(lambda: page.text("#live") == "paused", "it is paused")
    drawn = page.eval("document.documentElement.dataset.drawn")
    proxy.get("/api/stats")
    until(lambda: httpx.get(f"{proxy.admin}/v1/figures").json()["totals"]["requests"]["all"] == 41, "it was counted")
    assert page.eval("document.documentElement.dataset.drawn") == drawn
    page.press(" ")
    until(lambda: sum(shown(page).values()) == 41, "it goes on")
    page.eval("document.querySelector('#routes [data-sort=ratio]').focus()")
    page.press("Enter")
    until(lambda: page.eval("document.querySelector('[aria-sort=ascending] button').dataset.sort") == "ratio", "it is sorted")


def test_who_does_not_see_it_finds_his_way(larder, tab):
    proxy, page = larder(PROJECTS), tab()
    watch(page, proxy)
    tree = page.call("Accessibility.getFullAXTree")["nodes"]
    roles = {}
    for node in tree:
        if not node.get("ignored"):
            roles.setdefault(node["role"]["value"], []).append(node.get("name", {}).get("value", ""))
    assert len(roles["main"]) == len(roles["banner"]) == len(roles["contentinfo"]) == 1
    for wanted in ["Requests by", "Latency", "Routes", "Invalidations", "What follows", "Memory", "Explain a request"]:
        assert any(name.startswith(wanted) for name in roles["region"]), roles["region"]
    for role in ["button", "textbox", "combobox", "link"]:
        assert all(name.strip() for name in roles.get(role, [])), (role, roles[role])
    # What is told aloud is told when it changes, and not each second.
    live = page.eval("[...document.querySelectorAll('[aria-live], [role=status], [role=alert], [role=log]')].map((one) => one.id)")
    assert set(live) == {"live", "refused", "news", "explained"}
    assert page.eval("document.documentElement.lang") == "en"


def test_a_process_that_is_gone_is_not_shown_as_live_and_the_next_one_is(larder, tab):
    proxy, page = larder(PROJECTS), tab()
    watch(page, proxy)
    load(proxy, 30)
    until(lambda: sum(shown(page).values()) == 30, "it is shown")
    proxy.process.terminate()
    proxy.process.wait(15)
    until(lambda: (page.text("#live") or "").startswith("not live"), "it says so")
    page.screenshot(SHOTS / "dashboard-not-live.png")
    again = subprocess.Popen(proxy.process.args, cwd=proxy.out.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    proxy.process = again
    until(lambda: page.text("#live") == "live", "it is live again", within=60)
    proxy.get("/api/stats")
    until(lambda: shown(page) == {"/api/stats": 1}, "it counts anew")


def test_an_outage_of_redis_is_seen_and_its_alert(larder, tab, tmp_path):
    redis = Server(tmp_path)
    config = PROJECTS.replace("url: ${REDIS_URL:-}", f"url: redis://127.0.0.1:{redis.port}") + "monitor: { every: 1s }\n"
    try:
        proxy, page = larder(config), tab(dark=False)
        watch(page, proxy)
        chips = lambda: page.text("#chips").replace("\n", " ")
        until(lambda: "Redis connected" in chips() and "lease held" in chips(), "Redis is there")
        redis.kill()
        until(lambda: "Redis away" in chips(), "it is away", within=30)
        until(lambda: "alerts redis" in chips() and page.text("#news") is not None, "an alert begins", within=60)
        page.screenshot(SHOTS / "dashboard-light-redis-away.png")
        redis.start()
        until(lambda: "Redis connected" in chips() and "alerts none" in chips(), "it is back", within=60)
    finally:
        redis.end()


def test_it_is_small_and_asks_nobody_else(larder, tab):
    proxy, page = larder(PROJECTS), tab()
    watch(page, proxy)
    own = {url for url in page.asked() if not url.startswith("data:")}
    assert all(url.startswith(f"{proxy.admin}/") for url in own), own
    files = {url for url in own if "/v1/" not in url}
    size = 0
    for url in files:
        with httpx.stream("GET", url, headers={"accept-encoding": "gzip"}) as answer:
            body = b"".join(answer.iter_raw())
            size += len(body) if answer.headers.get("content-encoding") == "gzip" else len(gzip.compress(body))
    assert size <= 120_000, size
    etag = httpx.get(f"{proxy.admin}/dashboard/app.js").headers["etag"]
    assert httpx.get(f"{proxy.admin}/dashboard/app.js", headers={"if-none-match": etag}).status_code == 304


@pytest.mark.parametrize("width", [600, 1024, 1700])
def test_it_fits_every_screen(larder, tab, width):
    proxy, page = larder(PROJECTS), tab(width=width, height=900, dark=width != 1024)
    load(proxy, 60)
    watch(page, proxy)
    until(lambda: page.rows("#routes"), "routes are shown")
    assert page.eval("document.documentElement.scrollWidth") <= width
    page.screenshot(SHOTS / f"dashboard-{width}.png", whole=True)


@pytest.mark.long
def test_an_hour_of_load_is_shown_in_bounded_memory(larder, tab):
    """LARDER_DASHBOARD_SECONDS: how long; an hour unless it says otherwise."""
    seconds = float(os.environ.get("LARDER_DASHBOARD_SECONDS", 3600))
    proxy, page = larder(PROJECTS), tab()
    watch(page, proxy)
    end, heaps, seeds = time.monotonic() + seconds, [], itertools.count(1)
    total = 0
    while time.monotonic() < end:
        slice_end = min(end, time.monotonic() + seconds / 20)
        while time.monotonic() < slice_end:
            total += sum(load(proxy, 100, next(seeds)).values())
        heaps.append(page.heap())
        page.browser.heard.clear()
    until(lambda: sum(shown(page).values()) == total, "it is live to the end")
    assert page.text("#live") == "live"
    # What it remembers is full after a quarter of an hour: the second half grows no more than rubbish does.
    half = max(size for size, _ in heaps[: len(heaps) // 2])
    print(json.dumps({"seconds": seconds, "requests": total, "heaps": heaps}))
    assert max(size for size, _ in heaps) < 20 * 2**20, heaps
    assert max(size for size, _ in heaps[len(heaps) // 2 :]) < half + 4 * 2**20, heaps
    assert max(nodes for _, nodes in heaps) < 10_000, heaps
