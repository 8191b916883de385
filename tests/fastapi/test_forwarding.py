"""What the origin is told of the client, and what the client may not make it believe."""

import pytest

FORGED = {
    "X-Forwarded-For": "6.6.6.6",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Prefix": "/evil",
    "X-Original-URL": "/evil",
    "X-Rewrite-URL": "/evil",
    "X-HTTP-Method-Override": "DELETE",
    "Forwarded": "for=6.6.6.6;host=evil.example;proto=https",
}


def told(proxy, **headers):
    return {name.lower(): value for name, value in proxy.request("GET", "/api/echo", headers=headers).json()["headers"]}


def test_what_strangers_say_of_themselves_is_replaced_by_what_is_true(larder):
    heard = told(larder(""), **FORGED)
    assert heard["x-forwarded-for"] == "127.0.0.1" and heard["x-forwarded-proto"] == "http"
    assert not {"x-original-url", "x-rewrite-url", "x-http-method-override", "x-forwarded-prefix"} & set(heard)
    assert not [value for value in heard.values() if "evil" in value or "6.6.6.6" in value]


def test_a_trusted_proxy_is_believed(larder):
    heard = told(larder("trusted_proxies: 127.0.0.0/8"), **{"X-Forwarded-For": "9.9.9.9", "X-Forwarded-Proto": "https"})
    assert heard["x-forwarded-for"].replace(" ", "").split(",") == ["9.9.9.9", "127.0.0.1"]
    assert heard["x-forwarded-proto"] == "https"


def test_hop_by_hop_fields_end_here(larder):
    heard = told(larder(""), **{"Connection": "x-hop", "X-Hop": "1", "Keep-Alive": "5", "TE": "trailers"})
    assert not {"x-hop", "keep-alive", "te"} & set(heard)


def test_a_request_id_goes_through_and_one_is_made_where_there_is_none(larder):
    proxy = larder("trusted_proxies: 127.0.0.0/8")
    assert told(proxy, **{"X-Request-Id": "given"})["x-request-id"] == "given"
    assert told(proxy)["x-request-id"]


def test_a_redirect_to_the_slash_leads_back_through_the_proxy(larder):
    proxy = larder("routes: { /api/items: 1h }")
    redirect = proxy.get("/api/items")
    assert redirect.status_code == 307
    assert redirect.headers["Location"] == f"http://localhost:{proxy.port}/api/items/"


def test_a_redirect_to_the_slash_names_the_host_and_scheme_that_the_client_used(larder):
    proxy = larder("trusted_proxies: 127.0.0.0/8")
    plain = proxy.get("/api/items", Host="shop.example")
    assert plain.headers["Location"] == "http://shop.example/api/items/"
    secure = proxy.get("/api/items", Host="shop.example", X_Forwarded_Proto="https")
    assert secure.headers["Location"] == "https://shop.example/api/items/"


def test_hosts_names_who_is_served_and_the_first_is_what_the_origin_hears(larder):
    proxy = larder("hosts: api.example.com admin.example.com\nroutes: { /api/stats: 1h }")
    assert proxy.get("/api/stats", Host="evil.example").status_code == 421
    assert told(proxy, Host="ADMIN.example.com")["host"] == "api.example.com"
    assert proxy.get("/api/stats", Host="api.example.com").headers["X-Cache"] == "MISS"
    assert proxy.get("/api/stats", Host="admin.example.com").headers["X-Cache"] == "HIT"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "LOCALHOST.", "[::1]"])
def test_loopback_names_are_one_authority(larder, host):
    proxy = larder("routes: { /api/stats: 1h }")
    proxy.get("/api/stats")
    assert proxy.get("/api/stats", Host=f"{host}:{proxy.port}").headers["X-Cache"] == "HIT"


def test_other_hosts_have_entries_of_their_own(larder):
    proxy = larder("routes: { /api/stats: 1h }")
    verdicts = [proxy.get("/api/stats", Host=host).headers["X-Cache"] for host in ("a.example", "b.example", "A.EXAMPLE")]
    assert verdicts == ["MISS", "MISS", "HIT"]
