"""A search that is a POST, as pydantic reads it."""

import json

CONFIG = """
routes:
  /api/find: { ttl: 1h, methods: [GET, POST], key: { body: json, ignore: [$.request_id] } }
"""
JSON = {"Content-Type": "application/json"}


def post(proxy, body, headers=JSON):
    return proxy.request("POST", "/api/find", content=body, headers=headers)


def test_spellings_of_one_search_are_answered_once(larder, origin):
    proxy = larder(CONFIG)
    bodies = [
        '{"request_id":"a","q":"caf\u00e9","page":2,"near":{"lat":52.5,"lon":13.4}}',
        '{"near":{"lon":13.4,"lat":52.5},"page":2,"q":"caf\\u00e9","request_id":"b"}',
        '{ "q": "caf\u00e9", "page": 2.0, "near": { "lat": 52.50, "lon": 1.34e1 }, "request_id": "c" }',
    ]
    replies = [post(proxy, body.encode()) for body in bodies]
    assert [reply.headers["X-Cache"] for reply in replies] == ["MISS", "HIT", "HIT"]
    asked = {"request_id": "a", "q": "caf\u00e9", "page": 2, "near": {"lat": 52.5, "lon": 13.4}}
    assert all(reply.json() == {"asked": asked, "n": 1} for reply in replies)
    assert origin.count("/api/find") == 1


def test_another_search_is_another_answer(larder):
    proxy = larder(CONFIG)
    replies = [post(proxy, json.dumps({"request_id": "x", "q": "a", "page": page})) for page in (1, 2, 1, 2)]
    assert [reply.headers["X-Cache"] for reply in replies] == ["MISS", "MISS", "HIT", "HIT"]
    assert [reply.json()["asked"]["page"] for reply in replies] == [1, 2, 1, 2]


def test_what_the_backend_refuses_is_not_kept(larder, origin):
    proxy = larder(CONFIG)
    for _ in range(2):
        assert post(proxy, '{"q":"a"}').status_code == 422, "request_id is required, and sent although it is ignored"
        assert post(proxy, "q=a").status_code == 422
    assert origin.count("/api/find") == 4


def test_a_declared_read_outdates_nothing(larder, origin):
    proxy = larder(CONFIG)
    body = '{"request_id":"x","q":"a"}'
    post(proxy, body)
    post(proxy, '{"request_id":"x","q":"b"}')
    assert post(proxy, body).headers["X-Cache"] == "HIT"
    proxy.request("DELETE", "/api/find")
    assert post(proxy, body).headers["X-Cache"] == "HIT", "a 405 changed nothing"
