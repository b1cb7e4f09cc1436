"""Each dependency with an extra is locked with it, and the check that says so sees a lock without."""

import ast
import importlib.metadata
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from checks import extras
from checks.locked import BUILD, DEVELOPMENT, PRODUCTION, Locked, blocks, locked, read_metadata
from checks.tree import ROOT, files

STRIPPED = (Path(__file__).parent / "locks" / "stripped.lock").read_text()


def entries() -> list[Locked]:
    return locked(PRODUCTION.read_text(), DEVELOPMENT.read_text())


def test_the_lock_files_are_whole() -> None:
    """Whatever a locked package needs is locked, with its extras, and the kept metadata is that of the packages."""
    assert extras.problems() == []


def test_a_lock_that_strips_extras_is_refused() -> None:
    """The lock that broke when a new google-auth came out: its extras were stripped, and each of them is named."""
    found = extras.lacking(locked(STRIPPED), read_metadata(), extras.project_requirements())
    without = {line.split(", and ")[1].split(" (")[0] for line in found if "is locked without" in line}
    assert {
        "celery==5.7.0 is locked without redis",
        "google-auth==2.62.2 is locked without requests",
        "sqlalchemy==2.1.9 is locked without asyncio",
    } <= without
    assert any(line.startswith("psycopg==") and line.endswith("is locked without binary, pool") for line in without)


def test_each_extra_counts() -> None:
    """Any one locked extra that is taken away is missed."""
    whole, kept, ours = entries(), read_metadata(), extras.project_requirements("dev")
    ours += extras.project_requirements()
    with_extras = [(index, extra) for index, entry in enumerate(whole) for extra in sorted(entry.extras)]
    assert len(with_extras) >= 5
    for index, extra in with_extras:
        entry = whole[index]
        less = Locked(name=entry.name, version=entry.version, extras=entry.extras - {extra}, marker=entry.marker)
        found = extras.lacking([*whole[:index], less, *whole[index + 1 :]], kept, ours)
        assert any(f"{entry.pin} is locked without {extra}" in line for line in found), extra


@pytest.mark.parametrize(
    ("lock", "requires", "problem"),
    [
        ("a==1\nb==1\n", "b[x]; sys_platform == 'win32'", "a==1 requires b[x], and b==1 is locked without x"),
        ("a==1\nb==1\n", "b[x]; python_version >= '3.13'", "a==1 requires b[x], and b==1 is locked without x"),
        ("a==1\nb==1\n", "b[x]; python_full_version < '3.11.3'", "a==1 requires b[x], and b==1 is locked without x"),
        ("a==1\nb[x]==1 ; sys_platform == 'linux'\nb==1\n", "b[x]", "a==1 requires b[x], and b==1 is locked without x"),
        ("a[y]==1\nb==1\n", "B[X_z]; extra == 'y'", "a==1 requires b[x-z], and b==1 is locked without x-z"),
        ("a==1\nb==1\n", "b[x]; platform_machine == 'arm64'", "a==1 requires b[x], and b==1 is locked without x"),
        ("a==1\nb[x]==1\n", "b", "a==1 requires b, and b==1 has no line with exactly these extras"),
        ("a==1\nb[x,y]==1\n", "b[x]", "a==1 requires b[x], and b==1 has no line with exactly these extras"),
        ("a==1\n", "b", "a==1 requires b, which is not locked"),
        ("a==1\nb==1\n", "b>=2", "a==1 requires b>=2, and 1 is locked"),
        ("a==1\nb==1\n", "b[x]; python_version < '3.11'", ""),
        ("a==1\nb==1\n", "b[x]; extra == 'y'", ""),
        ("a==1 ; sys_platform == 'win32'\nb==1\n", "b[x]; sys_platform == 'linux'", ""),
        ("a==1\nb[x]==1\n", "b[x]; sys_platform == 'win32'", ""),
        ("a==1\nb[x]==1 ; sys_platform == 'win32'\nb==1\n", "b[x]; sys_platform == 'win32'", ""),
    ],
)
def test_every_platform_and_python_counts(lock: str, requires: str, problem: str) -> None:
    """A dependency that exists on one platform or one Python only must be locked as it is asked for there."""
    found = extras.lacking(locked(lock), {"a==1": [requires]})
    assert ([problem] if problem else []) == [line.partition(" (on ")[0] for line in found]


def test_metadata_of_another_release_is_no_knowledge() -> None:
    """A locked release whose metadata was not kept is named, and so is one that was kept for nothing."""
    found = extras.unknown(locked("a==2\n"), {"a==1": []})
    assert len(found) == 2
    assert "does not hold a==2" in found[0]
    assert "holds a==1, which is not locked" in found[1]


def test_kept_metadata_cannot_lie() -> None:
    """What is kept of an installed package is compared with the package."""
    kept = {**read_metadata(), "google-genai==0": []}
    installed = [entry for entry in entries() if entry.name == "google-genai"]
    assert extras.untrue(installed, kept) == []
    assert len(extras.untrue(installed, {installed[0].pin: ["httpx"]})) == 1


def test_production_needs_no_tools() -> None:
    """The lock file of production names nothing of tests, types or builds; what is built with is locked apart."""
    names = {entry.name for entry in locked(PRODUCTION.read_text())}
    assert names & {"pytest", "mypy", "schemathesis", "hypothesis", "ruff", "hatchling", "grpcio-tools"} == set()
    assert "hatchling" in {entry.name for entry in locked(BUILD.read_text())}


def test_one_release_of_each_in_all_lock_files() -> None:
    """What two lock files name they name in the same version."""
    versions = {entry.name: entry.version for entry in entries()}
    again = locked(PRODUCTION.read_text(), DEVELOPMENT.read_text(), BUILD.read_text())
    assert [entry.pin for entry in again if versions[entry.name] != entry.version] == []
    assert all("--hash=sha256:" in block for block in blocks(DEVELOPMENT.read_text()))


OF_EXTRAS = {("docker", "clients/sandbox/docker/"), ("graphton", "clients/engine/engines/")}
"""(module, where alone it is imported): packages that come with an extra of the same name."""


def test_the_product_imports_only_what_production_installs() -> None:
    """Every module that app, tasks, clients and status import comes from the production lock file, or from an
    extra that one place alone needs."""
    production = {entry.name for entry in locked(PRODUCTION.read_text())}
    ours = {"app", "tasks", "clients", "status", "ai", "agent_runner"}
    by_module = importlib.metadata.packages_distributions()
    strange = {
        (module, str(path.relative_to(ROOT)))
        for path in files(".py")
        if path.relative_to(ROOT).parts[0] in ours
        for module in _imported(path)
        if module not in ours | sys.stdlib_module_names
        and production.isdisjoint(map(canonicalize_name, by_module.get(module, ())))
    }
    of_extras = {(m, at) for m, at in strange for extra, place in OF_EXTRAS if m == extra and at.startswith(place)}
    assert strange == of_extras
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {extra for extra, _ in OF_EXTRAS} <= set(project["optional-dependencies"])


def _imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found.add(node.module.partition(".")[0])
    return found
