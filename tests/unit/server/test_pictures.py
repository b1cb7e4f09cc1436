"""Messages that are lists of content blocks: over HTTP and gRPC, what is shown of them, and what a worker gets."""

import base64
import json
from collections.abc import Mapping
from typing import Any

import grpc
import httpx
import pytest

from agent_runner.ai.stigmer.agentic.agentexecution.v1.api_pb2 import AgentExecution
from agent_runner.ai.stigmer.agentic.agentexecution.v1.command_pb2_grpc import AgentExecutionCommandControllerStub
from agent_runner.app.server.composition import RunningServer, running_server
from agent_runner.clients.engine.turn import Given
from agent_runner.clients.settings.settings import Settings
from agent_runner.tasks.run.given import given_of
from agent_runner.v1 import runner_pb2 as pb
from agent_runner.v1.runner_pb2_grpc import RunnerStub
from tests.unit.server.conftest import AUTHORIZED, Worker, created, http_client, sse
from tests.unit.server.identity import key
from tests.unit.server.test_create import assert_problem

SHARES_A_SERVER = True

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20
ENCODED = base64.b64encode(PNG).decode()
DATA_URL = f"data:image/png;base64,{ENCODED}"
TEXT = {"type": "text", "text": "What is this?"}
PICTURE = {"type": "image", "base64": ENCODED, "mime_type": "image/png"}
FORMS: Mapping[str, dict[str, Any]] = {
    "LangChain": PICTURE,
    "LangChain without a type": {"type": "image", "base64": ENCODED},
    "LangChain v0": {"type": "image", "source_type": "base64", "data": ENCODED, "mime_type": "image/png"},
    "OpenAI": {"type": "image_url", "image_url": {"url": DATA_URL}},
    "OpenAI, short": {"type": "image_url", "image_url": DATA_URL},
    "OpenAI Responses": {"type": "input_image", "image_url": DATA_URL},
    "Anthropic": {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": ENCODED}},
}


async def claimed(server: RunningServer, id: str, *, apart: bool = True) -> pb.ClaimReply:
    """As a worker gets it, over gRPC. Not `apart`: a worker of before."""
    store = server.ctx.store
    await store.dispatched(id)
    assert (await store.begin(id, "b", "w1")).granted
    assert await store.done(id, "b", "thread-1")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        request = pb.ClaimRequest(
            execution_id=id, claim_id="c", incarnation="w1", run_token=b"t" * 16, takes_attachments=apart
        )
        reply: pb.ClaimReply = await RunnerStub(channel).claim(request, metadata=AUTHORIZED)
    assert reply.granted
    return reply


async def turn_of(server: RunningServer, id: str) -> Given:
    return given_of(await claimed(server, id))


@pytest.mark.parametrize("form", FORMS)
async def test_one_picture_in_every_form(http: httpx.AsyncClient, server: RunningServer, form: str) -> None:
    """The status shows the words and a reference; the worker gets the picture, in LangChain's form; so does a reader
    of the attachment."""
    made = await created(http, message=[TEXT, FORMS[form]])
    id = made["metadata"]["id"]
    assert made["spec"]["message"] == "What is this?"
    (message,) = made["status"]["messages"]
    assert message["content"] == "What is this?"
    (shown,) = message["metadata"]["attachments"]
    assert (shown["type"], shown["mime_type"], shown["size"]) == ("image", "image/png", len(PNG))
    assert ENCODED[:100] not in json.dumps(made)
    answer = await http.get(f"/v1/executions/{id}/attachments/{shown['id']}")
    assert (answer.status_code, answer.content) == (200, PNG)
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-disposition"].startswith("attachment; filename=")
    given = await turn_of(server, id)
    assert given.blocks == [TEXT, PICTURE]
    assert given.message == "What is this?"


async def test_where_a_form_says_more(http: httpx.AsyncClient, server: RunningServer) -> None:
    """A resolution, a title, what may be cached: it goes to the model with the picture."""
    cached = {"cache_control": {"type": "ephemeral"}}
    fine = {"type": "image_url", "image_url": {"url": DATA_URL, "detail": "high"}}
    page = {"type": "document", "source": {"type": "text", "data": "some words"}, "title": "notes.txt", **cached}
    pdf = {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERi0xLjQ=", "filename": "a.pdf"}}
    sound: dict[str, Any] = {
        "type": "input_audio",
        "input_audio": {"data": base64.b64encode(b"RIFF....").decode(), "format": "wav"},
    }
    made = await created(http, message=[{**TEXT, **cached}, fine, page, pdf, sound])
    shown = made["status"]["messages"][0]["metadata"]["attachments"]
    assert [(a["type"], a["mime_type"], a.get("name", "")) for a in shown] == [
        ("image", "image/png", ""),
        ("file", "text/plain", "notes.txt"),
        ("file", "application/pdf", "a.pdf"),
        ("audio", "audio/wav", ""),
    ]
    given = await turn_of(server, made["metadata"]["id"])
    assert given.blocks == [
        {**TEXT, **cached},
        fine,
        {"type": "text-plain", "text": "some words", "title": "notes.txt", "filename": "notes.txt",
         "mime_type": "text/plain", **cached},
        {"type": "file", "base64": "JVBERi0xLjQ=", "mime_type": "application/pdf", "filename": "a.pdf"},
        {"type": "audio", "base64": sound["input_audio"]["data"], "mime_type": "audio/wav"},
    ]  # fmt: skip


async def test_what_is_only_named(http: httpx.AsyncClient, server: RunningServer) -> None:
    """An address and a file at the provider's: shown, given to the model, and not to be had from here."""
    address = {"type": "image", "url": "https://example.org/a.png"}
    there = {"type": "file", "file_id": "file-7"}
    made = await created(http, message=[TEXT, address, there, TEXT])
    id = made["metadata"]["id"]
    assert made["spec"]["message"] == "What is this?\nWhat is this?"
    shown = made["status"]["messages"][0]["metadata"]["attachments"]
    assert [a.get("url") for a in shown] == ["https://example.org/a.png", None]
    problem = assert_problem(await http.get(f"/v1/executions/{id}/attachments/att-1"), 404, "NOT_FOUND")
    assert "https://example.org/a.png" in problem["detail"]
    given = await turn_of(server, id)
    assert given.blocks == [TEXT, address, there, TEXT]


async def test_without_words(http: httpx.AsyncClient, server: RunningServer) -> None:
    """A picture alone: what stands for the words is no word that the model gets."""
    made = await created(http, message=[{**PICTURE, "filename": "cat.png"}])
    assert made["spec"]["message"] == f"[image cat.png, image/png, {len(PNG) / 1000:.1f} KB]"
    given = await turn_of(server, made["metadata"]["id"])
    assert given.blocks == [{**PICTURE, "filename": "cat.png"}]


BAD: Mapping[str, tuple[Any, str]] = {
    "no list of anything": ([], "message: is an empty list"),
    "no block": ([7], "message[0].type: '7'"),
    "an unknown block": ([TEXT, {"type": "hologram"}], "message[1].type: 'hologram'"),
    "a type that is none": ([{"type": {}}], "message[0].type: '{}' is no block"),
    "a list of types": ([{"type": ["image"]}], "is no block of a message"),
    "no text": ([{"type": "text", "text": 5}], "message[0].text: must be a string"),
    "no base64": ([TEXT, {**PICTURE, "base64": "%%%"}], "message[1].base64: not base64"),
    "half of it": ([{**PICTURE, "base64": ENCODED[:-1]}], "message[0].base64: not base64"),
    "no data": ([{"type": "image"}], "message[0].base64: needs one of base64, url, file_id"),
    "a number": ([{"type": "image", "base64": 7}], "message[0].base64: must be a string"),
    "a NUL": ([{"type": "image", "file_id": "a\0"}], "message[0].file_id: must not contain NUL"),
    "a number as its name": ([{**PICTURE, "filename": 0}], "message[0].filename: must be a string"),
    "bad in OpenAI's": (
        [{"type": "image_url", "image_url": {"url": "data:image/png;base64,*"}}],
        "message[0].image_url.url: not base64",
    ),
    "bad in Anthropic's": (
        [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "*"}}],
        "message[0].source.data: not base64",
    ),
    "another source": ([{"type": "image", "source": {"type": "disk"}}], "message[0].source.type: must be base64"),
    "an address of nowhere": ([{"type": "image", "url": "file:///etc/hosts"}], "message[0].url: must begin with"),
    "no media type": ([{"type": "file", "base64": "aGVsbG8="}], "message[0].mime_type: is needed"),
    "a header": ([{**PICTURE, "mime_type": "image/png\r\nX: y"}], "message[0].mime_type: must be a media type"),
    "another kind": ([{**PICTURE, "mime_type": "text/html"}], "message[0].mime_type: text/html is no type of image"),
    "a number of them": ({"type": "text"}, "message: must be a string or a list"),
    "too many": ([{"type": "image", "url": "https://example.org"}] * 101, "100 attachments"),
}


