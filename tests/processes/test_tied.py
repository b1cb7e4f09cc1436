"""A foreign program without a supervisor ends with its stack, also where the stack has ended before it begins."""

import os
import subprocess

import pytest

from agent_runner.app.dev.tied import KERNEL_ENDS, PARENT_FD, tied


@pytest.mark.skipif(not KERNEL_ENDS, reason="only Linux ends a program with its parent")
@pytest.mark.parametrize("is_gone", [False, True])
def test_it_does_not_begin_after_the_end_of_its_stack(is_gone: bool) -> None:
    """The pipe of the stack has ended: nobody would end the program any more."""
    reading, writing = os.pipe()
    if is_gone:
        os.close(writing)
    environment = {**os.environ, PARENT_FD: str(reading)}
    argv = tied(["/bin/echo", "begun"])
    done = subprocess.run(argv, env=environment, pass_fds=[reading], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == ((1, "") if is_gone else (0, "begun\n"))
    os.close(reading)
    if not is_gone:
        os.close(writing)
