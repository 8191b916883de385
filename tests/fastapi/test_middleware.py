"""What Starlette's middleware, and FastAPI itself, make of responses. Each was seen."""

import re

import pytest

from proxy import cached

CONFIG = """
routes:
  /listed/items: 1h
  /anyone/items: 1h
  /api/etag: 1h
  /api/projects/{id}: 1h
warm:
  requests: [{ get: /listed/items }]
"""

BROWSER = {
    "Accept": "*/*",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Accept-Language": "de-DE,de;q=0.9,en;q=0.8",
    "User-Agent": "Mozilla/5.0",
    "Sec-Fetch-Mode": "cors",
}


def test_a_warmed_entry_matches_a_browser(larder, origin):
    proxy = larder(CONFIG)
    assert origin.count("/listed/items") == 1
    response = proxy.request("GET", "/listed/items", headers=BROWSER)
    assert cached(response) == "HIT" and len(response.json()["items"]) == 100


def test_clients_with_and_without_gzip_each_get_what_they_can_read(larder):
    proxy = larder(CONFIG)
    for _ in range(2):
        plain = proxy.get("/listed/items", Accept_Encoding="identity")
        assert "Content-Encoding" not in plain.headers and len(plain.json()["items"]) == 100
        assert len(proxy.request("GET", "/listed/items", headers=BROWSER).json()["items"]) == 100
    assert cached(plain) == "HIT"


@pytest.mark.parametrize("path", ["/listed/items", "/anyone/items"])
def test_a_browser_with_an_origin_and_one_without_get_each_their_own(larder, path):
    proxy = larder(CONFIG)
    allowed = "https://a.example" if path == "/listed/items" else "*"
    for _ in range(2):
        assert "Access-Control-Allow-Origin" not in proxy.request("GET", path, headers=BROWSER).headers
        crossing = proxy.request("GET", path, headers=BROWSER | {"Origin": "https://a.example"})
        assert crossing.headers["Access-Control-Allow-Origin"] == allowed
    assert cached(crossing) == "HIT"


def test_two_origins_never_get_each_others_permission(larder):
    proxy = larder(CONFIG)
    for _ in range(2):
        for origin in ("https://a.example", "https://b.example", "https://evil.example"):
            response = proxy.request("GET", "/listed/items", headers=BROWSER | {"Origin": origin})
            granted = response.headers.get("Access-Control-Allow-Origin")
            assert granted == (None if "evil" in origin else origin)


def test_an_etag_that_is_none_is_replaced_by_one_that_works(larder):
    proxy = larder(CONFIG)
    proxy.get("/api/etag")
    hit = proxy.get("/api/etag")
    assert cached(hit) == "HIT" and hit.text == "etag"
    assert re.fullmatch(r'(W/)?"[\x21\x23-\x7e]*"', hit.headers["ETag"])
    unchanged = proxy.get("/api/etag", If_None_Match=hit.headers["ETag"])
    assert unchanged.status_code == 304 and unchanged.content == b""
    assert unchanged.headers["ETag"] == hit.headers["ETag"]
    assert proxy.get("/api/etag", If_None_Match='"another"').status_code == 200


def test_a_made_etag_is_never_sent_upstream(larder, origin):
    proxy = larder("routes: { \"/api/projects/{id}\": 1h }")
    proxy.get("/api/projects/42")
    etag = proxy.get("/api/projects/42").headers["ETag"]
    proxy.request("PUT", "/api/projects/42", json={})
    assert proxy.get("/api/projects/42", If_None_Match=etag).status_code == 200
    assert all("if-none-match" not in request["headers"] for request in origin.seen("/api/projects/42"))


def test_head_is_answered_from_a_get_although_the_origin_says_405(larder, origin):
    proxy = larder(CONFIG)
    cold = proxy.request("HEAD", "/api/projects/42")
    full = proxy.get("/api/projects/42")
    warm = proxy.request("HEAD", "/api/projects/42")
    assert (cold.status_code, warm.status_code) == (200, 200)
    assert cold.content == warm.content == b""
    # The cold HEAD is answered at the head of the one fetch; the GET behind it may still read along.
    assert cached(warm) == "HIT" and origin.count("/api/projects/42") == 1
    assert warm.headers["Content-Length"] == str(len(full.content))
    assert [request["method"] for request in origin.seen("/api/projects/42")] == ["GET"]