@pytest.mark.parametrize("case", BAD)
async def test_a_bad_block_is_named(http: httpx.AsyncClient, case: str) -> None:
    """400, with the way to the bad part."""
    message, said = BAD[case]
    problem = assert_problem(await http.post("/v1/executions", json={"message": message}), 400, "INVALID_ARGUMENT")
    assert said in problem["detail"]


async def test_a_bad_block_of_an_input_is_named(http: httpx.AsyncClient) -> None:
    """The same where the messages are fields of a graph; elsewhere in the input it may be anything."""
    bad = {"type": "image", "base64": "*", "mime_type": "image/png"}
    body = {"graph": "g", "input": {"messages": [["user", "hi"], {"role": "user", "content": [TEXT, bad]}]}}
    problem = assert_problem(await http.post("/v1/executions", json=body), 400, "INVALID_ARGUMENT")
    assert "input.messages[1].content[1].base64: not base64" in problem["detail"]
    body = {"graph": "g", "input": {"messages": [["user", "hi"]], "shape": bad, "kinds": [{"type": []}, {"type": {}}]}}
    assert (await http.post("/v1/executions", json=body)).status_code == 201


async def test_what_is_only_called_a_file(http: httpx.AsyncClient, server: RunningServer) -> None:
    """A graph's own blocks and fields may have such names, in any number: they stay what they are."""
    own = [TEXT, *({"type": "file", "path": f"/tmp/{n}"} for n in range(150))]
    there = [{"type": "image", "url": "https://example.org/a.png"}] * 150
    sent = {"messages": [{"role": "user", "content": own}], "listed": there, "data": [PICTURE] * 3}
    answer = await http.post("/v1/executions", json={"graph": "g", "input": sent})
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert len(made["status"]["messages"][0]["metadata"]["attachments"]) == 3
    assert json.loads((await turn_of(server, made["metadata"]["id"])).input_json) == sent


