"""TLS on both ports with a certificate of one's own, for every client that we have."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from agent_runner.app.server.composition import running_server
from agent_runner.clients.backend.channel import Patience
from agent_runner.clients.backend.http_api import ApiError, HttpApi, Unreachable
from agent_runner.clients.backend.presence import PresenceThread, Pulse
from agent_runner.clients.backend.tls import is_tls, target
from agent_runner.clients.reporting.native import Backend, BackendUnavailable
from agent_runner.clients.settings.settings import Settings
from agent_runner.status.failures import Code
from agent_runner.tasks.body_errors import FailureReports
from agent_runner.v1 import runner_pb2 as pb
from tests.unit.server import certificates
from tests.unit.server.conftest import KEY

CA = Path("ca.pem")


@pytest.fixture
def files(tmp_path: Path) -> certificates.Files:
    return certificates.make(tmp_path)


@pytest.mark.promise("1.16")
@pytest.mark.parametrize(
    ("endpoint", "ca", "expected"),
    [
        ("server:443", None, True),
        ("server:50051", None, False),
        ("server:4430", None, False),
        ("443:50051", None, False),
        ("server:50051", CA, True),
        ("grpcs://server:50051", None, True),
        ("https://server:50051", None, True),
        ("grpc://server:443", CA, False),
    ],
)
def test_when_clients_use_tls(endpoint: str, ca: Path | None, expected: bool) -> None:
    """Exactly when the endpoint ends in :443, says so, or an authority is set; `grpc://` says that it is in clear."""
    assert is_tls(endpoint, ca) is expected
    assert "/" not in target(endpoint)


def client(port: int, files: certificates.Files, **values: Any) -> Settings:
    return Settings(backend_endpoint=f"localhost:{port}", api_key=SecretStr(KEY), tls_ca=files.ca, **values)


@pytest.mark.promise("1.16")
async def test_every_client_reaches_a_server_with_tls(settings: Settings, files: certificates.Files) -> None:
    """HTTP, its event stream, the workers' calls, their presence and their reports; nobody is heard in clear."""
    served = settings.model_copy(update={"tls_cert": files.cert, "tls_key": files.key})
    async with running_server(served) as server:
        url = f"https://localhost:{server.http_port}"
        worker = client(server.grpc_port, files, http_url=url)
        async with HttpApi(url, KEY, files.ca) as api:
            made = (await api.create({"message": "hello"}))["metadata"]["id"]
            first = await anext(api.events(made))
            assert (first.kind, first.data["execution"]["metadata"]["id"]) == ("snapshot", made)
            backend = Backend(worker)
            begun = await backend.begin(pb.BeginRequest(execution_id=made, begin_id="b", incarnation="w"))
            assert begun.granted
            await backend.close()
            await present(worker)
            assert await asyncio.to_thread(FailureReports(worker).tell_now, made, Code.SYSTEM, {"original_error": "x"})
            assert (await api.get(made))["status"]["phase"] == "EXECUTION_FAILED"
        for wrong in (HttpApi(url, KEY, patience_s=0.1), HttpApi(f"http://127.0.0.1:{server.http_port}", KEY)):
            async with wrong as api:
                with pytest.raises(Unreachable):
                    await api.get(made)
        deaf = Backend(worker.model_copy(update={"backend_endpoint": f"grpc://localhost:{server.grpc_port}"}))
        with pytest.raises(BackendUnavailable):
            await deaf._call(deaf._stub.begin, pb.BeginRequest(execution_id=made), Patience(call_s=1.0, total_s=0.0))
        await deaf.close()


async def test_a_certificate_for_another_host_is_refused(settings: Settings, tmp_path: Path) -> None:
    """The name in the certificate is compared: over HTTP and gRPC a wrong one is as good as none."""
    files = certificates.make(tmp_path, host="server.example")
    served = settings.model_copy(update={"tls_cert": files.cert, "tls_key": files.key})
    async with running_server(served) as server:
        async with HttpApi(f"https://localhost:{server.http_port}", KEY, files.ca) as api:
            with pytest.raises(Unreachable):
                await api.get("aex-none")
        async with HttpApi(f"https://127.0.0.1:{server.http_port}", KEY, files.ca) as api:
            with pytest.raises(ApiError, match="aex-none"):
                await api.get("aex-none")
        backend = Backend(client(server.grpc_port, files))
        with pytest.raises(BackendUnavailable):
            await backend._call(
                backend._stub.begin, pb.BeginRequest(execution_id="x"), Patience(call_s=1.0, total_s=0.0)
            )
        await backend.close()


async def present(settings: Settings) -> None:
    """Connects a worker's presence and says goodbye."""
    hello = pb.Hello(incarnation="w2", queue="q", role="worker", slots=1)
    presence = PresenceThread(
        settings, hello, pulse=lambda: Pulse(runs=[], busy=0, loop_lag_s=0), on_verdicts=lambda _: None
    )
    presence.start()
    assert await asyncio.to_thread(presence.connected.wait, 10)
    await asyncio.to_thread(presence.goodbye)
    await asyncio.to_thread(presence._thread.join, 10)


def test_the_settings_agree_with_each_other(files: certificates.Files, tmp_path: Path) -> None:
    """Certificate and key come together and can be read by the server; with them the local addresses say TLS."""
    absent = tmp_path / "absent.pem"

    def problems(role: Any, **values: Path) -> list[str]:
        return [text for _, text in Settings(**values).problems(role)]  # type: ignore[arg-type]

    assert problems("server", tls_cert=files.cert, tls_key=files.key, tls_ca=files.ca) == []
    assert "must be set together" in problems("server", tls_cert=files.cert)[0]
    assert "AGENT_RUNNER_TLS_KEY" in problems("server", tls_cert=files.cert, tls_key=absent)[0]
    assert problems("worker", tls_cert=files.cert, tls_key=absent) == []
    assert "AGENT_RUNNER_TLS_CA" in problems("worker", tls_ca=absent)[0]
    given = Settings(tls_cert=files.cert, tls_key=files.key, http_port=1, grpc_port=2)
    assert (given.http_url, given.backend_endpoint) == ("https://127.0.0.1:1", "grpcs://localhost:2")
    plain = Settings(http_port=1, grpc_port=2)
    assert (plain.http_url, plain.backend_endpoint) == ("http://127.0.0.1:1", "localhost:2")


def test_a_report_is_not_lost_to_a_wrong_file(tmp_path: Path) -> None:
    """Who would tell the server about wrong settings does not end by them: a missing authority is none."""
    reports = FailureReports(Settings(tls_ca=tmp_path / "absent.pem", http_url="https://127.0.0.1:9"))
    assert not reports.tell_now("x", Code.SYSTEM, {}, tries=1)
