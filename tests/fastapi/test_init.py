"""`larder init --from-openapi` on a running FastAPI app: the file it writes, as it is, in front of that app."""

import contextlib
import json
import subprocess
import sys

import httpx
import pytest

from origin import DEADLINE, HERE, free_port, until
from proxy import BINARY, cached

ADA, BOB = {"Authorization": "Bearer token-1"}, {"Authorization": "Bearer token-2"}


def larder_command(*line):
    done = subprocess.run([str(BINARY), *map(str, line)], capture_output=True, text=True, timeout=60)
    assert "panicked" not in done.stderr, done.stderr
    return done


@pytest.fixture(scope="module")
def typed():
    """The typed application under uvicorn; gives its URL."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "typed_app:app", "--app-dir", str(HERE), "--port", str(port)]
    process = subprocess.Popen([*command, "--host", "127.0.0.1", "--log-level", "warning"])
    url = f"http://127.0.0.1:{port}"

    def answers():
        assert process.poll() is None, "uvicorn ended"
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{url}/openapi.json", trust_env=False).is_success

    until(answers, "uvicorn listens")
    yield url
    process.terminate()
    process.wait(DEADLINE)


@pytest.fixture
def file(typed, tmp_path):
    httpx.put(f"{typed}/_/reset", trust_env=False).raise_for_status()
    file = tmp_path / "made.yaml"
    done = larder_command("init", "--from-openapi", f"{typed}/openapi.json", "--output", file)
    assert done.returncode == 0 and done.stdout == "", done.stderr
    return file


@pytest.fixture
def proxy(larder, file):
    return larder(file.read_text(), upstream=None)


def test_the_file_passes_its_check_without_a_warning_and_its_own_tests(file):
    checked = larder_command("config", "check", file)
    assert (checked.returncode, checked.stderr) == (0, "")
    tested = larder_command("config", "test", file)
    assert tested.returncode == 0 and " 0 failed" in tested.stdout, tested.stdout
    assert not tested.stdout.startswith("0 tests")


def test_a_url_without_a_path_means_fastapis_document(typed, file):
    done = larder_command("init", "--from-openapi", typed, "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["title"] == "Typed projects 1.0" and said["upstream"] == typed
    assert {route["template"] for route in said["routes"]} >= {"/api/v1/projects/{id}", "/api/v1/stats"}


def test_reads_are_hits_and_who_is_asked_for_shares_with_nobody(proxy):
    for path in ("/api/v1/projects", "/api/v1/projects/1", "/api/v1/users/1", "/api/v1/stats", "/api/v1/countries"):
        first, second = (proxy.get(path, **ADA) for _ in range(2))
        assert (cached(first), cached(second)) == ("MISS", "HIT"), path
        assert first.content == second.content
    bobs = proxy.get("/api/v1/projects", **BOB)
    assert cached(bobs) == "MISS" and [item["id"] for item in bobs.json()["items"]] == [3]
    assert [item["id"] for item in proxy.get("/api/v1/projects", **ADA).json()["items"]] == [1, 2]
    assert proxy.get("/api/v1/projects/1", **BOB).status_code == 404
    assert proxy.get("/api/v1/projects/1").status_code == 401


def test_sessions_and_health_are_never_kept(proxy):
    for path in ("/api/v1/users/me", "/api/v1/health"):
        assert [cached(proxy.get(path, **ADA)) for _ in range(2)] == ["BYPASS"] * 2, path


def kept(proxy, path, who=ADA):
    """Whether the next GET of it is a hit."""
    return cached(proxy.get(path, **who)) == "HIT"


PATHS = ["/api/v1/projects", "/api/v1/projects/1", "/api/v1/projects/2", "/api/v1/projects/1/tasks", "/api/v1/stats"]
PATHS += ["/api/v1/projects/2/tasks", "/api/v1/users/1", "/api/v1/countries"]


@pytest.fixture
def filled(proxy):
    proxy.request("POST", "/api/v1/projects/1/tasks", params={"title": "first"}, headers=ADA).raise_for_status()
    settled = lambda: all([kept(proxy, path) for path in PATHS])
    until(settled, "everything is kept")
    return proxy


@pytest.mark.parametrize(
    "method, path, sent, dropped",
    [
        ("PUT", "/api/v1/projects/1", {"json": {"name": "new"}}, ["/api/v1/projects", "/api/v1/projects/1", "/api/v1/stats"]),
        ("POST", "/api/v1/projects", {"json": {"name": "more"}}, ["/api/v1/projects", "/api/v1/stats"]),
        (
            "POST",
            "/api/v1/projects/1/tasks",
            {"params": {"title": "second"}},
            ["/api/v1/projects", "/api/v1/projects/1", "/api/v1/projects/1/tasks", "/api/v1/stats"],
        ),
        (
            "DELETE",
            "/api/v1/projects/1",
            {},
            ["/api/v1/projects", "/api/v1/projects/1", "/api/v1/projects/1/tasks", "/api/v1/stats"],
        ),
        (
            "PATCH",
            "/api/v1/users/1",
            {"params": {"name": "Ada L."}},
            ["/api/v1/projects", "/api/v1/projects/1", "/api/v1/projects/2", "/api/v1/users/1"],
        ),
        (
            "PATCH",
            "/api/v1/tasks/1",
            {"params": {"title": "other"}},
            ["/api/v1/projects", "/api/v1/projects/1", "/api/v1/projects/1/tasks", "/api/v1/stats"],
        ),
    ],
)
def test_a_write_drops_what_shows_it_and_nothing_else(filled, method, path, sent, dropped):
    assert filled.request(method, path, headers=ADA, **sent).is_success
    assert {path for path in PATHS if not kept(filled, path)} == set(dropped)


def test_nobody_is_shown_what_was_before_a_write(filled):
    filled.request("PUT", "/api/v1/projects/1", json={"name": "new"}, headers=ADA).raise_for_status()
    assert filled.get("/api/v1/projects/1", **ADA).json()["name"] == "new"
    assert filled.get("/api/v1/projects", **ADA).json()["items"][0]["name"] == "new"
    filled.request("PATCH", "/api/v1/users/1", params={"name": "Ada L."}, headers=ADA).raise_for_status()
    assert filled.get("/api/v1/projects/2", **ADA).json()["owner"]["name"] == "Ada L."


def test_a_logout_drops_what_belongs_to_who_leaves(filled):
    filled.get("/api/v1/projects/3", **BOB)
    assert filled.request("POST", "/api/v1/logout", headers=ADA).status_code == 204
    assert not kept(filled, "/api/v1/projects/1") and kept(filled, "/api/v1/projects/3", BOB)


def test_an_existing_file_is_left_alone_unless_told_otherwise(typed, file):
    before = file.read_text()
    refused = larder_command("init", "--from-openapi", typed, "--output", file)
    assert refused.returncode == 1 and "is already there; --force overwrites it" in refused.stderr
    assert file.read_text() == before
    assert larder_command("init", "--from-openapi", typed, "--output", file, "--force").returncode == 0


def test_what_is_no_document_is_told(typed):
    for url, words in (
        (f"{typed}/docs", "it is a page (HTML), not an OpenAPI document; FastAPI has that under /openapi.json"),
        (f"{typed}/nowhere", "it answered 404 Not Found; FastAPI has its document under /openapi.json"),
        (f"http://127.0.0.1:{free_port()}", "cannot connect to"),
        ("ftp://127.0.0.1/x", "only http:// and https:// are fetched"),
        ("/no/such/file.json", "cannot be read: No such file"),
    ):
        done = larder_command("init", "--from-openapi", url)
        assert done.returncode == 1 and done.stdout == "" and words in done.stderr, done.stderr