@pytest.mark.parametrize("apart", [True, False], ids=["now", "a worker of before"])
async def test_answers_may_hold_pictures(
    http: httpx.AsyncClient, server: RunningServer, worker: Worker, apart: bool
) -> None:
    """They are any JSON: what is shown of them has references, what the graph gets is what was sent."""
    first = await created(http)
    session = first["spec"]["session_id"]
    await worker.settle(await worker.claim(first["metadata"]["id"]), number=0, question={"id": "q1", "text": "look?"})
    sent = {"q1": {"look": [PICTURE]}}
    answer = await http.post("/v1/executions", json={"answers": sent, "session_id": session})
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert ENCODED[:100] not in json.dumps(made)
    assert (await http.get(f"/v1/executions/{made['metadata']['id']}/attachments/att-1")).content == PNG
    reply = await claimed(server, made["metadata"]["id"], apart=apart)
    assert json.loads(given_of(reply).answers_json) == sent
    assert given_of(reply).input_json == ""


async def test_what_weighs_too_much(own_settings: Settings) -> None:
    """All attachments of an execution together have a limit; the refusal says how much, which setting, what to do."""
    limited = own_settings.model_copy(update={"max_attachment_bytes": 2 * len(PNG)})
    async with running_server(limited) as server, http_client(server) as http:
        await created(http, message=[TEXT, PICTURE, PICTURE])
        problem = assert_problem(
            await http.post("/v1/executions", json={"message": [PICTURE] * 3}), 413, "RESOURCE_EXHAUSTED"
        )
        assert f"{3 * len(PNG)} bytes" in problem["detail"]
        assert "AGENT_RUNNER_MAX_ATTACHMENT_BYTES" in problem["detail"]
        assert "url" in problem["next_step"]
        body = {"graph": "g", "input": {"messages": [{"role": "user", "content": [PICTURE] * 3}]}}
        assert_problem(await http.post("/v1/executions", json=body), 413, "RESOURCE_EXHAUSTED")
        long = [{"type": "text", "text": "x" * 6_000}, {"type": "text", "text": "x" * 6_000}]
        problem = assert_problem(await http.post("/v1/executions", json={"message": long}), 413, "RESOURCE_EXHAUSTED")
        assert "AGENT_RUNNER_MAX_MESSAGE_BYTES" in problem["detail"]
        many = {"graph": "g", "input": {"messages": [["user", "x" * 6_000]] * 2}}
        assert_problem(await http.post("/v1/executions", json=many), 413, "RESOURCE_EXHAUSTED")


