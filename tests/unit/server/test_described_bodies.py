"""Bodies at the edge of what /openapi.json allows: the server keeps to it on both sides."""

from datetime import datetime
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator, FormatChecker  # type: ignore[import-untyped]

from tests.unit.server.identity import agent

SHARES_A_SERVER = True
Json = dict[str, Any]
NIGHTLY = {"name": "nightly", "cron": "0 3 * * *", "execution": {"message": "report"}}
SKILL = {"api_version": "agentic.stigmer.ai/v1", "kind": "Skill", "spec": {"skill_md": "# A skill"}}
AGENT = {name: value for name, value in agent("Described").items() if name != "metadata"}
PICTURE = {"type": "image", "url": "https://example.com/a.png"}
BLANK = {"type": "text", "text": " "}
FORMATS = FormatChecker(formats=())


@FORMATS.checks("date-time", raises=ValueError)  # type: ignore[untyped-decorator]
def _is_a_time(text: Any) -> bool:
    return not isinstance(text, str) or datetime.fromisoformat(text).tzinfo is not None


async def allowed(http: httpx.AsyncClient, method: str, path: str, body: Any) -> bool:
    """Whether the description allows it."""
    document = (await http.get("/openapi.json")).json()
    schema = document["paths"][path][method]["requestBody"]["content"]["application/json"]["schema"]
    judge = Draft202012Validator({"components": document["components"], **schema}, format_checker=FORMATS)
    return bool(judge.is_valid(body))


@pytest.mark.parametrize(
    ("end", "good"),
    [("", True), (None, True), ("2100-01-01T00:00:00Z", True), (" ", False), ("never", False)],
)
async def test_a_schedule_without_an_end_may_say_so_with_an_empty_text(
    http: httpx.AsyncClient, end: str | None, good: bool
) -> None:
    """`end_time` empty or null: none, in a schedule, its change and a preview; what is no time is refused."""
    made = (await http.post("/v1/schedules", json=NIGHTLY)).json()
    preview = {"cron": NIGHTLY["cron"], "end_time": end}
    for method, path, body in (
        ("post", "/v1/schedules", {**NIGHTLY, "end_time": end}),
        ("post", "/v1/schedules/preview", preview),
        ("patch", "/v1/schedules/{schedule_id}", {"end_time": end}),
    ):
        answer = await http.request(method, path.replace("{schedule_id}", made["id"]), json=body)
        assert answer.is_success is good, (path, answer.text)
        assert await allowed(http, method, path, body) is good, path
        if not end and "id" in answer.json():
            assert "end_time" not in answer.json()


@pytest.mark.parametrize("at", [[""], ["2100-01-01T00:00:00Z", ""]])
async def test_a_time_of_a_schedule_is_never_empty(http: httpx.AsyncClient, at: list[str]) -> None:
    """Only the end may be: an empty time among `at` is refused, as the description says."""
    body = {"name": "once", "at": at, "execution": NIGHTLY["execution"]}
    assert (await http.post("/v1/schedules", json=body)).status_code == 400
    assert not await allowed(http, "post", "/v1/schedules", body)


@pytest.mark.parametrize(
    ("message", "good"),
    [
        ("", False),
        ([""], False),
        ([" ", "\t"], False),
        ([BLANK], False),
        (["a"], True),
        (["", {"type": "text", "text": "a"}], True),
        ([BLANK, PICTURE], True),
        ([{**PICTURE, "detail": "high", "more": {"a": [None]}}], True),
    ],
)
async def test_a_message_says_something(http: httpx.AsyncClient, message: Any, good: bool) -> None:
    """One block at least is more than blank, of an execution and of what a schedule makes; blocks may have more
    fields."""
    for path, body in (
        ("/v1/executions", {"message": message}),
        ("/v1/schedules", {**NIGHTLY, "execution": {"message": message}}),
    ):
        assert (await http.post(path, json=body)).is_success is good, path
        assert await allowed(http, "post", path, body) is good, path


@pytest.mark.parametrize(("given", "good"), [({}, False), ({"metadata": None}, False), ({"metadata": {}}, True)])
async def test_a_change_of_a_resource_says_what_becomes_of_its_labels(
    http: httpx.AsyncClient, given: Json, good: bool
) -> None:
    """PUT replaces labels, annotations and tags too: without `metadata` it is refused, and nothing is lost."""
    labels = {"metadata": {"name": "Described", "labels": {"team": "a"}}}
    for route, body in (("skills", SKILL), ("agents", AGENT)):
        id = (await http.put(f"/v1/{route}", json={**body, **labels})).json()["metadata"]["id"]
        answer = await http.put(f"/v1/{route}/{id}", json={**body, **given})
        assert answer.is_success is good, answer.text
        assert await allowed(http, "put", f"/v1/{route}/{{name}}", {**body, **given}) is good
        kept = (await http.get(f"/v1/{route}/{id}")).json()["metadata"].get("labels", {})
        assert kept == ({} if good else {"team": "a"})
        if not good:
            assert "metadata" in answer.json()["detail"]


