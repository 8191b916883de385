"""Writes the OpenAPI document of each application beside this folder: `python tests/openapi/apps/make.py`.

The documents are kept in the repository, so that the tests need no FastAPI, and a new one does not move them unseen.
"""

import importlib
import json
from pathlib import Path

HERE = Path(__file__).parent



def older(value):
    """OpenAPI 3.0 has no type `null`: what may be nothing says `nullable`."""
    if isinstance(value, list):
        return [older(item) for item in value]
    if not isinstance(value, dict):
        return value
    value = {key: older(item) for key, item in value.items()}
    choices = value.get("anyOf", [])
    kept = [choice for choice in choices if choice != {"type": "null"}]
    if len(kept) == 1 < len(choices):
        del value["anyOf"]
        value |= {"nullable": True} | ({"allOf": kept} if "$ref" in kept[0] else kept[0])
    return value


for source in sorted(HERE.glob("*.py")):
    if source.stem == "make":
        continue
    document = importlib.import_module(source.stem).app.openapi()
    if document["openapi"].startswith("3.0"):
        document = older(document)
    (HERE.parent / f"{source.stem}.json").write_text(json.dumps(document, separators=(",", ":")) + "\n")
