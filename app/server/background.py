"""Work that a server does round after round by itself."""

import asyncio
from contextlib import suppress


class Background:
    """`start()`, `stop()`. Subclasses do their rounds in `_run`, until `_stopped` is set, and rest by `_rest`."""

    LAST_ROUND_S: float | None = 3.0
    """How long `stop` waits for the round under way before it cancels it; None: as long as it takes."""

    def __init__(self) -> None:
        self._stopped = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=type(self).__name__)

    async def stop(self) -> None:
        """After the round that is under way, if that ends soon: a cancel costs the pool a connection."""
        self._stopped.set()
        if self._task:
            await asyncio.wait({self._task}, timeout=self.LAST_ROUND_S)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        raise NotImplementedError

    async def _rest(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopped.wait(), seconds)
