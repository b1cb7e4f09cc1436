"""The table of all events in our logs. `make docs` writes docs/guides/logs.md from it.

Operators search for names and fields, so an existing name is never changed. `event_logger` accepts no other name.
"""

import re
from dataclasses import dataclass
from logging import CRITICAL, DEBUG, ERROR, INFO, WARNING, getLevelName


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEvent:
    """`text` may hold `{field}`; the other fields follow it as `name=value`. `meaning` is for readers of the log."""

    name: str
    level: int
    text: str
    fields: tuple[str, ...]
    meaning: str

    @property
    def level_name(self) -> str:
        return getLevelName(self.level)

    @property
    def in_text(self) -> frozenset[str]:
        return frozenset(re.findall(r"{(\w+)}", self.text))


CONTEXT_FIELDS = {
    "execution_id": "lines inside a run, and lines about one execution",
    "session_id": "lines inside a run; missing where the execution has no session",
    "attempt": "lines inside a run, after its claim",
    "fence": "lines inside a run, after its claim",
    "worker": "lines inside a run: the node name of the worker",
    "request_id": "lines of the server about one request: the `X-Request-Id` that came with it, else a new one",
    "org": "the same, where the key belongs to an org",
    "key_id": "the same, where the key has an id",
}
"""Fields that a line gets from its context, also a line of another library. The value says which lines have it."""
RESERVED = ("at", "level", "logger", "event", "message", "traceback")
"""The keys of a JSON line besides its fields."""


def _of(name: str, level: int, text: str, fields: str, meaning: str) -> LogEvent:
    return LogEvent(name=name, level=level, text=text, fields=tuple(fields.split()), meaning=meaning)


