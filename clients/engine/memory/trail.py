"""The checkpoints that a run has written so far, and which of them can be removed while the run goes on.

With a state of 1 MB, 60 steps would make 60 MB by the end of the run. If all channels of the graph are stored whole,
only these checkpoints are needed: the last, the one before it (whose step may still be written to), the one where the
run began, and the one that the server would hand out if this worker died now.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

BATCH = 4
"""At least this many checkpoints are removed together, because each removal is a transaction."""


@dataclass(slots=True)
class Trail:
    """`known`: gives the heads that may be the one that the server knows."""

    keeps_all: bool = False
    """The client of the run reads its history, so no checkpoint of it is removed."""
    known: Callable[[], Collection[str]] = tuple
    _left: list[str] = field(default_factory=list)

    def step(self, id: str, deltas: Mapping[str, int]) -> Sequence[str]:
        """Note a new checkpoint. Returns those that can be removed now. `deltas`: its channels stored as additions."""
        if self.keeps_all:
            return ()
        self._left.append(id)
        if any(deltas.values()):
            # This checkpoint is put together from earlier ones. These are pruned at the end of the run.
            return ()
        known = self.known()
        over = [one for one in self._left[:-2] if one not in known]
        if len(over) < BATCH:
            return ()
        self._left = [one for one in self._left if one not in over]
        return over