@pytest.mark.parametrize("given", [{"priority": 9.0}, {"config": {"recursion_limit": 9.0, "max_concurrency": 2.0}}])
async def test_a_whole_number_may_be_written_with_a_point(http: httpx.AsyncClient, given: Json) -> None:
    """9.0 is a whole number for JSON Schema, so it is one here."""
    body = {"message": "a", **given}
    answer = await http.post("/v1/executions", json=body)
    assert answer.status_code == 201, answer.text
    assert "9" in str(answer.json()["metadata"]["annotations"])
    assert "9.0" not in str(answer.json()["metadata"]["annotations"])
    assert await allowed(http, "post", "/v1/executions", body)


@pytest.mark.parametrize(("at", "good"), [("", True), ("2026-01-31T09:00:00Z", True), ("yesterday", False)])
async def test_an_empty_filter_by_time_is_none(http: httpx.AsyncClient, at: str, good: bool) -> None:
    """`created_after` and `created_before`: of lists and counts; described as well."""
    document = (await http.get("/openapi.json")).json()
    for path in ("/v1/executions", "/v1/executions/counts"):
        for name in ("created_after", "created_before"):
            assert (await http.get(path, params={name: at})).is_success is good
            given = next(one for one in document["paths"][path]["get"]["parameters"] if one["name"] == name)
            assert Draft202012Validator(given["schema"], format_checker=FORMATS).is_valid(at) is good


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/ai-sdk/agent-runner", {"id": "c1", "messages": [{"id": "u1", "role": "user", "parts": []}]}),
        *(
            (
                "/v1/agui/agent-runner",
                {"threadId": "t1", "runId": "r1", "messages": [{"id": "u1", "role": "user", "content": content}]},
            )
            for content in ("", [], [BLANK])
        ),
    ],
)
async def test_a_front_end_is_told_which_message_is_empty(http: httpx.AsyncClient, path: str, body: Json) -> None:
    """In words of its own request, not of the execution that would have been made."""
    common: Json = {"state": {}, "tools": [], "context": [], "forwardedProps": {}} if "agui" in path else {}
    answer = await http.post(path, json={**common, **body})
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith("messages: the last one of the user, ")


@pytest.mark.parametrize(("text", "good"), [("# A skill", True), (" \n", False), ("\u001d", False), ("", False)])
async def test_a_skill_says_something(http: httpx.AsyncClient, text: str, good: bool) -> None:
    """A SKILL.md of space alone is refused, as the description says."""
    body = {**SKILL, "metadata": {"name": "Of words"}, "spec": {"skill_md": text}}
    assert (await http.put("/v1/skills", json=body)).is_success is good
    assert await allowed(http, "put", "/v1/skills", body) is good


@pytest.mark.parametrize(
    ("path", "name"),
    [
        *((f"/{things}/{verb}", "metadata") for things in ("threads", "assistants") for verb in ("search", "count")),
        ("/threads/search", "values"),
        ("/threads/count", "values"),
        ("/threads", "metadata"),
        ("/assistants", "metadata"),
        ("/runs/wait", "metadata"),
    ],
)
async def test_nobody_keeps_or_seeks_what_postgres_cannot(http: httpx.AsyncClient, path: str, name: str) -> None:
    """A NUL in a value, at any depth, is refused on each database: with one such row each search on Postgres fails."""
    common = {"graph_id": "agent-runner", "assistant_id": "agent-runner", "input": {}}
    for values in ({"a": "\0"}, {"a": [{"\0": 1}]}):
        answer = await http.post(path, json={**common, name: values})
        assert answer.status_code == 422
        assert f"{name}: Value error, must not contain NUL" in answer.text
    if path.endswith(("search", "count")):
        assert (await http.post(path, json={name: {"a": "b"}})).is_success


async def test_answers_of_a_chat_are_one_at_least(http: httpx.AsyncClient) -> None:
    """None at all is refused, as the description says."""
    body = {"id": "c1", "messages": [{"id": "u1", "role": "user", "parts": []}], "answers": {}}
    assert (await http.post("/v1/ai-sdk/agent-runner", json=body)).status_code == 400
    assert not await allowed(http, "post", "/v1/ai-sdk/{agent}", body)


async def test_the_last_frame_of_a_chat_is_described(http: httpx.AsyncClient) -> None:
    """`[DONE]` is no JSON: a frame of its own."""
    document = (await http.get("/openapi.json")).json()
    for method, path in (("post", "/v1/ai-sdk/{agent}"), ("get", "/v1/ai-sdk/{agent}/{chat_id}/stream")):
        content = document["paths"][path][method]["responses"]["200"]["content"]["text/event-stream"]
        assert {"const": "[DONE]"} in [one["properties"]["data"] for one in content["itemSchema"]["anyOf"]]
