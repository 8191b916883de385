"""Writes that do not pass through Larder: the recipe of the README tells it over Redis what SQLAlchemy committed."""

import contextlib
import importlib
import os
import subprocess
import sys

import httpx
import pytest
import redis

from origin import DEADLINE, HERE, free_port, until
from proxy import ROOT, cached

pytestmark = pytest.mark.any_backend

CONFIG = """
redis: {{ subscribe_url: {url}, subscribe: cache:invalidate }}
routes: {{ /api/projects: 1h, "/api/projects/{{id}}": 1h }}
events: {{ projects.changed: "/api/projects/{{id}} /api/projects" }}
"""


class Redis:
    """A `redis-server` of the test's own."""

    def __init__(self):
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self.client = redis.Redis.from_url(self.url)
        self.process = None
        self.start()

    def start(self):
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        until(self._answers, "redis-server answers")

    def _answers(self):
        assert self.process.poll() is None, "redis-server ended"
        with contextlib.suppress(redis.ConnectionError):
            return self.client.info("server")["process_id"] == self.process.pid

    def kill(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def redis_server():
    server = Redis()
    yield server
    server.client.close()
    server.kill()


@pytest.fixture
def shop(redis_server, tmp_path, monkeypatch):
    """The backend under uvicorn (`url`), and its models with the recipe loaded, as a worker beside it has them."""
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/shop.db")
    monkeypatch.setenv("REDIS_URL", redis_server.url)
    for name in ("database", "recipe"):
        sys.modules.pop(name, None)
    database, recipe = importlib.import_module("database"), importlib.import_module("recipe")
    database.Base.metadata.create_all(database.engine)
    with database.Session(database.engine) as session:
        session.add_all([database.Project(id=id, name=f"project {id}") for id in (1, 2)])
        session.commit()
    port = free_port()
    # `recipe` is loaded where the app is: its own writes are told as well.
    command = [sys.executable, "-c", "import recipe, uvicorn; uvicorn.main()", "database:app", "--app-dir", str(HERE)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--log-level", "warning"]
    process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(HERE)})
    database.url = f"http://127.0.0.1:{port}"

    def answers():
        assert process.poll() is None, "uvicorn ended"
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{database.url}/api/projects", trust_env=False).is_success

    until(answers, "uvicorn listens")
    yield database
    for event, listener in (("after_flush", recipe.note), ("after_commit", recipe.tell), ("after_rollback", recipe.forget)):
        recipe.event.remove(database.Session, event, listener)
    recipe.larder.close()
    database.engine.dispose()
    process.terminate()
    process.wait(DEADLINE)


@pytest.fixture
def proxy(larder, shop, redis_server):
    """Larder before it, with projects 1 and 2 and their list in memory."""
    proxy = larder(CONFIG.format(url=redis_server.url), upstream=shop.url)
    for path in ("/api/projects/1", "/api/projects/2", "/api/projects"):
        proxy.get(path)
        assert cached(proxy.get(path)) == "HIT"
    return proxy


def becomes(proxy, path, body):
    until(lambda: proxy.get(path).json() == body, f"{path} becomes {body}")


def test_the_recipe_is_the_one_of_the_readme():
    assert (HERE / "recipe.py").read_text() in (ROOT / "README.md").read_text()


def test_what_another_process_commits_is_fetched_anew_and_nothing_else(proxy, shop):
    with shop.Session(shop.engine) as session:
        session.get(shop.Project, 1).name = "renamed"
        session.commit()
    becomes(proxy, "/api/projects/1", {"name": "renamed"})
    assert proxy.get("/api/projects").json() == {"names": ["renamed", "project 2"]}
    assert cached(proxy.get("/api/projects/2")) == "HIT"


def test_what_the_app_commits_when_it_is_asked_directly_too(proxy, shop):
    assert httpx.put(f"{shop.url}/api/projects/2?name=direct", trust_env=False).is_success
    becomes(proxy, "/api/projects/2", {"name": "direct"})
    assert cached(proxy.get("/api/projects/1")) == "HIT"


