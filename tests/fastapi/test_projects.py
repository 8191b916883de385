"""The project API behind config/projects.yaml: what each kind of write leaves, and what it drops."""

import base64
import json

import pytest

from origin import until
from proxy import ROOT, cached


def token(user):
    claims = base64.urlsafe_b64encode(json.dumps({"sub": user}).encode()).rstrip(b"=").decode()
    return f"Bearer e30.{claims}.c2ln"


READS = {
    "list": ("/api/projects?page=1", {}),
    "detail": ("/api/projects/42", {}),
    "export": ("/api/projects/42/export", {}),
    "dashboard": ("/api/dashboard", {"Authorization": token("7")}),
    "stats": ("/api/stats", {}),
    "search": ("/api/search?q=x", {}),
}
OTHERS = {
    "another project": ("/api/projects/43", {}),
    "another export": ("/api/projects/43/export", {}),
}
WRITES = {
    "project": ("PUT", "/api/projects/42", {"list", "detail", "export", "dashboard", "stats", "search"}),
    "classification": ("POST", "/api/projects/42/classifications", {"export", "dashboard"}),
    "predicate": ("POST", "/api/projects/42/predicates", {"export", "dashboard"}),
    "user": ("PATCH", "/api/users/7/settings", {"dashboard"}),
}


@pytest.fixture
def projects(larder):
    # Nothing comes back by itself while it is looked at.
    text = (ROOT / "config/projects.yaml").read_text().replace("    refresh: true\n", "")
    return larder(text.replace("listen: 0.0.0.0:${PORT:-8080}\n", ""))


def read(projects, name):
    target, headers = (READS | OTHERS)[name]
    return projects.request("GET", target, headers=headers)


@pytest.mark.parametrize("write", WRITES)
def test_each_write_drops_what_its_rule_says_and_nothing_else(projects, write):
    method, path, dropped = WRITES[write]
    for name in READS | OTHERS:
        read(projects, name)
        assert cached(read(projects, name)) == "HIT", name
    bodies = {name: read(projects, name).content for name in READS | OTHERS}
    assert projects.request(method, path, json={}).is_success
    for name in READS | OTHERS:
        after = read(projects, name)
        assert cached(after) == ("MISS" if name in dropped else "HIT"), name
        assert (after.content == bodies[name]) == (name not in dropped), name


def test_a_list_goes_with_each_project_that_it_shows_and_stays_for_others(projects):
    read(projects, "list")
    projects.request("PUT", "/api/projects/41", json={})
    assert cached(read(projects, "list")) == "MISS", "project:{id} outdates all lists"


def test_a_user_takes_only_his_own_answers_with_him(projects):
    other = {"Authorization": token("8")}
    for headers in (READS["dashboard"][1], other):
        projects.request("GET", "/api/dashboard", headers=headers)
    projects.request("PATCH", "/api/users/7/settings", json={})
    assert cached(projects.request("GET", "/api/dashboard", headers=other)) == "HIT"
    assert cached(read(projects, "dashboard")) == "MISS"


def test_a_logout_drops_what_was_kept_for_the_credential(projects):
    mine, other = READS["dashboard"][1], {"Authorization": token("8")}
    for headers in (mine, other):
        projects.request("GET", "/api/dashboard", headers=headers)
    projects.request("POST", "/api/auth/logout", headers=mine)
    assert cached(projects.request("GET", "/api/dashboard", headers=other)) == "HIT"
    assert cached(projects.request("GET", "/api/dashboard", headers=mine)) == "MISS"


def test_what_was_hot_is_fetched_again_before_it_is_asked_for(larder, origin):
    text = (ROOT / "config/projects.yaml").read_text().replace("listen: 0.0.0.0:${PORT:-8080}\n", "")
    projects = larder(text + "\ninvalidation: { settle: 0s }\n")
    for _ in range(4):
        read(projects, "detail")
    before = origin.count("/api/projects/42", "GET")
    projects.request("PUT", "/api/projects/42", json={})
    until(lambda: origin.count("/api/projects/42", "GET") > before, "it is fetched again")
    assert read(projects, "detail").json()["version"] == 1
