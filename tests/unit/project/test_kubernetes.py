"""The manifests in deploy/kubernetes pass their schemas and say what the product says: names, rights, times."""

import functools
import json
import re
import shutil
import subprocess
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

from agent_runner.app.cli.main import COMMANDS
from agent_runner.app.server.composition import STOP_GRACE_S
from agent_runner.clients.settings.settings import Settings, env_names
from agent_runner.tasks.worker.process import LAST_WORD_S
from checks.tree import ROOT
from tests.support.manifests import BASE, FOLDER, Manifest, container, of_kind, pod, pods

KUBECTL = shutil.which("kubectl")
OLDEST, NEWEST = "1.30", "1.37"
ROLES = ("server", "worker", "orchestrator", "flower")
SETTINGS = {name for field in Settings.model_fields for name in env_names(field)}
GIVEN = re.compile(r"`(agent-runner-[a-z]+)`[^|]*\|([^|]*)\|")


@functools.cache
def schemas(version: str) -> Manifest:
    """By kind and its version of the API; no field is allowed that is not in them."""
    made: Manifest = json.loads((ROOT / "tests" / "support" / "schemas" / f"kubernetes-{version}.json").read_text())
    return made


def check(manifest: Manifest, version: str) -> None:
    """Raises `jsonschema.ValidationError`."""
    group, _, api = manifest["apiVersion"].rpartition("/")
    name = "-".join(filter(None, (manifest["kind"].lower(), group.removesuffix(".k8s.io"), api)))
    assert name in schemas(version)["$defs"]
    jsonschema.Draft202012Validator({**schemas(version), "$ref": f"#/$defs/{name}"}).validate(manifest)


def told_secrets() -> dict[str, set[str]]:
    """The Secrets that the guide says to make, with the variables of each."""
    page = (ROOT / "docs" / "guides" / "kubernetes.md").read_text()
    return {name: set(re.findall(r"`([A-Z_]{4,})`", keys)) for name, keys in GIVEN.findall(page)}


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("manifest", BASE, ids=lambda one: f"{one['kind']}-{one['metadata']['name']}")
def test_schemas(manifest: Manifest, version: str) -> None:
    """Each manifest has the fields that Kubernetes knows, and no other."""
    check(manifest, version)


def test_a_wrong_field_is_seen() -> None:
    """The check of schemas refuses a misspelt field."""
    wrong = yaml.safe_load(yaml.safe_dump(of_kind("Deployment")["agent-runner-worker"]))
    wrong["spec"]["template"]["spec"]["terminationGracePeriodSecond"] = 1
    with pytest.raises(jsonschema.ValidationError, match="terminationGracePeriodSecond"):
        check(wrong, NEWEST)


@pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed")
def test_kustomize_builds_all_of_it(tmp_path: Path) -> None:
    """With both components: workers have no fixed number and the walls' lines, and all of it passes the schemas."""
    assert KUBECTL is not None
    near = Path(*[".."] * len(tmp_path.resolve().parts[1:])) / FOLDER.relative_to("/")
    (tmp_path / "kustomization.yaml").write_text(
        yaml.safe_dump(
            {
                "apiVersion": "kustomize.config.k8s.io/v1beta1",
                "kind": "Kustomization",
                "namespace": "agents",
                "resources": [str(near / "base")],
                "components": [str(near / "scaling"), str(near / "walls")],
            }
        )
    )
    built = subprocess.run([KUBECTL, "kustomize", tmp_path], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    made = list(yaml.safe_load_all(built.stdout))
    for one in made:
        if one["kind"] != "ScaledObject":
            check(one, NEWEST)
        assert one["metadata"]["namespace"] == "agents"
    worker = next(
        one for one in made if one["metadata"]["name"] == "agent-runner-worker" and one["kind"] == "Deployment"
    )
    assert "replicas" not in worker["spec"]
    spec = worker["spec"]["template"]["spec"]
    (only,) = spec["containers"]
    assert spec["hostUsers"] is False
    assert only["securityContext"]["procMount"] == "Unmasked"
    assert only["securityContext"]["readOnlyRootFilesystem"] is True
    assert {"name": "AGENT_RUNNER_SANDBOX", "value": "local"} in only["env"]
    claimed = [v["persistentVolumeClaim"]["claimName"] for v in spec["volumes"] if "persistentVolumeClaim" in v]
    assert claimed == [one["metadata"]["name"] for one in made if one["kind"] == "PersistentVolumeClaim"]


@pytest.mark.parametrize("role", ROLES)
def test_each_role_runs_its_command_with_known_settings(role: str) -> None:
    """Every variable is a setting of ours or of Flower, from the map, from a Secret or in place."""
    one = container(role)
    assert one["args"] == [role]
    assert set(ROLES) | {"migrate"} <= set(COMMANDS)
    given = {entry["name"] for entry in one["env"]} if "env" in one else set()
    given |= set(of_kind("ConfigMap")["agent-runner"]["data"])
    assert [name for name in given if name not in SETTINGS and not name.startswith("FLOWER_")] == []


def test_the_guide_names_every_secret() -> None:
    """What the manifests read from Secrets is what the guide says to make; all are settings."""
    told = told_secrets()
    whole = {ref["secretRef"]["name"] for spec in pods().values() for ref in spec["containers"][0].get("envFrom", ())
             if "secretRef" in ref}  # fmt: skip
    single = {(ref["name"], ref["key"]) for spec in pods().values() for entry in spec["containers"][0].get("env", ())
              if (ref := entry.get("valueFrom", {}).get("secretKeyRef"))}  # fmt: skip
    assert whole | {name for name, _ in single} == set(told)
    assert all(key in told[name] for name, key in single)
    assert set().union(*told.values()) <= SETTINGS


def test_no_secret_stands_in_a_manifest() -> None:
    """Keys, passwords and URLs that may hold some come from Secrets only."""
    secret = {name for field, info in Settings.model_fields.items() if "SecretStr" in str(info.annotation)
              for name in env_names(field)}  # fmt: skip
    secret |= {"AGENT_RUNNER_BROKER_URL", "AGENT_RUNNER_REDIS_URL", "AGENT_RUNNER_DATABASE_URL"}
    assert not secret & set(of_kind("ConfigMap")["agent-runner"]["data"])
    for spec in pods().values():
        for entry in spec["containers"][0].get("env", ()):
            assert entry["name"] not in secret or "value" not in entry
    assert not of_kind("Secret")


@pytest.mark.parametrize("role", ["worker", "orchestrator", "flower"])
def test_only_the_server_has_the_root_key_and_the_store(role: str) -> None:
    """No other pod reads the Secret of the server; workers have a key of their own."""
    assert "agent-runner-server" not in yaml.safe_dump(pod(role))
    told = told_secrets()
    assert {"STIGMER_API_KEY", "AGENT_RUNNER_DATABASE_URL", "AGENT_RUNNER_SECRET_KEY"} <= told["agent-runner-server"]
    assert "STIGMER_API_KEY" in told["agent-runner-worker"]
    assert "AGENT_RUNNER_DATABASE_URL" not in told["agent-runner-worker"]


@pytest.mark.parametrize("name", sorted(pods()))
def test_no_pod_has_more_rights_than_it_needs(name: str) -> None:
    """What the profile `restricted` asks for, a root file system that cannot be written, no token of the cluster."""
    spec = pods()[name]
    (one,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == user_of_the_image()
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert one["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert one["resources"]["requests"].keys() == {"cpu", "memory"}
    assert "memory" in one["resources"]["limits"]
    assert {mount["mountPath"] for mount in one["volumeMounts"]} == {"/tmp", "/var/lib/agent-runner"}


def user_of_the_image() -> int:
    (number,) = re.findall(r"--uid (\d+)", (ROOT / "Dockerfile").read_text())
    return int(number)


def test_a_leaving_worker_has_the_time_that_it_takes() -> None:
    """Longer than the drain time, the last word of cancelled runs and the supervisor's last reports; Compose too."""
    drain_s = float(of_kind("ConfigMap")["agent-runner"]["data"]["AGENT_RUNNER_DRAIN_TIMEOUT_S"])
    assert drain_s == Settings.model_fields["drain_timeout_s"].default
    needed = drain_s + LAST_WORD_S + 10
    assert pod("worker")["terminationGracePeriodSeconds"] >= needed
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["worker"]
    assert int(compose["stop_grace_period"].removesuffix("s")) >= needed
    waits = container("server")["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod("server")["terminationGracePeriodSeconds"] >= waits + 3 * STOP_GRACE_S


def test_probes_of_the_others() -> None:
    """A worker's is its own metrics, on the port that the setting names; Flower's is a route of Flower."""
    from flower.urls import handlers

    worker = container("worker")
    ports = {one["name"]: one["containerPort"] for one in worker["ports"]}
    assert worker["readinessProbe"]["httpGet"] == {"path": "/metrics", "port": "metrics"}
    assert {"name": "AGENT_RUNNER_WORKER_METRICS_PORT", "value": str(ports["metrics"])} in worker["env"]
    assert "livenessProbe" not in worker
    flower = container("flower")
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        routes = [one[0] for one in handlers if isinstance(one, tuple)]
        assert flower[probe]["httpGet"]["path"] in routes


def test_services_and_budgets_choose_pods_that_exist() -> None:
    """Every selector of a Service, a budget and a policy matches exactly one Deployment, ports by their names."""
    labels = {name: one["spec"]["template"]["metadata"]["labels"] for name, one in of_kind("Deployment").items()}
    for kind in ("Service", "PodDisruptionBudget", "NetworkPolicy"):
        for name, one in of_kind(kind).items():
            spec = one["spec"]
            chosen = spec.get("podSelector", spec.get("selector"))
            chosen = chosen.get("matchLabels", chosen)
            (matched,) = [role for role, has in labels.items() if chosen.items() <= has.items()]
            ports = {port["name"] for port in pods()[matched]["containers"][0].get("ports", ())}
            asked = [port["targetPort"] for port in spec.get("ports", ())]
            asked += [port["port"] for rule in spec.get("ingress", ()) for port in rule["ports"]]
            assert set(asked) <= ports, name
    known = of_kind("ConfigMap")["agent-runner"]["data"]
    served = {f"{name}:{one['spec']['ports'][0]['port']}" for name, one in of_kind("Service").items()}
    assert known["STIGMER_BACKEND_ENDPOINT"] in served
    assert known["AGENT_RUNNER_HTTP_URL"].removeprefix("http://") in served
