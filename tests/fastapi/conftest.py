"""Fixtures: one backend for the session, wiped before every test; a fresh proxy for every test."""

import resource

import pytest

from origin import Backend, RawOrigin
from proxy import Larder

# A thousand clients, and the proxy's side of them.
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 65536), most))


@pytest.fixture(scope="session")
def backend():
    backend = Backend()
    yield backend
    backend.stop()


@pytest.fixture
def origin(backend):
    backend.reset()
    return backend


@pytest.fixture
def larder(request, tmp_path):
    """`larder(config)` starts the binary before the FastAPI app; `upstream=` names another origin, or none."""
    started = []

    def start(config, upstream="", **kwargs):
        url = request.getfixturevalue("origin").url if upstream == "" else upstream
        proxy = Larder(tmp_path, config, url, **kwargs)
        started.append(proxy)
        return proxy

    yield start
    failures = []
    for proxy in started:
        try:
            proxy.stop()
        except AssertionError as failure:
            failures.append(failure)
        if failures or getattr(request.node, "failed", True):
            print(f"--- stderr of larder\n{proxy.stderr()}\n--- its access log\n{proxy.stdout()}")
    assert not failures, failures


@pytest.fixture
def raw_origin():
    """`raw_origin(handle)` listens on a socket of its own."""
    started = []

    def start(handle):
        started.append(RawOrigin(handle))
        return started[-1]

    yield start
    for origin in started:
        origin.stop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    report = yield
    if report.when == "call":
        item.failed = report.failed
    return report
