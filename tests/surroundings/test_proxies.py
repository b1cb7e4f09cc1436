"""A machine with a proxy in its environment: our own channels never use it, models' clients do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent_runner.clients.models.cascade import build_model
from agent_runner.clients.models.errors import ModelError, explain_model_error
from agent_runner.clients.settings.settings import Settings
from tests.integration.stack import Stack

DEAD = "http://127.0.0.1:9"
"""A port where nobody listens."""
PROXIES = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), DEAD)


def test_a_dead_proxy_holds_nothing_up(tmp_path: Path) -> None:
    """Server, worker, supervisor and client talk to each other directly, with no `no_proxy` either."""
    with Stack.open(tmp_path, **PROXIES) as stack:
        stack.start_worker()
        script = Path(sys.executable).parent / "agent-runner"
        url = f"http://127.0.0.1:{stack.http_port}"
        done = subprocess.run(
            [str(script), "run", "--server", url, "$ echo hello"],
            env=stack.environment(), capture_output=True, text=True, timeout=90, cwd=tmp_path,
        )  # fmt: skip
        assert (done.returncode, "hello" in done.stdout) == (0, True), done.stdout + done.stderr


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
@pytest.mark.parametrize(
    ("proxy", "says"), [("socks5://127.0.0.1:9", "SOCKS proxy"), ("gopher://127.0.0.1:9", "cannot be used")]
)
def test_a_proxy_that_cannot_be_used_is_named(
    provider: str, proxy: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is missing is the proxy's package or a usable URL, not the provider's package."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ALL_PROXY", proxy)
    text, advice = explained(provider)
    assert says in text
    assert "PROXY" in advice


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
@pytest.mark.parametrize("there", [False, True])
def test_certificates_that_cannot_be_read_are_named(
    provider: str, there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By their variable and their file; Python's own error names neither."""
    file = tmp_path / "company.pem"
    if there:
        file.write_text("no certificate")
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    text, advice = explained(provider)
    assert f"SSL_CERT_FILE={file} cannot be read as certificates" in text
    assert "unset SSL_CERT_FILE" in advice


def explained(provider: str) -> tuple[str, str]:
    """Of the error of a model call."""
    settings = Settings(llm_provider=provider, llm_api_key="unused")  # type: ignore[arg-type]
    with pytest.raises((ModelError, ImportError, ValueError, OSError)) as raised:
        build_model(settings)[0].invoke("hello")
    told = explain_model_error(raised.value)
    assert told is not None
    return told
