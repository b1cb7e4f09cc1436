"""`agent-runner keys` against a real server, with TLS: make, list, use and revoke a key."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

from agent_runner.app.server.composition import running_server
from agent_runner.clients.settings.settings import Settings
from checks.tree import ROOT
from tests.unit.server import certificates
from tests.unit.server.conftest import KEY


async def keys(url: str, ca: Path, *arguments: str, key: str = KEY) -> "subprocess.CompletedProcess[str]":
    env = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src")]),
        "STIGMER_API_KEY": key,
        "AGENT_RUNNER_HTTP_URL": url,
        "AGENT_RUNNER_TLS_CA": str(ca),
    }
    argv = [sys.executable, "-m", "agent_runner.app.cli.main", "keys", *arguments]
    return await asyncio.to_thread(
        subprocess.run, argv, env=env, cwd=ca.parent, capture_output=True, text=True, timeout=60
    )


async def test_the_life_of_a_key(settings: Settings, tmp_path: Path) -> None:
    """create prints nothing but the key on stdout; list shows it without; a revoked one is refused with the reason."""
    files = certificates.make(tmp_path)
    served = settings.model_copy(update={"tls_cert": files.cert, "tls_key": files.key})
    async with running_server(served) as server:
        url, ca = f"https://localhost:{server.http_port}", files.ca
        made = await keys(url, ca, "create", "--name", "ci", "--scope", "execute", "--scope", "admin", "--org", "a")
        assert made.returncode == 0, made.stderr
        key = made.stdout.strip()
        id = key.split("_")[1]
        assert key.startswith("ark_")
        assert "org a" in made.stderr
        listed = await keys(url, ca, "list", key=key)
        assert listed.returncode == 0, listed.stderr
        assert [id, "ci", "admin,execute", "a"] == listed.stdout.splitlines()[1].split()[:4]
        assert key not in listed.stdout
        assert (await keys(url, ca, "revoke", id)).stdout.strip() == f"{id}: ci revoked"
        refused = await keys(url, ca, "list", key=key)
        assert refused.returncode == 1
        assert "was revoked" in refused.stderr
        assert "UNAUTHENTICATED" in refused.stderr
        (row,) = json.loads((await keys(url, ca, "list", "--json")).stdout)
        assert (row["id"], row["scopes"]) == (id, ["admin", "execute"])
        assert row["revoked_at"]
        timed = await keys(url, ca, "create", "--name", "day", "--scope", "read", "--expires", "30d", "--json")
        body = json.loads(timed.stdout)
        assert (body["expires_at"] > body["created_at"], body["made_by"]) == (True, "STIGMER_API_KEY")
        assert body["expires_at"][:19] in (await keys(url, ca, "list")).stdout
        for bound, queue in ((False, []), (True, ["--queue", "q"])):
            made = await keys(url, ca, "create", "--name", "workers", "--scope", "runner", *queue)
            assert (made.returncode, "every queue" in made.stderr) == (0, not bound), made.stderr
        for wrong in ("30", "d", "0d", "1y", "-1d"):
            refused = await keys(url, ca, "create", "--name", "x", "--scope", "read", "--expires", wrong)
            assert (refused.returncode, "like 30d" in refused.stderr) == (2, True), refused.stderr
        unknown = await keys(url, ca, "revoke", "none")
        assert unknown.returncode == 1
        assert "NOT_FOUND" in unknown.stderr


async def test_wrong_usage(tmp_path: Path) -> None:
    """A key needs a name and a scope that exists: exit 2, before any server is asked."""
    files = certificates.make(tmp_path)
    for arguments in (["create", "--name", "x"], ["create", "--name", "x", "--scope", "root"], ["revoke"]):
        done = await keys("https://localhost:9", files.ca, *arguments)
        assert done.returncode == 2
        assert done.stdout == ""
