"""Where an error came from: which frames are the user's."""

import sysconfig

import pytest

from agent_runner.tasks.run.error_origin import origin_of


@pytest.mark.parametrize("name", ["stdlib", "purelib"])
def test_a_folder_whose_name_only_begins_like_pythons_is_the_users(name: str) -> None:
    """`/usr/lib/python3.11-agents/graph.py` is no part of `/usr/lib/python3.11`."""
    source = "def plan():\n    import json\n    json.loads('{')\nplan()"
    with pytest.raises(ValueError, match="Expecting") as failed:
        exec(compile(source, f"{sysconfig.get_path(name)}-agents/graph.py", "exec"), {})
    assert origin_of(failed.value)["error_at"].endswith("-agents/graph.py:3 in plan")
