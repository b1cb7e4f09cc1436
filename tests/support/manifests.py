"""The manifests in `deploy/kubernetes`, as they are written."""

from pathlib import Path
from typing import Any

import yaml

from checks.tree import ROOT

FOLDER = ROOT / "deploy" / "kubernetes"
Manifest = dict[str, Any]


def read(path: Path) -> list[Manifest]:
    return list(yaml.safe_load_all(path.read_text()))


def listed(folder: str) -> list[Path]:
    """The files that the kustomization of `folder` names."""
    return [FOLDER / folder / name for name in read(FOLDER / folder / "kustomization.yaml")[0]["resources"]]


BASE = [manifest for path in listed("base") for manifest in read(path)]


def of_kind(kind: str) -> dict[str, Manifest]:
    return {one["metadata"]["name"]: one for one in BASE if one["kind"] == kind}


def pods() -> dict[str, Manifest]:
    made = {one["metadata"]["name"]: one for kind in ("Deployment", "Job") for one in of_kind(kind).values()}
    return {name: one["spec"]["template"]["spec"] for name, one in made.items()}


def pod(role: str) -> Manifest:
    return pods()[f"agent-runner-{role}"]


def container(role: str) -> Manifest:
    (found,) = pod(role)["containers"]
    return dict(found)


def scaled_object() -> Manifest:
    (found,) = [one for path in listed("scaling") for one in read(path)]
    return found
