"""`make mutants`: breaks the product on purpose, one law at a time, and expects a named test to see it.

A mutant is a patch file here. It says in its first lines which law it breaks and which test must catch it. Each one is
applied to a copy of the tree, never to the tree itself, and only its test runs. The exit status is 1 if a mutant
survives, or if its patch does not apply any more: then it says nothing about today's code and must be made anew.

    python -m tests.mutants.run [NAME ...]
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import count
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
HEADER = re.compile(r"\ABreaks: (?P<law>.+)\nCaught by: (?P<test>.+)\n")
FAILED = re.compile(r"^FAILED (\S+)", re.MULTILINE)
CHANGED = re.compile(r"^\+\+\+ b/(\S+)", re.MULTILINE)
MOMENTS = count(1_000_000_000)
"""A second of its own for each change of a file, long before any other file was made."""
LIMIT_S = 300
TESTS_FAILED = 1
"""pytest's exit status; any other but 0 means that the tests did not run at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    name: str
    patch: Path
    law: str
    test: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    mutant: Mutant
    verdict: str
    seconds: float
    told: str = ""
    """The end of the output, where it is of use."""

    @property
    def good(self) -> bool:
        return self.verdict == "caught"


def mutants(names: list[str]) -> list[Mutant]:
    """Those that are named, or all. Raises `ValueError` for an unknown name or a patch without its first lines."""
    found = {}
    for patch in sorted(HERE.glob("*.patch")):
        header = HEADER.match(patch.read_text())
        if header is None:
            raise ValueError(f"{patch.name}: the first two lines must be 'Breaks: ...' and 'Caught by: ...'")
        found[patch.stem] = Mutant(name=patch.stem, patch=patch, law=header["law"], test=header["test"])
    if unknown := sorted(set(names) - found.keys()):
        raise ValueError(f"no such mutant: {', '.join(unknown)}")
    return [mutant for name, mutant in found.items() if not names or name in names]


def copy_of_the_tree(target: Path) -> None:
    """Every file that git knows or would take, as it is now."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in listed.stdout.decode().split("\0"):
        source = ROOT / name
        if name and (source.is_file() or source.is_symlink()):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target / name, follow_symlinks=False)


def run_tests(tree: Path, tests: list[str]) -> tuple[int, str]:
    """pytest's exit status (124: it took too long) and its output; what is imported is the copy."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(tree), str(tree / "src")]),
        "AGENT_RUNNER_TEST_SHRINK": "0",
    }
    environment.pop("AGENT_RUNNER_TEST_EXAMPLES", None)
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--no-header", "-p", "no:cacheprovider", "-p", "no:randomly"]
    try:
        done = subprocess.run(
            [*command, *tests], cwd=tree, env=environment, capture_output=True, text=True, timeout=LIMIT_S
        )
    except subprocess.TimeoutExpired:
        return 124, f"not ended after {LIMIT_S} s"
    return done.returncode, done.stdout + done.stderr


def applied(tree: Path, mutant: Mutant, *options: str) -> str:
    """What git says against it; empty when it is done."""
    done = subprocess.run(["git", "apply", *options, str(mutant.patch)], cwd=tree, capture_output=True, text=True)
    if done.returncode:
        return done.stderr.strip()
    # Python compares bytecode with its file by size and whole seconds, and two mutants may have both in common.
    moment = next(MOMENTS)
    for name in CHANGED.findall(mutant.patch.read_text()):
        os.utime(tree / name, (moment, moment))
    return ""


def tried(tree: Path, mutant: Mutant) -> Result:
    started = time.monotonic()
    if problem := applied(tree, mutant):
        return Result(mutant=mutant, verdict="DOES NOT APPLY", seconds=0.0, told=problem)
    status, output = run_tests(tree, [mutant.test])
    applied(tree, mutant, "--reverse")
    seconds = time.monotonic() - started
    if status == TESTS_FAILED and FAILED.search(output):
        return Result(mutant=mutant, verdict="caught", seconds=seconds)
    verdict = "SURVIVED" if status == 0 else "TESTS DID NOT RUN"
    return Result(mutant=mutant, verdict=verdict, seconds=seconds, told=output[-2000:])


def main(names: list[str]) -> int:
    chosen = mutants(names)
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        tree = Path(folder)
        copy_of_the_tree(tree)
        status, output = run_tests(tree, sorted({mutant.test for mutant in chosen}))
        if status:
            print(f"{output[-4000:]}\nthe tests fail without any mutant; nothing can be said about mutants")
            return 1
        width = max(len(mutant.name) for mutant in chosen)
        print(f"{'mutant':{width}}  {'verdict':17}  {'s':>5}  caught by")
        results = []
        for mutant in chosen:
            result = tried(tree, mutant)
            results.append(result)
            print(f"{mutant.name:{width}}  {result.verdict:17}  {result.seconds:5.1f}  {mutant.test}", flush=True)
    bad = [result for result in results if not result.good]
    for result in bad:
        print(f"\n{result.mutant.name} ({result.mutant.law}): {result.verdict}\n{result.told}")
    print(f"\n{len(results) - len(bad)} of {len(results)} mutants are caught")
    return 1 if bad else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except ValueError as error:
        sys.exit(str(error))
