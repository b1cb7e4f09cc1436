"""Pictures and files through real processes, to a model that refuses what its provider would refuse."""

import base64
import hashlib
import json
from collections.abc import Iterator

import pytest

from tests.integration.seeing_model import ANTHROPIC, OPENAI, SeeingModel, seen
from tests.integration.stack import Json, Stack
from tests.support.waiting import eventually

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 400
PDF = b"%PDF-1.4\n" + bytes(range(256)) * 80
TEXT = {"type": "text", "text": "What are these?"}
IN, OUT = base64.b64encode(PNG).decode(), base64.b64encode(PDF).decode()
LANGCHAIN = [
    TEXT,
    {"type": "image", "base64": IN, "mime_type": "image/png"},
    {"type": "file", "base64": OUT, "mime_type": "application/pdf", "filename": "a.pdf"},
    {"type": "image", "url": "https://example.org/a.png"},
]
OPENAIS = [
    TEXT,
    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{IN}"}},
    {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{OUT}", "filename": "a.pdf"}},
    {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
]
ANTHROPICS = [
    TEXT,
    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": IN}},
    {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": OUT}, "title": "a.pdf"},
    {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
]
ALL = f"I see {seen('image/png', PNG)}; {seen('application/pdf', PDF)}; https://example.org/a.png"


@pytest.fixture
def stack(shared_server: Stack) -> Stack:
    """Each test has a worker of its own, which knows its model."""
    return shared_server


@pytest.fixture(params=[OPENAI, ANTHROPIC])
def model(request: pytest.FixtureRequest) -> Iterator[SeeingModel]:
    with SeeingModel(request.param) as model:
        yield model


def no_bytes(stack: Stack, id: str) -> str:
    """Everything that a reader can get of it, which has no byte of a picture."""
    told = json.dumps([row for _, _, row in stack.events(id, 0)])
    for path in (f"/v1/executions/{id}", "/v1/executions"):
        told += stack.http.get(path).text
    session = stack.http.get(f"/v1/executions/{id}").json()["spec"]["session_id"]
    told += stack.http.get(f"/v1/sessions/{session}/state").text
    for encoded in (IN, OUT):
        assert encoded[200:260] not in told
    return told


def test_a_model_sees_what_was_sent(stack: Stack, model: SeeingModel) -> None:
    """In its provider's form, whichever form it was sent in; and again in the next turn of the session."""
    stack.start_worker(**model.environment)
    for blocks in (LANGCHAIN, OPENAIS, ANTHROPICS):
        made = stack.create(blocks)
        id = made["metadata"]["id"]
        status = stack.wait_for(id)["status"]
        assert status["phase"] == "EXECUTION_COMPLETED", status.get("error")
        assert status["messages"][0]["content"] == "What are these?"
        assert status["messages"][-1]["content"].strip() == ALL
        no_bytes(stack, id)
    again = stack.create("Are you sure?", session_id=made["spec"]["session_id"])["metadata"]["id"]
    assert stack.wait_for(again)["status"]["messages"][-1]["content"].strip() == ALL
    no_bytes(stack, again)
    redriven = stack.http.post(f"/v1/executions/{id}/redrive").json()["metadata"]["id"]
    shown = stack.wait_for(redriven)["status"]["messages"][-1]["content"]
    assert shown.strip() == f"{ALL}; {ALL.removeprefix('I see ')}", "it is one more message of the session"


GRAPH = """
import base64, hashlib
from typing import Any
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.graph import START, MessagesState, StateGraph

DRAWN = b"\\x89PNG\\r\\n\\x1a\\n" + bytes(range(256)) * 400


class Report(MessagesState, total=False):
    shape: Any
    picture: Any
    seen: list


def look(state):
    block = {"type": "image", "base64": base64.b64encode(DRAWN).decode(), "mime_type": "image/png"}
    seen = [m.content for m in state["messages"]] + [state.get("shape")]
    digest = hashlib.sha256(repr(seen).encode()).hexdigest()
    return {
        "messages": [
            AIMessage("", tool_calls=[{"id": "c1", "name": "draw", "args": {"like": block}}]),
            ToolMessage([{"type": "text", "text": "drawn"}, block], tool_call_id="c1"),
            HumanMessage([block]),
            AIMessage([{"type": "text", "text": digest}, block]),
        ],
        "picture": {"whole": block, "url": "data:image/png;base64," + block["base64"], "raw": DRAWN},
        "seen": seen,
    }


graph = StateGraph(Report).add_node("look", look).add_edge(START, "look").compile()
"""


def test_a_graph_gets_what_was_sent_and_shows_references(stack: Stack) -> None:
    """Its input exactly; nothing of a picture that it keeps, makes or puts out is in what readers get."""
    (stack.folder / "drawing.py").write_text(GRAPH)
    (stack.folder / "langgraph.json").write_text(json.dumps({"graphs": {"drawing": "./drawing.py:graph"}}))
    stack.start_worker()
    sent: Json = {
        "messages": [
            {"role": "system", "content": "Be short."},
            {"role": "user", "content": [TEXT, OPENAIS[1]]},
            ["assistant", "A cat."],
            {"role": "user", "content": [TEXT, ANTHROPICS[1]]},
        ],
        "shape": {"deep": [LANGCHAIN[2]]},
    }
    answer = stack.http.post("/v1/executions", json={"graph": "drawing", "input": sent})
    assert answer.status_code == 201, answer.text
    id = answer.json()["metadata"]["id"]
    found = stack.wait_for(id)
    status = found["status"]
    assert status["phase"] == "EXECUTION_COMPLETED", status.get("error")
    reference = f"[image image/png, {len(PNG) / 1000:.1f} KB]"
    seen = ["Be short.", [TEXT, OPENAIS[1]], "A cat.", [TEXT, ANTHROPICS[1]], {"deep": [LANGCHAIN[2]]}]
    digest = hashlib.sha256(repr(seen).encode()).hexdigest()
    assert [m.get("content", "") for m in status["messages"]] == [
        "Be short.",
        "What are these?",
        "A cat.",
        "What are these?",
        "",
        reference,
        f"{digest}\n{reference}",
    ]
    (call,) = status["tool_calls"]
    assert call["result"] == f"drawn\n{reference}"
    assert found["output"]["picture"]["whole"]["mime_type"] == "image/png"
    told = no_bytes(stack, id)
    assert told.count("102.4 KB left out here]") > 5
    got = stack.http.get(f"/v1/executions/{id}/attachments/att-3")
    assert (got.content, got.headers["content-type"]) == (PDF, "application/pdf")
    session = found["spec"]["session_id"]
    again = stack.create("And?", session_id=session)["metadata"]["id"]
    assert stack.wait_for(again)["status"]["phase"] == "EXECUTION_COMPLETED"
    no_bytes(stack, again)


def test_a_worker_that_dies_with_it(stack: Stack) -> None:
    """The redrive of the run that was lost has the picture again."""
    with SeeingModel(OPENAI) as model:
        worker = stack.start_worker(**model.environment)
        model.hold()
        id = stack.create(LANGCHAIN)["metadata"]["id"]
        eventually(lambda: model.asked, what="the model to be asked")
        worker.child().kill()
        assert "[E103 WORKER_LOST]" in stack.wait_for(id)["status"]["error"]
        model.let_go()
        redriven = stack.http.post(f"/v1/executions/{id}/redrive", json={"from": "start"}).json()["metadata"]["id"]
        assert stack.wait_for(redriven)["status"]["messages"][-1]["content"].strip() == ALL
        no_bytes(stack, redriven)


def test_the_command_line_attaches_files(stack: Stack) -> None:
    """`--attach`: a picture and a text, on the server that runs; what is attached is shown by reference."""
    (stack.folder / "cat.png").write_bytes(PNG)
    (stack.folder / "notes.txt").write_text("some words")
    with SeeingModel(ANTHROPIC) as model:
        stack.start_worker(**model.environment)
        run = stack.start("run", "What are these?", "--attach", "cat.png", "--attach", "notes.txt",
                          AGENT_RUNNER_HTTP_URL=f"http://127.0.0.1:{stack.http_port}")  # fmt: skip
        eventually(lambda: run.popen.poll() is not None, within_s=60, what="the command to end")
    told = run.output()
    assert run.popen.returncode == 0, told
    assert f"I see {seen('image/png', PNG)}; text/plain some words" in told
    assert "> + att-1, cat.png, image/png, 102.4 KB" in told
    assert "> + att-2, notes.txt, text/plain, 10 bytes" in told
    assert IN[200:260] not in told


def test_what_a_provider_refuses_ends_the_run(stack: Stack) -> None:
    """With its words: a video for OpenAI's chat wire."""
    with SeeingModel(OPENAI) as model:
        stack.start_worker(**model.environment)
        video = {"type": "video", "base64": IN, "mime_type": "video/mp4"}
        id = stack.create([TEXT, video])["metadata"]["id"]
        status = stack.wait_for(id)["status"]
    assert "[E301 APPLICATION]" in status["error"]
    assert "video" in status["error"]
    no_bytes(stack, id)