@pytest.mark.parametrize("form", FORMS)
async def test_the_messages_of_an_input(http: httpx.AsyncClient, server: RunningServer, form: str) -> None:
    """Each is a row of its own; the graph gets exactly what was sent, in the sender's form."""
    sent = {
        "messages": [
            {"role": "system", "content": "Be short."},
            {"role": "user", "content": [{"type": "text", "text": "One"}, FORMS[form]]},
            ["assistant", "A cat."],
            {"type": "human", "content": [{"type": "text", "text": "And this?"}, FORMS[form]]},
            {"role": "assistant", "content": "Hm,"},
        ],
        "shape": {"deep": [FORMS[form]]},
        "n": 1,
    }
    answer = await http.post("/v1/executions", json={"graph": "g", "input": sent})
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert made["spec"]["message"] == "And this?"
    assert [(m["type"], m["content"]) for m in made["status"]["messages"]] == [
        ("MESSAGE_SYSTEM", "Be short."),
        ("MESSAGE_HUMAN", "One"),
        ("MESSAGE_AI", "A cat."),
        ("MESSAGE_HUMAN", "And this?"),
        ("MESSAGE_AI", "Hm,"),
    ]
    ids = [[a["id"] for a in m.get("metadata", {}).get("attachments", [])] for m in made["status"]["messages"]]
    assert ids == [[], ["att-1"], [], ["att-2", "att-3"], []]
    assert ENCODED[:100] not in json.dumps(made)
    given = await turn_of(server, made["metadata"]["id"])
    assert json.loads(given.input_json) == sent
    assert (given.message, given.blocks) == ("", [])


async def test_words_after_the_messages_of_an_input(http: httpx.AsyncClient, server: RunningServer) -> None:
    """With `message` beside them, all of them stand before it."""
    held = {"role": "user", "content": [{"type": "text", "text": "One"}, PICTURE]}
    made = await created(http, graph="g", message=[TEXT, PICTURE], input={"messages": [held]})
    shown = [(m["content"], [a["id"] for a in m["metadata"]["attachments"]]) for m in made["status"]["messages"]]
    assert shown == [("One", ["att-2"]), ("What is this?", ["att-1"])]
    given = await turn_of(server, made["metadata"]["id"])
    assert given.blocks == [TEXT, PICTURE]
    assert json.loads(given.input_json) == {"messages": [held]}


async def test_an_input_in_no_form_that_is_known(http: httpx.AsyncClient) -> None:
    """Is shown as JSON, with references in it."""
    sent = {"messages": {"weird": [PICTURE]}, "n": 1}
    answer = await http.post("/v1/executions", json={"graph": "g", "input": sent})
    message = answer.json()["status"]["messages"][0]
    shown = {"type": "image", "agent-runner/attachment": "att-1"}
    assert json.loads(message["content"]) == {"messages": {"weird": [shown]}, "n": 1}
    problem = await http.post("/v1/executions", json={"graph": "g", "input": {"x": shown}})
    assert_problem(problem, 400, "INVALID_ARGUMENT")


@pytest.mark.parametrize("way", ["message", "input", "both"])
async def test_a_worker_of_before(http: httpx.AsyncClient, server: RunningServer, way: str) -> None:
    """Gets everything as an input with blocks, which it knows."""
    held = {"role": "user", "content": [{"type": "text", "text": "One"}, PICTURE]}
    body: dict[str, Any] = {"graph": "g"}
    body |= {"message": [TEXT, PICTURE]} if way != "input" else {}
    body |= {"input": {"messages": [held], "n": 1}} if way != "message" else {}
    made = (await http.post("/v1/executions", json=body)).json()
    reply = await claimed(server, made["metadata"]["id"], apart=False)
    assert (reply.message, reply.layout_json, len(reply.attachments)) == ("", "", 0)
    said = {"role": "user", "content": [TEXT, PICTURE]}
    rest = {"n": 1} if way != "message" else {}
    expected = {"message": [said], "input": [held], "both": [held, said]}[way]
    assert json.loads(reply.input_json) == {"messages": expected, **rest}


