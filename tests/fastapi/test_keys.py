"""Which requests are the same request."""

import pytest

CONFIG = """
defaults: { ignore_query: utm_* fbclid }
routes:
  /api/search: 1h
  /api/items: 1h
  /api/stats: { ttl: 1h, key: { query: [page] } }
  /api/static/{path:path}: 24h
  /api/projects/{id}: { ttl: 1h, negative: { 404: 1h } }
  /api/whoami: { ttl: 1h, key: { headers: [X-Plan] } }
"""

SAME = {
    "order": ("/api/search?a=1&b=2", "/api/search?b=2&a=1"),
    "escaped name": ("/api/search?q=1", "/api/search?%71=1"),
    "ignored": ("/api/search?q=1", "/api/search?utm_source=x&q=1&fbclid=y"),
    "ignored, escaped": ("/api/search?q=1", "/api/search?%75tm_source=x&q=1"),
    "not listed": ("/api/stats?page=2", "/api/stats?page=2&other=1"),
    "escaped path": ("/api/search?q=1", "/api/s%65arch?q=1"),
}

DIFFERENT = {
    "value": ("/api/search?a=1", "/api/search?a=2"),
    "order of repeats": ("/api/search?a=1&a=2", "/api/search?a=2&a=1"),
    "semicolon": ("/api/search?a=1;b=2", "/api/search?a=1&b=2"),
    "escaped ampersand": ("/api/search?a=1%26b=2", "/api/search?a=1&b=2"),
    "listed": ("/api/stats?page=2", "/api/stats?page=3"),
    "case of the value": ("/api/search?a=x", "/api/search?a=X"),
}


@pytest.mark.parametrize("pair", SAME)
def test_these_are_one_entry(larder, pair):
    proxy = larder(CONFIG)
    one, other = SAME[pair]
    first, second = proxy.raw_get(one), proxy.raw_get(other)
    assert (first[0], second[0]) == ("MISS", "HIT") and first[1] == second[1]


@pytest.mark.parametrize("pair", DIFFERENT)
def test_these_are_two(larder, pair):
    proxy = larder(CONFIG)
    one, other = DIFFERENT[pair]
    assert [proxy.raw_get(target)[0] for target in (one, other, one)] == ["MISS", "MISS", "HIT"]


def test_what_is_dropped_from_the_key_is_not_sent(larder, origin):
    proxy = larder(CONFIG)
    proxy.raw_get("/api/search?utm_source=x&q=1")
    proxy.raw_get("/api/stats?page=2&other=1")
    assert [request["target"] for request in origin.seen()] == ["/api/search?q=1", "/api/stats?page=2"]


def test_a_declared_header_parts_entries(larder):
    proxy = larder(CONFIG)
    assert [proxy.get("/api/whoami", X_Plan=plan).headers["X-Cache"] for plan in "aba"] == ["MISS", "MISS", "HIT"]


def test_a_template_matches_with_and_without_the_slash(larder):
    proxy = larder(CONFIG)
    assert [proxy.raw_get("/api/items/")[0] for _ in range(2)] == ["MISS", "HIT"]
    assert proxy.raw_get("/api/items")[2] == 307


@pytest.mark.parametrize("path", ["/api/static/", "/api/static/a.css", "/api/static/css/deep/a.css"])
def test_a_catch_all_matches_any_depth_and_the_empty_rest(larder, path):
    proxy = larder(CONFIG)
    assert [proxy.raw_get(path)[0] for _ in range(2)] == ["MISS", "HIT"]


@pytest.mark.parametrize("path", ["a%2fb", "a%5cb", "a//b", "a/../b", "a/%2e%2e/b"])
def test_an_ambiguous_path_is_never_cached(larder, origin, path):
    proxy = larder(CONFIG)
    verdicts = [proxy.raw_get(f"/api/static/{path}")[0] for _ in range(2)]
    assert "HIT" not in verdicts, verdicts


def test_a_404_is_kept_only_where_the_route_says_so(larder, origin):
    proxy = larder(CONFIG)
    for path in ("/api/projects/none", "/api/search"):
        origin.answer(path, 404)
    kept = [proxy.get("/api/projects/none") for _ in range(2)]
    assert [(r.status_code, r.headers["X-Cache"]) for r in kept] == [(404, "MISS"), (404, "HIT")]
    for _ in range(2):
        assert proxy.get("/api/search").status_code == 404
    assert (origin.count("/api/projects/none"), origin.count("/api/search")) == (1, 2)
