"""What a running server answers to the probes and the scaling in deploy/kubernetes."""

import re
import shutil
import subprocess
from pathlib import Path

import httpx
import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

from agent_runner.clients.settings.settings import Settings
from tests.support.manifests import container, of_kind, scaled_object

SHARES_A_SERVER = True
COUNT = {"type": "integer", "minimum": 0}
RULES = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "stabilizationWindowSeconds": {"type": "integer", "minimum": 0, "maximum": 3600},
        "policies": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["type", "value", "periodSeconds"],
                "properties": {
                    "type": {"enum": ["Pods", "Percent"]},
                    "value": {"type": "integer", "minimum": 1},
                    "periodSeconds": {"type": "integer", "minimum": 1, "maximum": 1800},
                },
            },
        },
    },
}
SCALED_OBJECT = {
    "type": "object",
    "additionalProperties": False,
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": "keda.sh/v1alpha1"},
        "kind": {"const": "ScaledObject"},
        "metadata": {"type": "object", "required": ["name"]},
        "spec": {
            "type": "object",
            "additionalProperties": False,
            "required": ["scaleTargetRef", "triggers"],
            "properties": {
                "scaleTargetRef": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["name"],
                    "properties": {"name": {"type": "string"}},
                },
                "minReplicaCount": COUNT,
                "maxReplicaCount": COUNT,
                "pollingInterval": COUNT,
                "fallback": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["failureThreshold", "replicas"],
                    "properties": {"failureThreshold": COUNT, "replicas": COUNT},
                },
                "advanced": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        "horizontalPodAutoscalerConfig": {
                            "type": "object",
                            "additionalProperties": False,
                            "properties": {
                                "behavior": {
                                    "type": "object",
                                    "additionalProperties": False,
                                    "properties": {"scaleUp": RULES, "scaleDown": RULES},
                                }
                            },
                        }
                    },
                },
                "triggers": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["type", "metadata"],
                        "properties": {
                            "type": {"const": "prometheus"},
                            "metadata": {
                                "type": "object",
                                "additionalProperties": {"type": "string"},
                                "required": ["serverAddress", "query", "threshold"],
                            },
                        },
                    },
                },
            },
        },
    },
}
"""The fields that we use, as KEDA's documentation has them: no package bundles the schema of its resources."""


@pytest.mark.parametrize("probe", ["startupProbe", "livenessProbe", "readinessProbe"])
async def test_probes_of_the_server(probe: str, http: httpx.AsyncClient) -> None:
    """Each is answered 200 by a running server without a key, as the kubelet asks."""
    asked = container("server")[probe]["httpGet"]
    headers = {one["name"]: one["value"] for one in asked["httpHeaders"]}
    answer = await http.get(asked["path"], headers={**headers, "Authorization": ""})
    assert answer.status_code == 200


async def test_scaling_by_metrics_that_are_told(http: httpx.AsyncClient) -> None:
    """KEDA asks for gauges that a running server tells, with the default queue, and scales the workers."""
    scaled = scaled_object()
    jsonschema.validate(scaled, SCALED_OBJECT)
    spec = scaled["spec"]
    assert spec["scaleTargetRef"]["name"] in of_kind("Deployment")
    assert 0 < spec["minReplicaCount"] <= spec["fallback"]["replicas"] <= spec["maxReplicaCount"]
    (trigger,) = spec["triggers"]
    query = trigger["metadata"]["query"]
    told = dict(re.findall(r"^# TYPE (\S+) (\S+)$", (await http.get("/metrics")).text, re.MULTILINE))
    names = re.findall(r"\bagent_runner_\w+", query.replace('"agent_execution_runner"', ""))
    assert names == ["agent_runner_queue_waiting", "agent_runner_worker_busy"]
    assert [told[name] for name in names] == ["gauge", "gauge"]
    assert set(re.findall(r'queue="([^"]+)"', query)) == {Settings.model_fields["runner_queue"].default}
    slots = next(one["value"] for one in container("worker")["env"] if one["name"] == "AGENT_RUNNER_CONCURRENCY")
    assert 0 < int(trigger["metadata"]["threshold"]) <= int(slots)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)")
def test_the_query_of_scaling_is_one(tmp_path: Path) -> None:
    """promtool accepts it as an expression."""
    scaled = scaled_object()
    rule = {"record": "scaling:load", "expr": scaled["spec"]["triggers"][0]["metadata"]["query"]}
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "scaling", "rules": [rule]}]}))
    checked = subprocess.run(["promtool", "check", "rules", file], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