def test_a_new_row_and_a_deleted_one_are_told_with_their_ids(proxy, shop):
    assert proxy.get("/api/projects/3").json() == {"name": None}
    with shop.Session(shop.engine) as session:
        session.add(shop.Project(name="third"))
        session.delete(session.get(shop.Project, 1))
        session.commit()
    becomes(proxy, "/api/projects/3", {"name": "third"})
    becomes(proxy, "/api/projects/1", {"name": None})


def test_it_is_told_after_the_commit_and_not_after_the_flush(proxy, shop, redis_server):
    with shop.Session(shop.engine) as session:
        session.get(shop.Project, 1).name = "renamed"
        session.flush()
        # Had it been told by now, this would fetch what is not committed yet, and keep it.
        tell_of(proxy, redis_server, 2)
        assert proxy.get("/api/projects/1").json() == {"name": "project 1"}
        session.commit()
    becomes(proxy, "/api/projects/1", {"name": "renamed"})


def tell_of(proxy, redis_server, id):
    """Tells of a project as anybody may; when this returns, all that was told before has been heard."""
    cached_before = cached(proxy.get(f"/api/projects/{id}"))
    assert redis_server.client.publish("cache:invalidate", f"/api/projects/{id}") == 1, "one Larder heard it"
    until(lambda: cached(proxy.get(f"/api/projects/{id}")) == "MISS", "it is heard")
    assert cached_before == "HIT"


def test_what_is_rolled_back_is_not_told(proxy, shop, redis_server):
    with shop.Session(shop.engine) as session:
        session.get(shop.Project, 1).name = "never"
        session.flush()
        session.rollback()
        session.commit()
    tell_of(proxy, redis_server, 2)
    assert cached(proxy.get("/api/projects/1")) == "HIT"


def test_a_savepoint_is_no_commit_and_its_rollback_forgets_nothing_else(proxy, shop, redis_server):
    with shop.Session(shop.engine) as session:
        session.get(shop.Project, 1).name = "renamed"
        session.flush()
        with session.begin_nested():
            session.add(shop.Project(id=8, name="in a savepoint"))
        undone = session.begin_nested()
        session.add(shop.Project(id=9, name="undone"))
        session.flush()
        undone.rollback()
        tell_of(proxy, redis_server, 2)
        assert cached(proxy.get("/api/projects/1")) == "HIT", "nothing is committed yet"
        session.commit()
    becomes(proxy, "/api/projects/1", {"name": "renamed"})
    assert proxy.get("/api/projects").json() == {"names": ["renamed", "project 2", "in a savepoint"]}


def test_publish_says_how_many_heard_it(proxy, redis_server, caplog, shop):
    assert redis_server.client.publish("cache:invalidate", "/nothing") == 1
    proxy.stop()
    until(lambda: redis_server.client.publish("cache:invalidate", "/nothing") == 0, "nobody hears it")
    with shop.Session(shop.engine) as session:
        session.get(shop.Project, 1).name = "unheard"
        session.commit()
    assert "no Larder heard" in caplog.text


def test_a_commit_while_redis_is_down_succeeds_and_is_seen_once_redis_is_back(proxy, shop, redis_server, caplog):
    redis_server.kill()
    until(lambda: proxy.metric("larder_redis_connected") == 0, "Larder noticed")
    with shop.Session(shop.engine) as session:
        session.get(shop.Project, 1).name = "in the dark"
        session.commit()
    assert "Larder was not told" in caplog.text
    assert cached(proxy.get("/api/projects/1")) == "HIT", "pub/sub is best effort"
    redis_server.start()
    becomes(proxy, "/api/projects/1", {"name": "in the dark"})
    assert proxy.metric("larder_redis_gaps_total") == 1
