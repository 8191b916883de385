"""What lies in deploy/, read once for all tests."""

import json
import re
import subprocess

import yaml

from proxy import BINARY, ROOT

DEPLOY = ROOT / "deploy"
RULES = DEPLOY / "prometheus/larder.rules.yml"
RUNBOOK = (DEPLOY / "RUNBOOK.md").read_text()
README = (ROOT / "README.md").read_text()


def groups():
    return yaml.safe_load(RULES.read_text())["groups"]


def rules(kind):
    """Those of `record` or `alert`, by name."""
    return {rule[kind]: rule for group in groups() for rule in group["rules"] if kind in rule}


def panels():
    """All of the dashboard that show something."""
    dashboard = json.loads((DEPLOY / "grafana/larder.json").read_text())
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def documents(name):
    """The documents of a YAML file."""
    return [document for document in yaml.safe_load_all((DEPLOY / name).read_text()) if document]


def metrics_of_the_source():
    """What src/metrics declares, by the names that /metrics has."""
    found = {}
    for file in [ROOT / "src/metrics.rs", *(ROOT / "src/metrics").glob("*.rs")]:
        source = file.read_text().split("#[cfg(test)]")[0]
        source = re.sub(r"^\s*//.*$", "", source, flags=re.MULTILINE)
        for name in re.findall(r'(?:declare\(\s*(?:r|registry),|(?:r|registry)\.register\()\s*"(\w+)"', source):
            found[name] = file.name
        for name in re.findall(r'register_with_unit\(\s*"(\w+)"', source):
            found[f"{name}_seconds"] = file.name
        for name, unit in re.findall(r'\(\s*"(\w+)",[^()]*?(None|Some\(Unit::Bytes\)),', source):
            found[name + ("_bytes" if unit != "None" else "")] = file.name
        for name in re.findall(r'encode_descriptor\("(\w+)"', source):
            found[name] = file.name
    return {f"larder_{name}" for name in found}


def family(name):
    """The name that is declared for a name of a series."""
    for ending in ("_total", "_bucket", "_count", "_sum"):
        if name.endswith(ending):
            return name.removesuffix(ending)
    return "larder_build" if name == "larder_build_info" else name


def named(text):
    """All metrics that a text names."""
    return set(re.findall(r"(?<![\w:])larder_[a-z_0-9]+(?![\w/.:-]*\.(?:json|yml))", text))


def run(*command, **kwargs):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60, **kwargs)


def check_config(text, folder, env):
    """`larder config check` of a text."""
    file = folder / "larder.yaml"
    file.write_text(text)
    return run(BINARY, "config", "check", file, env={"PATH": "/usr/bin:/bin", **env})
