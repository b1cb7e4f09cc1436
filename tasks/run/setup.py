"""Prepares a claimed run: the bundle's graph, the sandbox, and the checkpoint where it begins."""

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import httpx
import redis
from langchain_core.callbacks import BaseCallbackHandler
from langgraph.constants import START

from agent_runner.clients.engine.agent_definition import Bundle, SkillSpec, SubAgentSpec, ToolSpec
from agent_runner.clients.engine.asked_turn import fitted, open_asked_turn, stops
from agent_runner.clients.engine.current import doing
from agent_runner.clients.engine.factory import EngineFactory
from agent_runner.clients.engine.memory.checkpoints import HeadTracking
from agent_runner.clients.engine.memory.database_errors import psycopg_errors
from agent_runner.clients.engine.turn import Turn, open_turn
from agent_runner.clients.engine.user_graphs.grouped_errors import errors_in
from agent_runner.clients.engine.user_graphs.run_context import context_for, lacking, limit_of
from agent_runner.clients.engine.user_graphs.user_graphs import Graph
from agent_runner.clients.mcp.agent_servers import chosen, servers_of
from agent_runner.clients.mcp.options import ANNOTATION as MCP
from agent_runner.clients.models.budget import ANNOTATION as BUDGET
from agent_runner.clients.models.budget import OWNERS, Spent, budget_of
from agent_runner.clients.models.prices import prices_of
from agent_runner.clients.process.threads import own
from agent_runner.clients.sandbox.kinds.kind import SandboxRequest
from agent_runner.clients.sandbox.kinds.on_demand import OnDemand
from agent_runner.clients.sandbox.kinds.port import Sandbox, SandboxError
from agent_runner.clients.sandbox.kinds.registry import ANNOTATION as SANDBOX
from agent_runner.clients.sandbox.kinds.registry import NONE, chosen_kind, kind_of
from agent_runner.clients.skills.library import SkillShelf, lay_out
from agent_runner.status.failures import Code
from agent_runner.status.requests.approvals import ANNOTATION as APPROVALS
from agent_runner.status.requests.approvals import ApprovalError, ApprovalRule, names_no_tool, rules_of
from agent_runner.status.requests.model_order import ANNOTATION as FALLBACKS
from agent_runner.status.requests.model_order import ModelOrderError, names_of
from agent_runner.tasks.run.given import given_of
from agent_runner.tasks.run.outcome import SetupError
from agent_runner.tasks.run.run import Claim, Run

if TYPE_CHECKING:
    from agent_runner.clients.settings.settings import Settings


