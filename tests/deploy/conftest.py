"""The fixtures of tests/fastapi, an app behind the real binary, and the files of deploy/."""

import importlib.util
import sys
from pathlib import Path

FASTAPI = Path(__file__).parents[1] / "fastapi"
sys.path.insert(0, str(FASTAPI))

_spec = importlib.util.spec_from_file_location("fastapi_conftest", FASTAPI / "conftest.py")
_fixtures = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_fixtures)

backend, origin, larder = _fixtures.backend, _fixtures.origin, _fixtures.larder
pytest_runtest_makereport = _fixtures.pytest_runtest_makereport
