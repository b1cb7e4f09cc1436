"""Asks a worker about a graph, its memory or its store, and waits for the answer.

The question is a row, the message to the graph's queue is a hint, and the answer comes into the row. So any server may
get the answer. Who waits is woken by a hint, and looks by itself now and then. Nothing is asked again: a question that
nobody answers in time is deleted, and the caller told.
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from ulid import ULID

from agent_runner.app.server.access.principal import default_org
from agent_runner.app.server.agent_server.refusals import unprocessable
from agent_runner.app.server.context import ServerContext
from agent_runner.app.server.problems import Kind, Problem, broker_unavailable
from agent_runner.clients.broker.publisher import PublishError
from agent_runner.status.store.registry.graph_queries import GraphQuery, QueryAnswer

ANSWER_S = 8.0
LOOK_EVERY_S = 0.5


class GraphQuestions:
    """`ctx`: its store shows what the caller may see."""

    def __init__(self, ctx: ServerContext) -> None:
        self._ctx = ctx

    async def ask(
        self,
        kind: str,
        body: Mapping[str, Any],
        *,
        org: str | None = None,
        graph: str = "",
        agent_id: str = "",
        memory_id: str = "",
        head: str = "",
    ) -> Any:
        """The answer. Raises UNAVAILABLE if no worker answers in time, UNPROCESSABLE for what a worker refuses."""
        queue = self._ctx.settings.runner_queue
        query = GraphQuery(
            id=f"qry-{str(ULID()).lower()}",
            org=default_org() if org is None else org,
            kind=kind,
            queue=queue,
            body=json.dumps(dict(body), ensure_ascii=False),
            within_s=ANSWER_S,
            graph=graph,
            agent_id=agent_id,
            thread_id=memory_id,
            head_checkpoint_id=head,
        )
        with self._ctx.wakeups.subscribe(query.id) as woken:
            await self._ctx.store.add_query(query)
            try:
                await self._ctx.dispatcher.ask(query.id, queue, ANSWER_S)
                answer = await self._answer(query.id, woken)
            except PublishError as error:
                raise broker_unavailable(str(error)) from error
            finally:
                self._ctx.soon(self._ctx.store.drop_query(query.id))
        if answer is None:
            raise Problem(
                Kind.UNAVAILABLE,
                f"no worker of queue '{queue}' answered within {ANSWER_S:g} s, and only workers know graphs and memory",
                next_step="Start a worker, or one more if all are busy: agent-runner doctor shows what is there.",
                retry_after_s=1,
            )
        return _read(answer)

    async def _answer(self, id: str, woken: asyncio.Event) -> QueryAnswer | None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + ANSWER_S
        while (left := deadline - loop.time()) > 0:
            woken.clear()
            if (found := await self._ctx.store.query_answer(id)) is not None:
                return found
            try:
                await asyncio.wait_for(woken.wait(), min(left, LOOK_EVERY_S))
            except TimeoutError:
                continue
        return None


def _read(answer: QueryAnswer) -> Any:
    if not answer.refusal:
        return json.loads(answer.answer)
    if answer.refused_as == "invalid":
        raise Problem(Kind.INVALID_ARGUMENT, answer.refusal, next_step="Correct the request and send it again.")
    if answer.refused_as == "missing":
        raise unprocessable(answer.refusal)
    raise Problem(
        Kind.UNAVAILABLE, answer.refusal, next_step="Look at the worker's log; the graph or its memory cannot be used."
    )
