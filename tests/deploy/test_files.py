"""What cannot be run here is held against its schema, its linter, or what has to be true of it."""

import re
import shutil
import tomllib

import kubernetes_validate
import pytest
import yaml
from compose_spec import PyCompose

from files import DEPLOY, check_config, documents, run
from proxy import BINARY, ROOT

#: The oldest that the sidecar works on, and a later one.
KUBERNETES = ["1.31", "1.34"]
MANIFESTS = ["kubernetes/larder.yaml", "kubernetes/sidecar.yaml"]


def pods(name):
    return [document["spec"]["template"]["spec"] for document in documents(name) if document["kind"] == "Deployment"]


def larder_of(pod):
    """Larder's container."""
    everyone = pod["containers"] + pod.get("initContainers", [])
    return next(container for container in everyone if container["name"] == "larder")


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("name", MANIFESTS)
def test_kubernetes_knows_every_field(name, version):
    for document in documents(name):
        kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("name", MANIFESTS)
def test_the_pods_may_run_where_pods_are_restricted(name):
    for pod in pods(name):
        security = pod["securityContext"]
        assert security["runAsNonRoot"] and security["runAsUser"] > 0 and security["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"] + pod.get("initContainers", []):
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False and own["capabilities"] == {"drop": ["ALL"]}
            assert own["readOnlyRootFilesystem"] is True and container["resources"]["limits"]["memory"]


