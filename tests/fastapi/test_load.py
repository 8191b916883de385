"""A read-mostly load on the project API: what clients counted is what the metrics say, and nobody read anything outdated."""

import httpx
import pytest

import load


@pytest.fixture
def project_api(tmp_path):
    api = load.ProjectApi(tmp_path)
    yield api
    api.stop()


def test_what_clients_counted_is_what_the_metrics_say_and_nothing_was_stale(larder, project_api):
    proxy = larder(load.CONFIG, upstream=project_api.url)
    result = load.play(proxy.url, clients=6, count=150)
    assert result.stale == []
    assert load.counted(proxy.admin) == result.counts()
    for one in result.heard:
        assert one.is_hit == (one.cache == "HIT"), one
    hits, reads = sum(one.is_hit for one in result.heard), len(result.reads())
    assert hits > reads / 4
    stats = httpx.get(f"{proxy.admin}/api/cache/stats", trust_env=False).json()
    assert (stats["hits"], stats["misses"]) == (hits, reads - hits)


def test_without_rules_it_is_noticed_that_answers_are_outdated(larder, project_api):
    rules = load.CONFIG.partition("writes:")[0] + "log: { access: off }\n"
    assert load.play(larder(rules, upstream=project_api.url).url, clients=2, count=150).stale
