"""The checkpoints that a run leaves behind it while it goes, and which of them can be removed already.

A state of 1 MB and 60 steps would be 60 MB at the end of the run. Of a graph whose channels are all stored whole, only
these are needed: the last, the one before it (whose step may still be written to), where the run began and the one that
the server would hand out if this worker died now.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

BATCH = 4
"""They are removed together: each removal is a transaction."""


@dataclass(slots=True)
class Trail:
    """`known`: the heads of which the server may know one."""

    known: Callable[[], Collection[str]] = tuple
    _left: list[str] = field(default_factory=list)

    def step(self, id: str, deltas: Mapping[str, int]) -> Sequence[str]:
        """A checkpoint was written; those that can go now. `deltas`: what of it is stored as additions."""
        self._left.append(id)
        if any(deltas.values()):
            # It is put together from earlier ones: the end of the run sees to them.
            return ()
        known = self.known()
        over = [one for one in self._left[:-2] if one not in known]
        if len(over) < BATCH:
            return ()
        self._left = [one for one in self._left if one not in over]
        return over