@pytest.mark.parametrize("name", MANIFESTS)
def test_probes_go_where_the_configuration_answers_them(name):
    [pod] = pods(name)
    container = larder_of(pod)
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    config = configuration(name)
    assert config["admin"]["probes"] == f"0.0.0.0:{ports['probes']}" and config["listen"] == f"0.0.0.0:{ports['http']}"
    asked = {probe: container[probe]["httpGet"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
    paths = {probe: (get["path"], get["port"]) for probe, get in asked.items()}
    live = ("/livez", "probes")
    assert paths == {"startupProbe": live, "livenessProbe": live, "readinessProbe": ("/readyz", "probes")}


@pytest.mark.parametrize("name", MANIFESTS)
def test_the_configmap_is_mounted_as_a_directory_so_that_its_swap_is_seen(name):
    [pod] = pods(name)
    container = larder_of(pod)
    [mount] = [mount for mount in container["volumeMounts"] if mount["name"] == "config"]
    assert "subPath" not in mount and {"name": "LARDER_CONFIG", "value": f"{mount['mountPath']}/larder.yaml"} in container["env"]


@pytest.mark.parametrize("name", MANIFESTS)
def test_the_grace_is_longer_than_the_shutdown(name):
    [pod] = pods(name)
    shutdown = configuration(name)["shutdown"]
    assert pod["terminationGracePeriodSeconds"] > sum(int(value.removesuffix("s")) for value in shutdown.values())


@pytest.mark.parametrize("name", MANIFESTS)
def test_selectors_and_ports_meet(name):
    everything = documents(name)
    [deployment] = [document for document in everything if document["kind"] == "Deployment"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    for document in everything:
        if document["kind"] == "Service":
            assert document["spec"]["selector"].items() <= labels.items()
            names = {port["name"] for port in larder_of(deployment["spec"]["template"]["spec"])["ports"]}
            assert {port["targetPort"] for port in document["spec"]["ports"]} <= names
        if document["kind"] == "PodDisruptionBudget":
            assert document["spec"]["selector"]["matchLabels"] == labels
            assert document["spec"]["minAvailable"] < deployment["spec"]["replicas"]


def test_the_sidecar_starts_before_the_app_and_ends_after_it():
    [pod] = pods("kubernetes/sidecar.yaml")
    assert [(container["name"], container["restartPolicy"]) for container in pod["initContainers"]] == [("larder", "Always")]


def configuration(name):
    [config] = [document["data"]["larder.yaml"] for document in documents(name) if document["kind"] == "ConfigMap"]
    return yaml.safe_load(config)


@pytest.mark.parametrize("name", [*MANIFESTS, "compose/larder.yaml"])
def test_every_configuration_that_is_handed_out_is_right(name, tmp_path):
    texts = [(DEPLOY / name).read_text()]
    if name in MANIFESTS:
        texts = [document["data"]["larder.yaml"] for document in documents(name) if document["kind"] == "ConfigMap"]
    for text in texts:
        said = check_config(text, tmp_path, {"REDIS_URL": "redis://redis:6379", "LARDER_IDENTITY_SECRET": "a" * 64})
        assert said.returncode == 0 and "warning" not in said.stderr, said.stdout + said.stderr


# ---- compose --------------------------------------------------------------------------------------------------------


def compose():
    [document] = documents("compose.yaml")
    return document


#: A slip in each kind of thing that the file says: what is written there, and what is wrong.
SLIPS = [
    ("mem_limit: 768m", "mem_limt: 768m"),
    ("condition: service_healthy", "condition: service_well"),
    ('"127.0.0.1:8080:8080"', '"127.0.0.1:8080:80800"'),
    ("stop_grace_period: 30s", "stop_grace_period: soon"),
    ("interval: 5s", "intervall: 5s"),
    ("read_only: true", "read_only: perhaps"),
    ("cap_drop: [ALL]", "cap_drop: ALL"),
    (":/etc/larder/larder.yaml:ro", ":etc/larder.yaml:ro"),
]


def test_compose_is_as_the_specification_has_it():
    text = (DEPLOY / "compose.yaml").read_text()
    assert PyCompose.from_yaml(text).service_names() == list(compose()["services"])
    for right, wrong in SLIPS:
        assert right in text
        with pytest.raises(ValueError, match=r"services\."):
            PyCompose.from_yaml(text.replace(right, wrong, 1))


def test_compose_has_every_part_and_each_says_whether_it_is_well():
    services = compose()["services"]
    assert set(compose()) == {"name", "services"} and set(services) == {"api", "redis", "larder", "prometheus", "grafana"}
    for name, service in services.items():
        assert ("image" in service) != ("build" in service), name
        assert service["healthcheck"]["test"][0] == "CMD", name
        for other, condition in service.get("depends_on", {}).items():
            assert other in services and condition == {"condition": "service_healthy"}, name


def test_compose_mounts_what_is_there_and_publishes_on_loopback_alone():
    for name, service in compose()["services"].items():
        for volume in service.get("volumes", []):
            source, target, mode = volume.split(":")
            assert (DEPLOY / source).exists() and target.startswith("/") and mode == "ro", f"{name}: {volume}"
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        build = service.get("build")
        if build is not None:
            build = {"context": build} if isinstance(build, str) else build
            assert (DEPLOY / build["context"] / build.get("dockerfile", "Dockerfile")).exists(), name


def test_no_secret_lies_in_what_is_handed_out():
    suspicious = re.compile(r"(?i)(password|secret|token)\s*[:=]\s*[\"']?(?!\$\{|larder|false|true|\{)\w{4,}")
    for file in DEPLOY.rglob("*"):
        if file.is_file() and file.suffix in (".yaml", ".yml", ".service", ".socket", ".json", ""):
            assert not suspicious.search(file.read_text()), file


def test_grafana_finds_data_source_and_dashboard_where_they_are_mounted():
    [source] = documents("grafana/provisioning/datasources/prometheus.yaml")
    assert source["datasources"][0]["url"] == "http://prometheus:9090"
    [provider] = documents("grafana/provisioning/dashboards/larder.yaml")
    folder = provider["providers"][0]["options"]["path"]
    assert f"./grafana/larder.json:{folder}/larder.json:ro" in compose()["services"]["grafana"]["volumes"]


def test_prometheus_scrapes_the_port_of_the_probes():
    [config] = documents("prometheus/prometheus.yml")
    assert config["scrape_configs"][0]["static_configs"] == [{"targets": ["larder:8082"]}]


# ---- Dockerfile -----------------------------------------------------------------------------------------------------


def instructions(path):
    text = re.sub(r"^#.*\n", "", path.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    lines = [line.split(None, 1) for line in text.splitlines() if line.strip()]
    known = {"FROM", "ARG", "WORKDIR", "COPY", "RUN", "USER", "ENV", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD"}
    assert all(word in known for word, _ in lines), lines
    return lines


def test_the_image_runs_as_nobody_and_needs_no_shell():
    lines = instructions(DEPLOY / "Dockerfile")
    last = max(n for n, (word, _) in enumerate(lines) if word == "FROM")
    final = lines[last:]
    assert "distroless" in final[0][1] and not any(word == "RUN" for word, _ in final)
    said = dict(final)
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", said["USER"])
    for word in ("ENTRYPOINT", "CMD"):
        assert said[word].startswith("["), word
    assert '["/usr/local/bin/larder", "healthcheck", "--live"]' in said["HEALTHCHECK"]


def test_the_image_is_built_of_what_is_there_and_is_sent():
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = set()
    for word, rest in instructions(DEPLOY / "Dockerfile"):
        if word == "COPY" and not rest.startswith("--from"):
            copied |= set(rest.split()[:-1])
    assert_cargo_finds_every_target(copied)
    assert copied == sent and all((ROOT / name).exists() for name in copied)
    outside = re.findall(r'include_(?:str|bytes)!\("(?:\.\./)+(\w+)/', "".join(f.read_text() for f in (ROOT / "src").rglob("*.rs")))
    assert set(outside) - {"admin", "fleet"} <= copied, "what is compiled in is copied"


def assert_cargo_finds_every_target(copied):
    """Those that Cargo.toml names have to be there, whether they are built or not."""
    manifest = tomllib.loads((ROOT / "Cargo.toml").read_text())
    for kind, folder in (("test", "tests"), ("bench", "benches"), ("example", "examples")):
        for target in manifest.get(kind, []):
            name = target["name"]
            paths = [target.get("path", f"{folder}/{name}.rs"), f"{folder}/{name}/main.rs"]
            assert any(path.startswith(f"{part}/") for path in paths for part in copied if (ROOT / path).exists()), name


# ---- systemd --------------------------------------------------------------------------------------------------------


@pytest.fixture
def units(tmp_path):
    for file in (DEPLOY / "systemd").iterdir():
        (tmp_path / file.name).write_text(file.read_text().replace("/usr/local/bin/larder", str(BINARY.resolve())))
    return tmp_path


def test_systemd_finds_nothing_wrong_with_the_units(units):
    said = run("systemd-analyze", "verify", "--man=no", units / "larder.service", units / "larder.socket")
    about = [line for line in said.stderr.splitlines() if "larder" in line]
    assert (said.returncode, about) == (0, []), said.stderr


def test_systemd_calls_the_service_well_contained(units):
    said = run("systemd-analyze", "security", "--offline=true", "--threshold=20", units / "larder.service")
    assert said.returncode == 0, said.stdout[-2000:] + said.stderr


def test_the_units_name_commands_that_there_are():
    text = (DEPLOY / "systemd/larder.service").read_text()
    for command in re.findall(r"^Exec\w+=/usr/local/bin/larder (\w+)", text, re.MULTILINE):
        assert run(BINARY, command, "--help").returncode == 0
    assert "FileDescriptorName=clients" in (DEPLOY / "systemd/larder.socket").read_text() and shutil.which("systemd-analyze")
