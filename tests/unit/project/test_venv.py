"""The set-up of `.venv`: which pip settings count, what is used of what is there, what is said when it cannot be."""

import os
import subprocess
import sys
from pathlib import Path

import pip
import pytest

from checks.tree import ROOT
from deploy import venv

SETTINGS = """\
:env:.constraint='/etc/mine.txt'
:env:.index-url='https://variable.example/simple'
:env:.user='1'
download.index-url='https://download.example/simple'
global.constraint='/etc/constraints.txt'
global.extra-index-url='https://a.example/simple\\nhttps://b.example/simple'
global.find-links='/opt/wheels'
global.index-url='https://file.example/simple'
global.require-hashes='true'
global.timeout='180'
install.timeout='60'
install.target='/somewhere'
"""


def test_only_where_from_and_how_to_get_there_counts() -> None:
    """Index, links, certificates and proxies of the user are kept, the strongest wins; all else of pip is left out."""
    given = {
        "PATH": "/bin",
        "HOME": "/home/me",
        "PIP_USER": "1",
        "PIP_TARGET": "/t",
        "PYTHONPATH": "/mine",
        "https_proxy": "p",
    }
    assert venv.environment(SETTINGS, given) == {
        "PATH": "/bin",
        "HOME": "/home/me",
        "https_proxy": "p",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
        "PIP_INDEX_URL": "https://variable.example/simple",
        "PIP_EXTRA_INDEX_URL": "https://a.example/simple\nhttps://b.example/simple",
        "PIP_FIND_LINKS": "/opt/wheels",
        "PIP_TIMEOUT": "60",
    }


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place for a `.venv` of its own."""
    there = tmp_path / "check out" / ".venv"
    there.parent.mkdir()
    monkeypatch.setattr(venv, "VENV", there)
    monkeypatch.setattr(venv, "PYTHON", there / "bin" / "python")
    monkeypatch.setattr(venv, "UNFINISHED", there / ".unfinished")
    return there


def test_a_venv_counts_until_it_is_cut_off_or_moved(place: Path) -> None:
    """A `.venv` that the user made is used; one that was left in the middle, or names another place, is not."""
    assert not venv.usable()
    venv.make_venv()
    assert not venv.usable()  # nothing was installed yet
    venv.UNFINISHED.unlink()
    assert venv.usable()
    program = place / "bin" / "agent-runner"
    program.write_text(f"#!{place}/bin/python\n")
    assert venv.usable()
    program.write_text("#!/another/place/.venv/bin/python\n")
    assert not venv.usable()


def usual(place: Path) -> None:
    """A `.venv` with the pip of this one: ensurepip takes ten times as long."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    [packages] = place.glob("lib/python*/site-packages")
    (packages / "pip").symlink_to(Path(pip.__file__).parent)


def test_a_venv_whose_python_is_gone_is_made_anew(place: Path) -> None:
    """After its Python was removed a `.venv` is of no use, and a new one takes its place."""
    usual(place)
    assert venv.usable()
    for link in (place / "bin").glob("python*"):
        link.unlink()
        link.symlink_to("/nowhere/python3")
    assert not venv.usable()
    venv.make_venv()
    venv.UNFINISHED.unlink()
    assert venv.usable()


def test_a_python_without_ensurepip_is_named(place: Path, tmp_path: Path) -> None:
    """Debian's python3 without its venv package: the package is named, and nothing is left behind."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "ensurepip.py").write_text("raise ImportError('No module named ensurepip')")
    code = f"import pathlib; from deploy import venv; venv.VENV = pathlib.Path({str(place)!r}); venv.make_venv()"
    env = {**os.environ, "PYTHONPATH": f"{hidden}:{ROOT}"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"python3.{sys.version_info.minor}-venv" in done.stderr
    assert not place.exists()


@pytest.mark.parametrize(
    ("python", "says"),
    [
        ("exit 1", "needs Python 3.11 or later"),  # `-c` of an old one exits with what the line says
        (None, "there is no an-old-python here"),
    ],
)
def test_a_python_that_is_too_old_or_missing_is_named(tmp_path: Path, python: str | None, says: str) -> None:
    """The first line of `make` says what is needed and how to choose another Python."""
    command = "an-old-python"
    if python:
        old = tmp_path / command
        old.write_text(
            "#!/bin/sh\nexec "
            + sys.executable
            + ' -c "import sys; sys.version_info = (3, 9); exec(sys.argv[1])" "$2"\n'
        )
        old.chmod(0o755)
        command = str(old)
    done = subprocess.run(
        ["make", "-s", "setup", f"READY={tmp_path / 'ready'}", f"PYTHON={command}"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert says in done.stderr
    assert "make PYTHON=" in done.stderr