_ROWS = (
    # A process
    _of("env_file.read", INFO, "{line}", "line", "Which `.env` was read, and which of its names were not settings."),
    _of("server.ready", INFO, "server is up", "http_port grpc_port", "Both ports take calls."),
    _of("server.stopping", INFO, "server is stopping", "", "SIGTERM or SIGINT came; calls in flight are answered."),
    _of("server.start_failed", DEBUG, "start failed", "", "The traceback of what the start-up banner says."),
    _of("server.any_host", WARNING,
        "the server answers for every Host name: set AGENT_RUNNER_ALLOWED_HOSTS to the names it has",
        "", "A web page that a user visits could reach this server under a name of its own."),
    _of("service.store_away", ERROR, "{service} cannot reach the store: {error}", "service error",
        "The next round tries again."),
    _of("service.round_failed", ERROR, "{service} failed; the next round tries again", "service",
        "Report the traceback."),
    _of("child.not_started", ERROR, "a process of the pool could not start, another one takes its place", "",
        "What stopped it stands below the line; until it can start, this slot takes no run."),
    _of("worker.ready", INFO, "{worker} is ready: queue {queue}, {slots} slots", "worker queue slots tasks",
        "It takes messages from now on."),
    _of("worker.worn_out", ERROR, "this worker takes no more work", "reason where",
        "Too many threads of ended runs hang; a successor starts. `where` names the functions."),
    _of("sandbox.walls", INFO, "commands of agents are {walls}", "walls", "What keeps commands apart on this worker."),
    _of("sandbox.no_walls", WARNING, "commands of agents are {walls}", "walls",
        "Commands can reach the worker's files."),
    _of("process.close_failed", WARNING, "the process was not closed cleanly", "error", "At the end of a worker."),
    _of("runs.drain", INFO, "runs are asked to stop at their next step", "runs within_s reason", "The worker leaves."),
    _of("consuming.not_switched", WARNING, "consuming could not be switched", "on error",
        "The broker is away, so nothing is taken anyway."),
    _of("loop.blocked", ERROR, "the event loop is blocked by {owner}", "owner stack",
        "The code below the line holds up every run of this worker: a blocking call in an async function."),
    _of("loop.free", WARNING, "the event loop runs again", "", "The block before it is over."),
    _of("loop.exit_caught", ERROR, "code on the event loop tried to end the process", "",
        "An agent raised SystemExit or KeyboardInterrupt; the process goes on."),
    _of("loop.never_free", CRITICAL, "an execution blocks the event loop beyond its time; this process ends",
        "execution_id", "Its neighbours end E103; change that agent's tools."),
    # Redis and RabbitMQ
    _of("redis.evicts", WARNING,
        "{url} evicts (maxmemory-policy {policy}): it removes queued work when memory is short;"
        " set maxmemory-policy noeviction, or use another Redis for agent-runner",
        "url policy", "Executions that wait in it may be lost from the queue; the server sends their messages again."),
    _of("redis.full", WARNING,
        "{url} is full: maxmemory is used up and its policy refuses writes, so nothing can be queued", "url",
        "Give it more memory or free some; this process goes on by itself when there is room."),
    _of("redis.not_checked", DEBUG, "a Redis was not looked at", "url error", "The check at the start found it away."),
    _of("redis.away", WARNING, "Redis is away; watchers look every second", "error", "Live logs are slower, not lost."),
    _of("wakeup.not_published", DEBUG, "a wake-up was not published", "error", "Watchers look every second."),
    _of("message.not_published", WARNING, "not published, it is sent again soon", "error", "The broker is away."),
    _of("message.dropped", ERROR, "a message belongs to no execution and is dropped", "queue code facts",
        "Some other program writes to this queue."),
    _of("message.unacked", WARNING, "a message stays unacked until the visibility timeout", "tag error",
        "Another worker gets it then."),
    _of("ack.delayed", WARNING, "acks wait until Redis is back", "acks error", "Nothing is lost."),
    _of("delivery.not_noted", WARNING, "Redis is full, a delivery is not noted there", "error",
        "Give Redis more memory; the database sends the message again if its worker dies."),
    _of("delivery.not_restored", DEBUG, "Redis is full, old deliveries stay where they are", "error",
        "The next look is soon."),
    _of("queue.not_bound", WARNING,
        "Redis is full: that queue {queue} is there can only be written when there is room",
        "queue", "This process waits for room. What is queued is taken meanwhile; nothing new can be."),
    _of("queue.bind_failed", DEBUG, "a queue is not bound yet", "queue error", "It is tried again."),
    _of("queue.bound", INFO, "Redis has room again: queue {queue} is bound", "queue", "`queue.not_bound` is over."),
    _of("queue.expiry_kept", DEBUG, "Redis is full, no expiry was put off", "error", "It is put off a second later."),
    _of("queue.unchanged", WARNING, "the queue {queue} stays as it is", "queue refused",
        "RabbitMQ holds a queue of this name with other arguments: see the guide on surroundings."),
    _of("celery.not_told", ERROR, "Celery could not be told about a task; its message may come again", "",
        "The second delivery is refused by the database."),
    _of("progress.not_told", DEBUG, "progress was not told to Flower", "task_id error", "Only the view is older."),
    _of("task_end.dropped", WARNING, "Flower is not told of an end: too many are waiting", "task_id",
        "Flower shows that task as started."),
    _of("task_end.not_told", WARNING, "Flower was not told of an end", "task_id error", "As `task_end.dropped`."),
    _of("task_end.retry", DEBUG, "an end is told again soon", "task_id error", "The broker or Redis is away."),
    _of("task_end.not_repeated", DEBUG, "a stored end was not told", "task_id error", "As `task_end.dropped`."),
    # The server and its callers
    _of("request.answered", DEBUG, "answered", "method route status duration_s", "One HTTP request."),
    _of("request.failed", ERROR, "an HTTP request failed", "method path", "A bug of ours: report the traceback."),
    _of("request.refused", DEBUG, "an HTTP request was refused", "method path code cause",
        "What was behind the answer."),
    _of("stream.failed", ERROR, "an event stream failed", "execution_id", "A bug of ours: report the traceback."),
    _of("call.failed", ERROR, "a gRPC call failed", "method", "A bug of ours: report the traceback."),
    _of("call.refused", DEBUG, "a gRPC call was refused", "method code cause", "What was behind the answer."),
    _of("clocks.restarted", WARNING,
        "no server was alive for a while: heartbeat and schedule-to-start clocks start again",
        "", "After an outage nobody is ended for a silence that the outage caused."),
    _of("execution.swept", INFO, "ended by the sweeper", "execution_id step",
        "A timeout passed; its error says which."),
    _of("sweep.batch_failed", ERROR, "a sweep of several rows failed; they are ended one by one", "",
        "Report the traceback."),
    _of("sweep.row_failed", ERROR, "a row could not be ended", "handle with_facts",
        "Without facts it is tried once more; then the next sweep."),
    _of("retention.done", INFO, "retention removed what is old",
        "days executions log_rows bytes sessions skill_archives", "One round of retention."),
    _of("removals.given_up", WARNING, "removals were never confirmed by a worker and are given up", "count",
        "Sandboxes or checkpoints may remain on a machine that has gone."),
    _of("removals.not_requested", WARNING, "workers are not asked to remove everything now, the next run asks again",
        "error", "The broker is away."),
    _of("session.cleanup_postponed", WARNING, "the sandbox and the memory of a session stay for now",
        "session_id error", "Retention asks for the removal again."),
    _of("exit_report.applied", INFO, "an exit report was left in Redis", "executions", "How many executions it ended."),
    _of("exit_report.look_failed", DEBUG, "no look for exit reports in Redis", "error", "Redis is away."),
    _of("exit_report.invalid", WARNING, "an exit report in Redis is not one", "error", "Another program wrote there."),
    _of("exit_report.unreadable", WARNING, "an exit report in Redis is not a JSON object", "content",
        "As the one above."),
    _of("exit_report.lost", ERROR, "an exit report from Redis is lost, the store is away", "error",
        "The runs of that process end by their heartbeats."),
    _of("webhook.failed", WARNING, "a webhook was not called", "execution_id tries error",
        "It is tried again, eight times in all; the address may be private, or answers with an error."),
    # Presence
    _of("worker.arrived", INFO, "{role} {name} is here", "role name queue slots", "A process announced itself."),
    _of("worker.disconnected", WARNING, "its connection closed without a goodbye", "incarnation",
        "It has the grace to come back; then its runs end E103."),
    _of("worker.lost_unrecorded", WARNING, "a worker is gone and the store is away: its runs fall to the heartbeat",
        "incarnation", "Its runs end later, E102."),
    _of("presence.up", INFO, "present at server {server_id}", "server_id", "This process is announced."),
    _of("presence.ended", INFO, "the server ended the presence stream", "",
        "It stops, or gives its clients to another."),
    _of("presence.lost", WARNING, "presence is lost, connecting again", "error", "Back within the grace: no harm."),
    _of("presence.failed", ERROR, "presence failed, connecting again", "", "Report the traceback."),
    _of("presence.off", INFO, "compatible reporting: this process is not announced, and sends no heartbeats", "",
        "The contract has no place for either."),
    # A run
    _of("thread.ready", INFO, "the thread is stored", "execution_id session_id session_empty thread_id",
        "EnsureThread is done."),
    _of("thread.not_ours", INFO, "EnsureThread is not ours", "execution_id refusal",
        "Another delivery has it, or it ended."),
    _of("thread.retry", WARNING, "EnsureThread is tried again", "execution_id cause pause_s",
        "After three it ends E302."),
    _of("thread.not_stored", WARNING, "the thread could not be stored in its session", "thread_id error",
        "It follows from the session's id; the next turn finds it."),
    _of("claim.unanswered", WARNING, "the execution is left, nobody answers its claim", "execution_id error",
        "The server sends the message again."),
    _of("claim.refused", INFO, "the execution is not ours", "execution_id refusal",
        "Another worker has it, or it ended."),
    _of("mcp.ready", INFO, "MCP server {server} is ready", "server tools", "How many tools of it the agent may use."),
    _of("mcp.call_failed", INFO, "a call of {tool} on MCP server {server} failed", "server tool",
        "The agent reads why, and goes on; the status shows it."),
    _of("mcp.session_failed", WARNING, "MCP server {server} was lost: {error}", "server error",
        "Each further call of its tools fails; the run goes on."),
    _of("run.begins", INFO, "the run begins",
        "execution_id attempt fence session_id session_empty thread_id model graph resume", "The claim was granted."),
    _of("run.begins_unconfirmed", WARNING, "the run begins without the server's knowledge", "execution_id error",
        "Compatible reporting: the first update was not answered."),
    _of("run.setup_retry", WARNING, "set-up failed, it is tried again", "execution_id pause_s error",
        "A database, a sandbox or a network was not there."),
    _of("run.failed", WARNING, "the agent failed", "error stack",
        "The execution's own error says the same; the traceback below the line is whole and masked."),
    _of("run.position_unknown", DEBUG, "where the run stands is not known", "execution_id error",
        "The error has no `next`."),
    _of("run.cancel_ignored", ERROR, "the run ignores its cancel; it is given up", "execution_id open_step",
        "Its threads may hang: change the tool."),
    _of("run.handed_back", INFO, "the run is handed back", "execution_id reason", "Another worker goes on with it."),
    _of("run.hand_back_failed", WARNING, "the run could not be handed back", "execution_id error", "It ends E106."),
    _of("run.not_ours", WARNING, "the run is somebody else's or over: stopped, nothing written", "execution_id",
        "Its fence was raised."),
    _of("run.ends", INFO, "the run ends", "execution_id phase code last_seq",
        "As stored; an empty phase: somebody else wrote the end."),
    _of("failure.not_told", WARNING, "the server was not told how a run ended", "execution_id code error",
        "A timeout ends it."),
    _of("sandbox.close_failed", WARNING, "the sandbox was not closed cleanly", "sandbox error",
        "Processes may remain."),
    _of("sandbox.removed", INFO, "the sandbox is removed", "sandbox session_id", "CleanupSandbox is done."),
    _of("thread.pruned", INFO, "the thread is pruned", "thread_id checkpoints whole",
        "`whole`: the session is gone, and all of it was removed."),
    _of("removal.not_confirmed", WARNING, "the server was not told of a removal", "what error", "It asks again."),
    _of("memory.not_tidied", WARNING, "what the run left in memory stays for now", "execution_id error",
        "Retention removes it."),
    _of("memory.away", WARNING, "the agents' memory is away, its runs wait", "error",
        "The checkpoint database is away."),
    _of("memory.back", INFO, "the agents' memory is back", "away_s", "The runs go on."),
    _of("thread.not_expired", WARNING, "a thread whose time is over stays for now", "session_id error",
        "It is tried again in half a minute."),
    _of("query.failed", ERROR, "a question about a graph was not answered", "kind",
        "The lines below say why: a fault of the worker, or of the graph's code. Who asked got a 503."),
    _of("graph.close_failed", WARNING, "closing the graph's context manager failed", "execution_id error",
        "The run ends as it would have."),
    _of("graph.env_missing", WARNING,
        "env in langgraph.json names a file that does not exist: the worker's own environment is used",
        "file", "Correct `env` in langgraph.json."),
    _of("annotation.not_followed", WARNING, "an annotation is not followed", "annotation error",
        "A value is impossible."),
    _of("annotation.not_json", WARNING, "an annotation is not JSON", "annotation error", "It is not followed."),
    # What a run reports
    _of("rpc.unanswered", WARNING, "a call is not answered, trying again", "request error", "The server is away."),
    _of("flush.delayed", WARNING, "runs keep what they say, trying again", "runs error", "The server is away."),
    _of("flush.failed", ERROR, "flushing failed, trying again", "", "Report the traceback."),
    _of("flush.refused", WARNING, "what runs say together is refused", "runs error", "Each says it apart now."),
    _of("flush.run_delayed", WARNING, "a run keeps what it says, trying again", "handle fence error",
        "The server is away."),
    _of("flush.run_refused", ERROR, "a run keeps what it says, it is refused however small", "handle fence error",
        "The end of the run says what is missing."),
    _of("flush.run_failed", ERROR, "flushing one run apart failed", "handle fence", "Report the traceback."),
    _of("row.cut", WARNING, "a row is too large, it is cut", "kind bytes why", "The log shows the shorter row."),
    _of("row.left_out", WARNING, "a row was refused and is left out", "kind bytes why",
        "The log has a note in its place."),
    _of("reporting.limited", WARNING, "reporting to {endpoint} is {limits}", "endpoint limits",
        "Compatible reporting: see its guide for what does not hold."),
    _of("run.updates", INFO, "what was reported of the run", "execution_id events updates failed spent_s",
        "Compatible reporting: the calls of one run."),
    _of("update.refused", WARNING, "the update at event {update} failed, {then}", "execution_id update then error",
        "Compatible reporting; `then` says what follows."),
    _of("update.failed", ERROR, "an update of the status failed", "execution_id update", "Report the traceback."),
    _of("update.too_large", ERROR, "the last update is too large, only the end is told", "execution_id",
        "Compatible reporting: the server's messages are smaller than the status."),
    _of("update.last_refused", WARNING, "the last update was refused", "execution_id tries_left error",
        "Compatible reporting: it is tried again."),
)  # fmt: skip
LOG_EVENTS = {row.name: row for row in _ROWS}
