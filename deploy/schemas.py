"""Makes tests/support/schemas from two packages, which the tests then do not need: `python -m deploy.schemas`.

The packages hold 17,000 files for all kinds and releases of Kubernetes; here are those that `deploy/` uses, without
their descriptions. Both come from projects under the Apache License 2.0.
"""

import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from checks.tree import ROOT

KUBERNETES, COMPOSE = "kubernetes-validate==1.37.0", "check-jsonschema==0.39.0"
VERSIONS = ("1.30", "1.37")
KINDS = (
    "configmap-v1",
    "deployment-apps-v1",
    "job-batch-v1",
    "networkpolicy-networking-v1",
    "persistentvolumeclaim-v1",
    "poddisruptionbudget-policy-v1",
    "service-v1",
    "serviceaccount-v1",
)
TARGET = ROOT / "tests" / "support" / "schemas"
NOT_KEPT = ("$id", "$schema")


def wheel(pin: str, folder: Path) -> zipfile.ZipFile:
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "-qq",
        "--no-deps",
        "--only-binary=:all:",
        "--dest",
        str(folder),
    ]
    subprocess.run([*command, pin], check=True)
    (found,) = folder.glob(f"{pin.partition('==')[0].replace('-', '_')}-*.whl")
    return zipfile.ZipFile(found)


def bare(schema: Any) -> Any:
    """Without descriptions and what only other programs read. A property may be named `description`, too."""
    if isinstance(schema, list):
        return [bare(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    kept: dict[str, Any] = {}
    for name, value in schema.items():
        if name == "properties" and isinstance(value, dict):
            kept[name] = {one: bare(of) for one, of in value.items()}
        elif name == "$ref":
            kept[name] = f"#{value.partition('#')[2]}"  # all that is referred to is in one file here
        elif not (name.startswith("x-") or name in NOT_KEPT or (name == "description" and isinstance(value, str))):
            kept[name] = bare(value)
    return kept


def refs(schema: Any) -> set[str]:
    """The names of what a schema of Kubernetes refers to."""
    if isinstance(schema, list):
        return set().union(*map(refs, schema))
    if not isinstance(schema, dict):
        return set()
    own = {schema["$ref"].rpartition("/")[2]} if isinstance(schema.get("$ref"), str) else set()
    return own.union(*map(refs, schema.values()))


def kubernetes(source: zipfile.ZipFile, version: str) -> dict[str, Any]:
    """One schema per kind under `$defs`, with all that they refer to."""
    folder = f"kubernetes_validate/kubernetes-json-schema/v{version}.0-local-strict"
    known = json.loads(source.read(f"{folder}/_definitions.json"))["$defs"]
    found = {name: json.loads(source.read(f"{folder}/{name}.json")) for name in KINDS}
    while missing := refs(list(found.values())) - found.keys():
        found |= {name: known[name] for name in missing}
    return {"$defs": {name: bare(schema) for name, schema in sorted(found.items())}}


def main() -> None:
    with tempfile.TemporaryDirectory() as created:
        folder = Path(created)
        source = wheel(KUBERNETES, folder)
        made = {f"kubernetes-{version}": kubernetes(source, version) for version in VERSIONS}
        vendored = wheel(COMPOSE, folder).read("check_jsonschema/builtin_schemas/vendor/compose-spec.json")
        made["compose"] = bare(json.loads(vendored))
    TARGET.mkdir(parents=True, exist_ok=True)
    for name, schema in made.items():
        (TARGET / f"{name}.json").write_text(json.dumps(schema, separators=(",", ":"), sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
