"""The store: all verbs on one object. Each base class is one file and one concern."""

from agent_runner.status.store.executions.attachments import Attachments
from agent_runner.status.store.executions.cancel import Cancel
from agent_runner.status.store.executions.creation import Creation
from agent_runner.status.store.executions.descriptions import Descriptions
from agent_runner.status.store.executions.outbox import Outbox
from agent_runner.status.store.executions.retention import Retention
from agent_runner.status.store.executions.status_updates import StatusUpdates
from agent_runner.status.store.executions.sweep import Sweep
from agent_runner.status.store.executions.worker_writes import WorkerWrites
from agent_runner.status.store.lists.activity import Activity
from agent_runner.status.store.lists.summaries import Summaries
from agent_runner.status.store.registry.api_keys import ApiKeys
from agent_runner.status.store.registry.assistants import Assistants
from agent_runner.status.store.registry.graph_queries import GraphQueries
from agent_runner.status.store.registry.presence import Presence
from agent_runner.status.store.registry.schedules import Schedules
from agent_runner.status.store.registry.sealed_values import SealedValues
from agent_runner.status.store.registry.skill_versions import Skills
from agent_runner.status.store.registry.threads import Threads
from agent_runner.status.store.turns.answer_tokens import AnswerTokens
from agent_runner.status.store.turns.firings import Firings
from agent_runner.status.store.turns.taking_turns import TakingTurns
from agent_runner.status.store.turns.webhook_calls import WebhookCalls


class Store(
    Creation,
    Outbox,
    Cancel,
    WorkerWrites,
    Presence,
    Sweep,
    StatusUpdates,
    Descriptions,
    Skills,
    ApiKeys,
    Retention,
    Attachments,
    Threads,
    Assistants,
    GraphQueries,
    WebhookCalls,
    Schedules,
    Firings,
    Summaries,
    Activity,
    TakingTurns,
    AnswerTokens,
    SealedValues,
):
    """`Store.open(url)` connects lazily; `close()` when done. Every verb may raise `StoreUnavailable`."""
