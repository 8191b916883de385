"""How long an entry lives, by whose word, and what may be served after that."""

import pytest

from origin import until
from proxy import cached


def not_a_hit(proxy, path):
    """The first answer that is no plain hit any more."""
    return until(lambda: (response := proxy.get(path)) and cached(response) != "HIT" and response, "the entry ages")


def test_stale_while_revalidate_serves_the_old_body_and_fetches_the_new_one_behind(larder):
    proxy = larder("routes: { /api/stats: { ttl: 50ms, stale_while_revalidate: 1h } }")
    assert proxy.get("/api/stats").json()["n"] == 1
    stale = not_a_hit(proxy, "/api/stats")
    assert cached(stale) == "STALE" and stale.json()["n"] == 1
    until(lambda: proxy.get("/api/stats").json()["n"] > 1, "the refresh is stored")


def test_stale_if_error_covers_for_an_origin_that_fails(larder, origin):
    proxy = larder("routes: { /api/stats: { ttl: 50ms, stale_while_revalidate: 0s, stale_if_error: 1h } }")
    proxy.get("/api/stats")
    origin.answer("/api/stats", 503)
    stale = not_a_hit(proxy, "/api/stats")
    assert (stale.status_code, cached(stale), stale.json()["n"]) == (200, "STALE", 1)


def test_without_stale_if_error_the_failure_is_shown_and_not_kept(larder, origin):
    proxy = larder("routes: { /api/stats: { ttl: 50ms, stale_while_revalidate: 0s, stale_if_error: 0s } }")
    proxy.get("/api/stats")
    origin.answer("/api/stats", 503)
    assert not_a_hit(proxy, "/api/stats").status_code == 503
    before = origin.count("/api/stats")
    assert proxy.get("/api/stats").status_code == 503
    assert origin.count("/api/stats") == before + 1


@pytest.mark.parametrize("word", ["no-store", "private", "max-age=0, must-revalidate"])
def test_the_origins_word_wins_over_the_routes_ttl(larder, word):
    proxy = larder("routes: { /api/says: 1h }")
    bodies = [proxy.request("GET", "/api/says", params={"cache_control": word}).text for _ in range(2)]
    assert bodies == ["1", "2"]


def test_the_origins_max_age_is_the_life_of_the_entry(larder):
    proxy = larder("routes: { /api/says: 1h }")
    hits = [proxy.request("GET", "/api/says", params={"cache_control": "max-age=120"}) for _ in range(2)]
    assert cached(hits[1]) == "HIT"
    assert 60 < int(hits[1].headers["Cache-Status"].split("ttl=")[1].split(";")[0]) <= 120


def test_what_no_route_matches_is_kept_only_on_the_origins_explicit_word(larder, origin):
    proxy = larder("routes: { /api/stats: 1h }")
    said = [cached(proxy.request("GET", "/api/says", params={"cache_control": "max-age=60"})) for _ in range(2)]
    assert said == ["MISS", "HIT"]
    for _ in range(2):
        proxy.get("/api/search")
    assert origin.count("/api/search") == 2


def test_unmatched_bypass_keeps_nothing_without_a_route(larder):
    proxy = larder("defaults: { unmatched: bypass }\nroutes: { /api/stats: 1h }")
    said = [cached(proxy.request("GET", "/api/says", params={"cache_control": "max-age=60"})) for _ in range(2)]
    assert said == ["BYPASS", "BYPASS"]


def test_a_bypass_route_is_never_kept(larder):
    proxy = larder('routes: { "/api/static/{rest:path}": bypass }')
    assert [cached(proxy.get("/api/static/a")) for _ in range(2)] == ["BYPASS", "BYPASS"]


@pytest.mark.parametrize("terminal", ["done", "FAILED", "SUCCESS"])
def test_a_job_is_kept_only_once_it_has_ended(larder, origin, terminal):
    proxy = larder('routes: { "/api/jobs/{id}": { preset: job-status } }')
    running = [proxy.get("/api/jobs/7") for _ in range(2)]
    assert [response.json()["n"] for response in running] == [1, 2]
    origin.set_job("7", terminal)
    assert proxy.get("/api/jobs/7").json()["status"] == terminal
    ended = proxy.get("/api/jobs/7")
    assert cached(ended) == "HIT" and ended.json()["n"] == 3
