"""What is the operator's own is shown by no run; what would ship it elsewhere is off."""

import os
from pathlib import Path

import pytest

from agent_runner.clients.masking.mask import Mask
from agent_runner.clients.masking.operator_secrets import operator_secrets
from agent_runner.clients.process.private_files import keep_private
from agent_runner.clients.settings.settings import Settings
from agent_runner.tasks.run.run import Claim, Run
from agent_runner.tasks.run.run_log import RunLog
from agent_runner.v1 import runner_pb2 as pb

SECRETS = {
    "api_key": "the-api-key-of-it",
    "secret_key": "first-seal-key,second-seal-key",
    "llm_api_key": "sk-llm-123456",
    "anthropic_api_key": "sk-ant-123456",
    "openai_api_key": "sk-oai-123456",
    "langsmith_api_key": "ls-key-123456",
    "otlp_headers": "authorization=of-traces-123",
    "flower_password": "of-flower-123",
    "daytona_api_key": "of-daytona-123",
    "webhook_secret": "of-webhooks-123",
    "webhook_url": "https://hooks.example.com/of-an-address-123",
    "broker_url": "amqp://user:br0ker%2Fpass@h:5672/",
    "redis_url": "redis://:redis-pass-1@h:1/0",
    "database_url": "postgresql://u:data-pass-1@h/x",
    "checkpoint_url": "postgresql://h/x?user=u&password=check-pass-1",
}
SHOWN_BY_NOBODY = [
    *("the-api-key-of-it", "first-seal-key", "second-seal-key", "sk-llm-123456", "sk-ant-123456", "sk-oai-123456"),
    *(
        "ls-key-123456",
        "of-traces-123",
        "of-daytona-123",
        "of-webhooks-123",
        "https://hooks.example.com/of-an-address-123",
        "of-flower-123",
        "br0ker%2Fpass",
        "br0ker/pass",
        "redis-pass-1",
        "data-pass-1",
        "check-pass-1",
        "proxy-pass-1",
    ),
]


async def test_every_run_masks_what_is_the_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    """All secret settings, and the passwords of URLs as they stand there and as they are meant."""
    monkeypatch.setenv("HTTPS_PROXY", "http://me:proxy-pass-1@proxy:1")
    secrets = operator_secrets(Settings(**SECRETS))  # type: ignore[arg-type]
    claim = Claim(execution_id="e", reply=pb.ClaimReply(granted=True), at=0.0)
    said = RunLog(handle=1, fence=1, next_delta=0, wake=lambda: None, head=str, on_verdict=lambda _: None)
    run = Run(claim, log=lambda _: said, silent_s=lambda: 0.0, operators=Mask(secrets))
    for secret in SHOWN_BY_NOBODY:
        assert secret not in run.mask(f"it is {secret}, you see"), secret
    assert run.mask("the user guest at h:5672") == "the user guest at h:5672"


def test_every_secret_setting_is_among_them() -> None:
    """A setting that is added later is masked, too."""
    named = {name for name, info in Settings.model_fields.items() if "SecretStr" in str(info.annotation)}
    assert named <= set(SECRETS)
    assert named


async def test_runs_without_secrets_of_their_own_share_the_operators_mask() -> None:
    """To make one for each run costs more than to mask its lines."""
    operators = Mask(["operators-secret-1"])
    said = RunLog(handle=1, fence=1, next_delta=0, wake=lambda: None, head=str, on_verdict=lambda _: None)
    env = {"TOKEN": "runs-secret-1", "PLAIN": "plain-value-1"}
    shown = "operators-secret-1 runs-secret-1 plain-value-1"
    for names, text in ([], "******** runs-secret-1 plain-value-1"), (["TOKEN"], "******** ******** plain-value-1"):
        reply = pb.ClaimReply(granted=True, env=env, secret_names=names)
        claim = Claim(execution_id="e", reply=reply, at=0.0)
        run = Run(claim, log=lambda _: said, silent_s=lambda: 0.0, operators=operators)
        assert (run.mask(shown), run.mask is operators) == (text, not names)


def test_words_are_no_secrets() -> None:
    """What everybody knows, short passwords and the name of the user would blank out ordinary text."""
    found = operator_secrets(
        Settings(broker_url="amqp://guest:guest@h:1/", database_url="postgresql://postgres:postgres@h/x")
    )
    assert not {"guest", "postgres", "dummy-local-key"} & found


def test_the_data_directory_is_the_users_alone(tmp_path: Path) -> None:
    """A new one, and the databases of an earlier release in one that was there."""
    before = os.umask(0o022)
    try:
        old = tmp_path / "old"
        old.mkdir()
        (old / "agent-runner.db").touch()
        (old / "agent-runner.db-wal").touch()
        (old / "mine.txt").touch()
        for folder in (old, tmp_path / "new" / "deeper"):
            keep_private(folder)
            (folder / "made.db").touch()
            assert folder.stat().st_mode & 0o077 == 0
            assert all(path.stat().st_mode & 0o077 == 0 for path in folder.glob("*.db*"))
        assert (old / "mine.txt").stat().st_mode & 0o777 == 0o644, "not ours"
    finally:
        os.umask(before)