async def test_the_contracts_own_form(
    http: httpx.AsyncClient, channel: grpc.aio.Channel, server: RunningServer
) -> None:
    """Over HTTP its message may be a list too; over gRPC, whose field is a text, the annotation takes blocks. A text
    that happens to be JSON stays a text."""
    agent_id = (await created(http))["spec"]["agent_id"]
    contract: dict[str, Any] = {
        "api_version": "agentic.stigmer.ai/v1",
        "kind": "AgentExecution",
        "metadata": {"name": "x"},
    }
    answer = await http.post(
        "/v1/executions", json={**contract, "spec": {"agent_id": agent_id, "message": [TEXT, PICTURE]}}
    )
    assert answer.status_code == 201, answer.text
    assert (await turn_of(server, answer.json()["metadata"]["id"])).blocks == [TEXT, PICTURE]
    bad = await http.post("/v1/executions", json={**contract, "spec": {"agent_id": agent_id, "message": [7]}})
    assert "spec.message[0].type" in assert_problem(bad, 400, "INVALID_ARGUMENT")["detail"]
    stub: Any = AgentExecutionCommandControllerStub(channel)
    execution = AgentExecution(api_version=contract["api_version"], kind="AgentExecution")
    execution.metadata.name = "x"
    execution.spec.agent_id = agent_id
    sent = {"messages": [{"role": "user", "content": [TEXT, PICTURE]}]}
    execution.metadata.annotations["agent-runner/input"] = json.dumps(sent)
    made = await stub.create(execution, metadata=AUTHORIZED)
    assert made.status.messages[0].content == "What is this?"
    assert ENCODED[:100] not in str(made)
    assert json.loads((await turn_of(server, made.metadata.id)).input_json) == sent
    del execution.metadata.annotations["agent-runner/input"]
    execution.spec.message = json.dumps([TEXT, PICTURE])
    assert (await stub.create(execution, metadata=AUTHORIZED)).spec.message == execution.spec.message


async def test_the_stream_and_the_lists_show_references(
    http: httpx.AsyncClient, server: RunningServer, worker: Worker
) -> None:
    """No byte of a picture is in an event, a list, a session's state."""
    made = await created(http, message=[TEXT, PICTURE])
    id, session = made["metadata"]["id"], made["spec"]["session_id"]
    taken = await worker.claim(id)
    await worker.settle(taken, number=0)
    told = (await http.get(f"/v1/executions/{id}/events", headers={"Last-Event-ID": "0"})).text
    assert sse(told)[0][2]["payload"]["metadata"]["attachments"][0]["id"] == "att-1"
    state = (await http.get(f"/v1/sessions/{session}/state")).json()
    assert state["messages"][0]["metadata"]["attachments"][0]["id"] == "att-1"
    whole = told + json.dumps(state)
    for path in ("/v1/executions", f"/v1/executions?session_id={session}", f"/v1/executions/{id}"):
        whole += (await http.get(path)).text
    assert ENCODED[:100] not in whole


async def test_a_redrive_has_them_again(http: httpx.AsyncClient, server: RunningServer, worker: Worker) -> None:
    """Also when the first one is gone meanwhile."""
    made = await created(http, message=[TEXT, PICTURE], input={"shape": PICTURE})
    id = made["metadata"]["id"]
    await worker.settle(await worker.claim(id), number=0)
    again = (await http.post(f"/v1/executions/{id}/redrive")).json()
    assert (await http.delete(f"/v1/executions/{id}")).status_code == 200
    new = again["metadata"]["id"]
    assert (await http.get(f"/v1/executions/{new}/attachments/att-1")).content == PNG
    assert again["status"]["messages"][0]["metadata"] == made["status"]["messages"][0]["metadata"]
    given = await turn_of(server, new)
    assert given.blocks == [TEXT, PICTURE]
    assert json.loads(given.input_json) == {"shape": PICTURE}
    assert_problem(await http.get(f"/v1/executions/{id}/attachments/att-1"), 404, "NOT_FOUND")


async def test_only_its_own_org_reads_an_attachment(http: httpx.AsyncClient, server: RunningServer) -> None:
    """With `read`; a key of another org is told that there is no such execution."""
    made = await created(http, message=[TEXT, PICTURE])
    path = f"/v1/executions/{made['metadata']['id']}/attachments/att-1"
    own, other = await key(server, "read", org="local"), await key(server, "read", org="other")
    async with http_client(server, key=own) as mine, http_client(server, key=other) as theirs:
        assert (await mine.get(path)).content == PNG
        assert_problem(await theirs.get(path), 404, "NOT_FOUND")
    async with http_client(server, key="wrong") as nobody:
        assert_problem(await nobody.get(path), 401, "UNAUTHENTICATED")
    assert_problem(await http.get(path.replace("att-1", "att-2")), 404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("cat.png", 'attachment; filename="cat.png"'),
        ('a"\r\nX: y', "attachment; filename=\"a___X_ y\"; filename*=UTF-8''a%22%0D%0AX%3A%20y"),
        ("../../etc/Grüße.png", "attachment; filename=\"Gr__e.png\"; filename*=UTF-8''Gr%C3%BC%C3%9Fe.png"),
    ],
)
async def test_a_name_is_only_a_name(http: httpx.AsyncClient, name: str, said: str) -> None:
    """Whatever it is, the answer's headers stay ours."""
    made = await created(http, message=[{**PICTURE, "filename": name}])
    answer = await http.get(f"/v1/executions/{made['metadata']['id']}/attachments/att-1")
    assert answer.headers["content-disposition"] == said
    assert "x" not in answer.headers
