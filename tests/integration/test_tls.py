"""TLS on both ports with an authority of one's own: server, worker, supervisor and clients as real processes."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import httpx
import pytest

from agent_runner.clients.backend.tls import trusted
from agent_runner.v1 import executions_pb2 as own
from agent_runner.v1.executions_pb2_grpc import ExecutionsStub
from tests.integration.stack import KEY, Process, Stack
from tests.unit.server import certificates


@dataclass
class TlsStack(Stack):
    """Only the server has certificate and key; everybody else has the authority and addresses."""

    files: certificates.Files = field(kw_only=True)

    def start_redis(self) -> Process:
        # The first thing that a stack starts: nobody has used the client yet.
        self.http.close()
        self.http = httpx.Client(
            base_url=f"https://localhost:{self.http_port}",
            headers={"Authorization": f"Bearer {KEY}"},
            verify=trusted(self.files.ca),
            timeout=30,
            trust_env=False,
        )
        return super().start_redis()

    def start(self, role: str, *arguments: str, **extra: str) -> Process:
        own = {"AGENT_RUNNER_TLS_CERT": str(self.files.cert), "AGENT_RUNNER_TLS_KEY": str(self.files.key)}
        return super().start(role, *arguments, **({**own, **extra} if role == "server" else extra))


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[TlsStack]:
    files = certificates.make(tmp_path)
    with TlsStack(folder=tmp_path, settings={}, files=files) as opened:
        yield opened


@pytest.fixture(autouse=True)
def addresses(stack: TlsStack) -> None:
    """What a worker on another machine would be told."""
    stack.settings |= {
        "AGENT_RUNNER_TLS_CA": str(stack.files.ca),
        "AGENT_RUNNER_HTTP_URL": f"https://localhost:{stack.http_port}",
        "STIGMER_BACKEND_ENDPOINT": f"grpcs://localhost:{stack.grpc_port}",
    }


@pytest.mark.promise("1.16")
def test_a_run_from_end_to_end(stack: TlsStack) -> None:
    """A worker takes a run over TLS and reports it; SSE and `watch` bring the same log; in clear nobody is answered."""
    stack.start_worker()
    id = stack.create("Look.\n$ echo over TLS")["metadata"]["id"]
    status = stack.wait_for(id)["status"]
    assert status["phase"] == "EXECUTION_COMPLETED", status
    assert "over TLS" in status["tool_calls"][0]["result"]
    rows = [seq for seq, kind, _ in stack.events(id, 0) if kind == "update"]
    request = own.WatchRequest(execution_id=id)
    metadata = (("authorization", f"Bearer {KEY}"),)
    credentials = grpc.ssl_channel_credentials(stack.files.ca.read_bytes())
    with grpc.secure_channel(f"localhost:{stack.grpc_port}", credentials) as channel:
        first, end = ExecutionsStub(channel).watch(request, metadata=metadata, timeout=20)
    assert (first.snapshot.seq, end.end.seq) == (rows[-1], rows[-1])
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://localhost:{stack.http_port}/healthz", trust_env=False)
    with pytest.raises(httpx.ConnectError, match="certificate"):
        httpx.get(f"https://localhost:{stack.http_port}/healthz", trust_env=False)
    with grpc.insecure_channel(f"localhost:{stack.grpc_port}") as channel, pytest.raises(grpc.RpcError):
        list(ExecutionsStub(channel).watch(request, metadata=metadata, timeout=20))


def test_how_a_worker_died_is_told_over_tls(stack: TlsStack) -> None:
    """Its supervisor's report reaches the server over HTTPS: E103 with the signal. Its next child works."""
    worker = stack.start_worker()
    id = stack.create("$ sleep 60")["metadata"]["id"]
    stack.wait_text(id, "TOOL_CALL_RUNNING")
    worker.child().kill()
    status = stack.wait_for(id)["status"]
    assert "[E103 WORKER_LOST]" in status["error"]
    assert "signal 9" in status["error"]
    assert stack.wait_for(stack.create("$ echo again")["metadata"]["id"])["status"]["phase"] == "EXECUTION_COMPLETED"
