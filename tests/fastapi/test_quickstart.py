"""Three lines of YAML in front of a FastAPI app."""

import pytest

from proxy import ROOT, cached, status

OF_THE_CACHE = {"age", "cache-status", "x-cache", "etag"}


def headers_of_the_origin(response, but=()):
    hidden = OF_THE_CACHE | {"connection", "keep-alive", "transfer-encoding"} | set(but)
    return sorted((name, value) for name, value in response.headers.multi_items() if name not in hidden)


@pytest.fixture
def quickstart(larder):
    return larder(ROOT / "config/quickstart.yaml")


def test_the_second_get_is_a_hit_and_the_same_but_for_the_caches_own_headers(quickstart, origin):
    first, second = quickstart.get("/api/projects/42"), quickstart.get("/api/projects/42")
    assert (cached(first), cached(second)) == ("MISS", "HIT")
    assert first.content == second.content and first.json()["n"] == 1
    assert headers_of_the_origin(first) == headers_of_the_origin(second)
    assert origin.count("/api/projects/42") == 1


def test_what_the_client_gets_is_what_the_origin_sent(quickstart, origin):
    direct = origin.desk.get(f"{origin.url}/api/projects/42")
    through = quickstart.get("/api/projects/42")
    assert headers_of_the_origin(direct, but=["date"]) == headers_of_the_origin(through, but=["date"])
    assert direct.json() | {"n": 2} == through.json()


def test_cache_status_and_age_say_what_happened(quickstart):
    miss, hit = quickstart.get("/api/projects/42"), quickstart.get("/api/projects/42")
    assert status(miss)["fwd"] == "uri-miss" and "hit" not in status(miss)
    assert status(hit)["hit"] is True and 1700 < int(status(hit)["ttl"]) <= 1800
    assert 0 <= int(hit.headers["Age"]) < 60


def test_a_browsers_reload_does_not_flush_the_cache(quickstart, origin):
    quickstart.get("/api/projects/42")
    assert cached(quickstart.get("/api/projects/42", Cache_Control="no-cache", Pragma="no-cache")) == "HIT"
    assert origin.count("/api/projects/42") == 1


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_an_update_passes_with_its_body_and_drops_what_it_outdates(quickstart, method):
    assert quickstart.get("/api/projects/42").json()["version"] == 0
    quickstart.get("/api/projects/42?full=1")
    written = quickstart.request(method, "/api/projects/42", json={"name": "x" * 10_000})
    assert written.json() == {"id": "42", "version": 1, "got": {"name": "x" * 10_000}}
    for target in ("/api/projects/42", "/api/projects/42?full=1"):
        after = quickstart.get(target)
        assert cached(after) == "MISS" and after.json()["version"] == 1


def test_a_post_passes_with_its_body(quickstart, origin):
    created = quickstart.request("POST", "/api/projects", json={"name": "y"})
    assert created.status_code == 201 and created.json()["got"] == {"name": "y"}
    assert created.headers["Location"] == "/api/projects/7"
    assert origin.count("/api/projects", "POST") == 1


def test_a_post_drops_the_entry_that_its_location_names(quickstart):
    assert quickstart.get("/api/projects/7").json()["version"] == 0
    quickstart.request("POST", "/api/projects", json={})
    assert quickstart.get("/api/projects/7").json()["version"] == 1


def test_a_delete_passes(quickstart):
    quickstart.get("/api/projects/42")
    assert quickstart.request("DELETE", "/api/projects/42").status_code == 204
    assert cached(quickstart.get("/api/projects/42")) == "MISS"


def test_what_no_route_names_passes_and_is_not_kept(quickstart, origin):
    assert [quickstart.get("/api/stats").json()["n"] for _ in range(2)] == [1, 2]
