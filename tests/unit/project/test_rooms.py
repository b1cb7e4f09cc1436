"""The check of the floor plan finds what it is there for."""

from pathlib import Path

from checks.rooms import MOST_FILES, crowded, named_twice
from checks.tree import ROOT


def test_a_crowded_folder_is_named(tmp_path: Path) -> None:
    """One file more than a folder may hold is told, with the folder and the number."""
    room = tmp_path / "clients" / "room"
    room.mkdir(parents=True)
    for number in range(MOST_FILES):
        (room / f"file_{number}.py").touch()
    assert crowded(tmp_path) == []
    (room / "one_more.py").touch()
    assert crowded(tmp_path)[0].startswith(f"clients/room holds {MOST_FILES + 1} files")


def test_a_name_that_stands_twice_is_told(tmp_path: Path) -> None:
    """Below app/ only; `__init__.py` is everywhere."""
    for place in ("app/one", "app/two", "clients/one", "clients/two"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "__init__.py").touch()
        (tmp_path / place / "keys.py").touch()
    assert named_twice(tmp_path) == ["keys.py stands 2 times below app/"]


def test_ours_is_in_order() -> None:
    """The product keeps the rules."""
    assert crowded(ROOT) + named_twice(ROOT) == []
