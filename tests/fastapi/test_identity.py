"""Who may share an entry with whom."""

import pytest

from origin import until
from proxy import cached, status

CONFIG = """
routes:
  /api/whoami: { ttl: 1h }
  /api/visits: 1h
"""

CREDENTIALS = {
    "authorization": [{"Authorization": "Bearer one"}, {"Authorization": "Bearer two"}],
    "api key": [{"X-Api-Key": "one"}, {"X-Api-Key": "two"}],
    "gateway header": [{"X-Tenant-Id": "one"}, {"X-Tenant-Id": "two"}],
    "session cookie": [{"Cookie": "session=one"}, {"Cookie": "session=two"}],
}


def ask(proxy, headers, path="/api/whoami"):
    response = proxy.request("GET", path, headers=headers)
    return cached(response), response.json()["who"]


@pytest.mark.parametrize("kind", CREDENTIALS)
def test_two_credentials_never_share(larder, kind):
    proxy = larder(CONFIG)
    one, two = CREDENTIALS[kind]
    assert ask(proxy, {}) == ("MISS", [None] * 4)
    for headers in (one, two):
        (value,) = headers.values()
        verdict, who = ask(proxy, headers)
        assert verdict == "MISS" and value in who
        assert ask(proxy, headers) == ("HIT", who)
    assert ask(proxy, {}) == ("HIT", [None] * 4)


def test_a_credential_is_one_of_all_that_a_request_carries(larder):
    proxy = larder(CONFIG)
    both = {"Authorization": "Bearer one", "X-Tenant-Id": "a"}
    assert ask(proxy, both)[0] == "MISS"
    assert ask(proxy, both | {"X-Tenant-Id": "b"})[0] == "MISS"
    assert ask(proxy, {"Authorization": "Bearer one"})[0] == "MISS"
    assert ask(proxy, both)[0] == "HIT"


def test_an_analytics_cookie_does_not_spoil_a_hit_and_is_not_sent_on_a_shared_fill(larder, origin):
    proxy = larder(CONFIG)
    assert ask(proxy, {"Cookie": "_ga=GA1.1.1"}) == ("MISS", [None] * 4)
    assert "cookie" not in origin.seen("/api/whoami")[0]["headers"]
    assert ask(proxy, {"Cookie": "_ga=GA1.2.2; _gid=x"})[0] == "HIT"
    assert ask(proxy, {})[0] == "HIT"


def test_an_analytics_cookie_beside_a_session_does_not_part_its_entries(larder):
    proxy = larder(CONFIG)
    assert ask(proxy, {"Cookie": "session=one; _ga=1"})[0] == "MISS"
    assert ask(proxy, {"Cookie": "_ga=2; session=one"})[0] == "HIT"


def test_set_cookie_is_never_replayed(larder, origin):
    proxy = larder(CONFIG)
    for number in (1, 2):
        response = proxy.get("/api/visits")
        assert response.headers["Set-Cookie"].startswith(f"session=s{number};")
        assert status(response)["detail"].startswith("set-cookie")
    assert origin.count("/api/visits") == 2


def test_scope_user_keeps_entries_per_credential_and_bypasses_without_one(larder, origin):
    proxy = larder("routes: { /api/whoami: { ttl: 1h, scope: user } }")
    assert [ask(proxy, {})[0] for _ in range(2)] == ["BYPASS"] * 2
    assert [ask(proxy, {"X-Api-Key": "one"})[0] for _ in range(2)] == ["MISS", "HIT"]
    assert ask(proxy, {"X-Api-Key": "two"})[0] == "MISS"
    assert origin.count("/api/whoami") == 4


def test_scope_public_is_shared_by_all_and_its_fill_carries_no_credential(larder, origin):
    proxy = larder("routes: { /api/whoami: { ttl: 1h, scope: public } }")
    everything = {"Authorization": "Bearer one", "X-Api-Key": "one", "X-Tenant-Id": "one", "Cookie": "session=one"}
    assert ask(proxy, everything) == ("MISS", [None] * 4)
    assert ask(proxy, {"Authorization": "Bearer two"}) == ("HIT", [None] * 4)
    sent = origin.seen("/api/whoami")[0]["headers"]
    assert not {"authorization", "x-api-key", "x-tenant-id", "cookie"} & set(sent)


def test_a_public_route_that_answers_401_is_demoted_and_then_nobody_shares(larder):
    proxy = larder("routes: { /api/members: { ttl: 1h, scope: public } }")
    one, two = {"Authorization": "Bearer one"}, {"Authorization": "Bearer two"}
    until(lambda: ask(proxy, one, "/api/members")[1] == "Bearer one", "the route is demoted to auto")
    assert ask(proxy, two, "/api/members") == ("MISS", "Bearer two")
    assert ask(proxy, two, "/api/members") == ("HIT", "Bearer two")
    assert ask(proxy, {}, "/api/members")[1] is None


def test_identity_credentials_replaces_the_list(larder):
    proxy = larder("identity:\n  credentials: cookie:uid\nroutes: { /api/whoami: 1h }")
    assert ask(proxy, {"Cookie": "uid=one"})[0] == "MISS"
    assert ask(proxy, {"Cookie": "uid=two"})[0] == "MISS"
    assert ask(proxy, {"Cookie": "uid=one; theme=dark"})[0] == "HIT"