TRIES, PAUSE_FIRST_S = 4, 0.5
"""Infrastructure errors before the agent's first step: tried again after 0.5, 1 and 2 s."""
DURABILITY, DURABILITIES = "agent-runner/durability", ("sync", "async", "exit")
"""The annotation of an agent that says when its steps are written to memory, and the values of it."""
SKILLS, INJECT = "agent-runner/skills", "inject"
"""The annotation of an agent, and its value for skills whose whole texts are in the prompt."""
_INFRASTRUCTURE = (ConnectionError, httpx.TransportError, redis.ConnectionError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    graph: Graph
    turn: Turn
    durability: str
    context: Any = None
    """The value of `runtime.context`, in the form of the graph's schema."""
    stops: Mapping[str, Any] = field(default_factory=dict)
    """Breakpoints of this run alone, as options of LangGraph's calls."""


async def prepare(
    settings: "Settings", engine: EngineFactory, run: Run, fetch: Callable[[str], Awaitable[bytes]]
) -> Prepared:
    """Everything before the agent's first step. `fetch` gets a skill's archive by its key. Raises any error."""
    check(run.claim)
    run.current.spent = spent_of(settings, run)
    if run.current.sandbox is None:
        run.current.sandbox = await open_sandbox(settings, run)
    skills = await set_up_skills(SkillShelf(settings.data_dir / "skills", fetch), run)
    bundle = bundle_of(
        run.claim, skills, await start_tool_servers(settings, run), sandboxed=run.current.sandbox is not None
    )
    check_approvals(bundle)
    graph = await engine.graph(bundle, {"configurable": {"thread_id": run.current.thread_id}})
    memory: object = graph.checkpointer
    if isinstance(memory, HeadTracking):
        run.allow_hand_back()
    told, asked = run.claim.reply, run.asked
    if asked is None:
        turn = await open_turn(graph, run.current, bundle, given_of(told), resume=told.resume)
    else:
        run.current.context = fitted(graph, run.current.context, asked)
        turn = await open_asked_turn(graph, run.current, bundle, given_of(told), asked, resume=told.resume)
    run.expected = turn.expected
    durability = (asked.durability if asked else "") or durability_of(settings, engine, run.claim)
    own, context = bool(bundle.graph), run.current.context
    turn.config["recursion_limit"] = limit_of(graph, context, own=own)
    run.lacks = lacking(graph, context, bundle.graph) if own else ""
    return Prepared(
        graph=graph,
        turn=_watched(turn, run),
        durability=durability,
        context=context_for(graph, context, bundle.graph) if own else None,
        stops=stops(asked) if asked else {},
    )


def durability_of(settings: "Settings", engine: EngineFactory, claim: Claim) -> str:
    """When a step is written: the agent's annotation, else the graph's entry, else the setting. Raises SetupError."""
    told = claim.reply
    chosen = told.agent.metadata.annotations.get(DURABILITY) or (
        engine.user_graphs.durability(told.graph) if told.graph else ""
    )
    if chosen and chosen not in DURABILITIES:
        raise SetupError(f"durability is {chosen!r}: it must be one of {', '.join(DURABILITIES)} ({DURABILITY})")
    return chosen or settings.durability


def spent_of(settings: "Settings", run: Run) -> Spent:
    """The run's budget with what the execution has used of it; another try of the set-up used nothing. Raises
    SetupError."""
    told, annotations = run.claim.reply, run.claim.reply.agent.metadata.annotations
    try:
        limits = budget_of(annotations.get(BUDGET, ""))
        owners, before = json.loads(annotations.get(OWNERS) or "{}"), json.loads(told.spent_json or "{}")
    except ValueError as error:
        raise SetupError(str(error)) from None
    return Spent(limits, owners=owners, before=before, priced=prices_of(settings.prices))


def fallbacks_in(claim: Claim) -> tuple[str, ...] | None:
    """The models that stand in for the first one; None: the settings say it. Raises SetupError."""
    try:
        return names_of(claim.reply.agent.metadata.annotations.get(FALLBACKS, ""))
    except ModelOrderError as error:
        raise SetupError(str(error)) from None


def approvals_in(claim: Claim) -> tuple[ApprovalRule, ...]:
    """The calls that a person approves first. Raises SetupError."""
    try:
        return rules_of(claim.reply.agent.metadata.annotations.get(APPROVALS, ""))
    except ApprovalError as error:
        raise SetupError(str(error)) from None


def check_approvals(bundle: Bundle) -> None:
    """Raises SetupError for a rule about a tool that the agent does not have."""
    if unknown := names_no_tool(bundle.approvals, bundle.tool_names):
        raise SetupError(
            f"{APPROVALS} names {', '.join(unknown)}, which is no tool of the agent. It has"
            f" {', '.join(sorted(bundle.tool_names))}"
        )


def check(claim: Claim) -> None:
    """Raises SetupError for a claim that cannot be run; the text names what is missing."""
    told = claim.reply
    if not claim.execution_id:
        raise SetupError("Execution ID is required")
    if told.bundle_error:
        code = next((code for code in Code if code.value == told.bundle_error_code), Code.SYSTEM)
        raise SetupError(told.bundle_error, code=code, what=told.bundle_error_what or None)
    if not told.graph and not told.session.metadata.id:
        raise SetupError(f"Session ID is required for execution {claim.execution_id}")
    if not told.thread_id:
        raise SetupError(f"Thread ID is required for execution {claim.execution_id}")
    if not (told.message or told.input_json or told.answers_json or told.asked_json or told.resume):
        raise SetupError(f"Message is required for execution {claim.execution_id}")


def bundle_of(
    claim: Claim,
    skills: Mapping[str, tuple[SkillSpec, ...]],
    tools: Mapping[str, tuple[ToolSpec, ...]],
    *,
    sandboxed: bool = True,
) -> Bundle:
    """The bundle that shapes the graph, from the claim. `skills`, `tools`: by sub-agent, '' for the agent's own."""
    told = claim.reply
    if told.graph:
        return Bundle(graph=told.graph, model_name=told.model_name)
    spec = told.agent.spec
    return Bundle(
        instructions=spec.instructions,
        sub_agents=tuple(
            SubAgentSpec(
                name=sub.name,
                description=sub.description,
                instructions=sub.instructions,
                skills=skills.get(sub.name, ()),
                tools=tools.get(sub.name, ()),
            )
            for sub in spec.sub_agents
        ),
        model_name=told.model_name,
        fallback_models=fallbacks_in(claim),
        skills=skills.get("", ()),
        tools=tools.get("", ()),
        approvals=approvals_in(claim),
        sandboxed=sandboxed,
    )


async def set_up_skills(shelf: SkillShelf, run: Run) -> dict[str, tuple[SkillSpec, ...]]:
    """Write the skills of the claim into the sandbox. By sub-agent, '' for the agent's own. Raises SkillError.

    Their texts are in the prompt only if the agent asks for that, or if there is no sandbox to read files in.
    """
    told, sandbox = run.claim.reply, run.current.sandbox
    whole = sandbox is None or told.agent.metadata.annotations.get(SKILLS) == INJECT
    found: dict[str, tuple[SkillSpec, ...]] = {}
    laid_out: dict[str, tuple[str, str]] = {}
    for skill in told.skills:  # one after the other: an archive may be large
        if skill.folder not in laid_out:
            archive = await shelf.archive(skill.name, skill.version_hash, skill.artifact_key)
            path = await own(lay_out, sandbox, skill.name, skill.folder, archive) if sandbox else ""
            laid_out[skill.folder] = path, archive.text.body if whole else ""
        path, body = laid_out[skill.folder]
        spec = SkillSpec(
            name=skill.name,
            description=skill.description,
            path=path,
            body=body,
        )
        found[skill.sub_agent] = (*found.get(skill.sub_agent, ()), spec)
    return found


async def start_tool_servers(settings: "Settings", run: Run) -> dict[str, tuple[ToolSpec, ...]]:
    """Their tools by sub-agent, '' for the agent itself. Raises McpServerError. A graph of the user's own gets none."""
    told = run.claim.reply
    spec = told.agent.spec
    if told.graph or not spec.mcp_servers:
        return {}
    servers = servers_of(spec, told.agent.metadata.annotations.get(MCP, ""), told.env, settings)
    from agent_runner.clients.mcp.servers import McpServers  # half a second of imports, for agents that have servers

    if run.current.tool_servers is not None:
        await run.current.tool_servers.close()  # those of the try before
    started = McpServers(
        servers,
        run.current.sandbox,
        run.mask,
        max_bytes=told.max_tool_result_bytes or settings.max_tool_result_bytes,
        private=settings.is_local if settings.mcp_private_addresses is None else settings.mcp_private_addresses,
    )
    run.current.tool_servers = started
    with doing(f"the start of MCP servers: {', '.join(one.name for one in servers)}"):
        tools = await started.start()
    return {"": tools, **{sub.name: chosen(sub, tools) for sub in spec.sub_agents}}


async def open_sandbox(settings: "Settings", run: Run) -> Sandbox | None:
    """The sandbox of the kind that the agent chose, else of the worker's. Raises SandboxError: no other kind takes
    over. The one of a user's own graph is opened when the graph first uses it."""
    told = run.claim.reply
    name = chosen_kind(settings, told.agent.metadata.annotations.get(SANDBOX, ""))
    if name == NONE:
        return None
    request = SandboxRequest(
        name=sandbox_name(told.sandbox_id or told.session.metadata.id or told.thread_id),
        session_id=told.session.metadata.id,
        org=told.session.metadata.org,
        execution_id=run.id,
        env=dict(told.env),
        mask=run.mask,
        max_result_bytes=told.max_tool_result_bytes or settings.max_tool_result_bytes,
    )

    def opened() -> Sandbox:
        try:
            return kind_of(name, settings).open(request)
        except SandboxError as error:
            error.kind = error.kind or name
            raise

    if told.graph and not told.skills:
        return OnDemand(opened, name=f"{name}, not opened", mask=run.mask)
    return await own(opened)


def sandbox_name(given: str) -> str:
    """A name that can lead to no other place, and is the same for every worker. Raises SandboxError."""
    if not (safe := re.sub(r"[^A-Za-z0-9_-]", "_", given)):
        raise SandboxError("the sandbox has no name: neither a session nor a thread is known")
    return safe


def is_infrastructure(error: BaseException) -> bool:
    """Whether another try may help: a service that we use did not answer."""
    seen: set[int] = set()
    link: BaseException | None = error
    kinds = (*_INFRASTRUCTURE, *psycopg_errors("OperationalError"))
    while link is not None and id(link) not in seen:
        if isinstance(link, kinds):
            return True
        if isinstance(link, BaseExceptionGroup):
            return all(map(is_infrastructure, errors_in(link)))
        seen.add(id(link))
        link = link.__cause__
    return False


class _Steps(BaseCallbackHandler):
    """Tells the run which nodes of its graph are open. Not called for tokens."""

    run_inline = True
    ignore_llm = True
    ignore_chat_model = True
    ignore_retriever = True
    ignore_agent = True

    def __init__(self, run: Run) -> None:
        self._run = run

    def on_chain_start(self, *args: Any, run_id: Any, parent_run_id: Any = None, **kwargs: Any) -> None:
        node = (kwargs.get("metadata") or {}).get("langgraph_node")
        # The graph itself, and LangGraph's own first step, which only reads the input, are no steps of the agent.
        if parent_run_id is None or node in (None, START):
            return
        self._run.began = True
        if kwargs.get("name") == node:
            self._run.open_nodes[run_id] = node

    def on_chain_end(self, *args: Any, run_id: Any, **kwargs: Any) -> None:
        self._run.open_nodes.pop(run_id, None)

    def on_chain_error(self, *args: Any, run_id: Any, **kwargs: Any) -> None:
        self._run.open_nodes.pop(run_id, None)


def _watched(turn: Turn, run: Run) -> Turn:
    callbacks = [*(turn.config.get("callbacks") or ()), _Steps(run)]  # type: ignore[misc]
    return replace(turn, config={**turn.config, "callbacks": callbacks})
