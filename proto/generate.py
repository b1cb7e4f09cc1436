"""Generates `stubs/` from `proto/`: messages, gRPC stubs and their types. Run by `make proto`.

With `--check` nothing is written; the exit status is 1 when `stubs/` is not what the .proto files say.
"""

import argparse
import filecmp
import re
import shutil
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parent
STUBS = ROOT.parent / "stubs"
GENERATED = ("*.py", "*.pyi", "py.typed")
SERVICE = re.compile(r"^service ", re.MULTILINE)
# protoc names a Python package after the path of its .proto file. `ai` is a common word: a project that has a package
# of that name must not get ours, so it is imported as a part of `agent_runner`. On the wire nothing changes.
OF_THE_CONTRACT = re.compile(r"(^from |^import |BuildTopDescriptorsAndMessages\(DESCRIPTOR, ')ai\.", re.MULTILINE)


def generate(target: Path) -> None:
    """Writes the packages of all .proto files below ROOT into `target`, which must be empty."""
    # The plugins stand beside the interpreter; PATH need not contain that folder.
    scripts = Path(sys.executable).parent
    status = protoc.main(
        [
            "protoc",
            f"--proto_path={ROOT}",
            f"--proto_path={files('grpc_tools') / '_proto'}",
            f"--plugin=protoc-gen-mypy={scripts / 'protoc-gen-mypy'}",
            f"--plugin=protoc-gen-mypy_grpc={scripts / 'protoc-gen-mypy_grpc'}",
            f"--python_out={target}",
            f"--grpc_python_out={target}",
            f"--mypy_out=quiet:{target}",
            f"--mypy_grpc_out=quiet:{target}",
            *sorted(str(path.relative_to(ROOT)) for path in ROOT.rglob("*.proto")),
        ]
    )
    if status != 0:
        raise SystemExit(status)
    for source in ROOT.rglob("*.proto"):
        # protoc makes the gRPC files for every .proto file; without a service they hold nothing.
        if not SERVICE.search(source.read_text()):
            stem = target / source.relative_to(ROOT).with_suffix("")
            for suffix in (".py", ".pyi"):
                stem.with_name(f"{stem.name}_pb2_grpc{suffix}").unlink()
    for package in sorted({path.parent for path in target.rglob("*.py")}):
        for folder in (package, *package.parents):
            if folder == target:
                break
            (folder / "__init__.py").touch()
    for top in target.iterdir():
        (top / "py.typed").touch()
    for made in (path for path in target.rglob("*_pb2*.py*")):
        made.write_text(OF_THE_CONTRACT.sub(r"\1agent_runner.ai.", made.read_text()))


def tree(folder: Path) -> set[Path]:
    """The generated files below `folder`, as relative paths."""
    return {path.relative_to(folder) for pattern in GENERATED for path in folder.rglob(pattern)}


def compare(fresh: Path) -> tuple[list[Path], list[Path]]:
    """The paths to be written into STUBS, because they are missing or differ there, and those to be deleted."""
    there, wanted = tree(STUBS), tree(fresh)
    same = {path for path in there & wanted if filecmp.cmp(STUBS / path, fresh / path, shallow=False)}
    return sorted(wanted - same), sorted(there - wanted)


def main() -> int:
    """Exit status 0, or with --check 1 if something differs."""
    parser = argparse.ArgumentParser(description="Generates stubs/ from proto/.")
    parser.add_argument("--check", action="store_true", help="only tell whether stubs/ is up to date")
    check: bool = parser.parse_args().check
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder)
        generate(fresh)
        to_write, to_delete = compare(fresh)
        if check:
            for path in to_write + to_delete:
                print(f"stubs/{path} is not what proto/ says: run make proto", file=sys.stderr)
            return int(bool(to_write or to_delete))
        for path in to_write:
            (STUBS / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(fresh / path, STUBS / path)
        for path in to_delete:
            (STUBS / path).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
