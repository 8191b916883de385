"""The backend itself, without a proxy: a test that relies on a gate must be able to."""

import threading

import httpx

from origin import DEADLINE


def test_it_counts_what_arrives(origin):
    assert httpx.get(f"{origin.url}/api/projects/42?a=1").json() == {"id": "42", "version": 0, "n": 1}
    assert origin.count("/api/projects/42") == 1
    assert origin.seen("/api/projects/42")[0]["target"] == "/api/projects/42?a=1"


def test_a_gate_holds_an_answer_that_is_already_made(origin):
    origin.close_gate("GET /api/projects/42", stage="response", limit=1)
    answers = []
    held = threading.Thread(target=lambda: answers.append(httpx.get(f"{origin.url}/api/projects/42", timeout=DEADLINE)))
    held.start()
    origin.wait_at_gate("GET /api/projects/42")
    httpx.put(f"{origin.url}/api/projects/42", json={})
    assert httpx.get(f"{origin.url}/api/projects/42").json()["version"] == 1
    assert not answers
    origin.open_gate("GET /api/projects/42")
    held.join()
    assert answers[0].json()["version"] == 0


def test_it_behaves_as_real_backends_do(origin):
    assert httpx.head(f"{origin.url}/api/projects/42").status_code == 405
    assert httpx.get(f"{origin.url}/api/items").headers["Location"] == f"{origin.url}/api/items/"
    assert httpx.get(f"{origin.url}/api/etag").headers["ETag"] == "W/1851"
    plain, crossing = (httpx.get(f"{origin.url}/anyone/items", headers=h) for h in ({}, {"Origin": "https://a.example"}))
    assert "Access-Control-Allow-Origin" not in plain.headers
    assert crossing.headers["Access-Control-Allow-Origin"] == "*"
