"""A real nginx in front of a server, with its default settings for what it passes on."""

import contextlib
import shutil
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ports import free_port, listens
from tests.support.waiting import eventually

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
NEEDS_NGINX = pytest.mark.skipif(NGINX is None, reason="no nginx on this machine")
SETTINGS = """\
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {servers}
}}
"""
ONE_SERVER = """\
server {{
    listen 127.0.0.1:{port};
    location / {{
        proxy_pass http://127.0.0.1:{target};
        {more}
    }}
}}
"""


@contextlib.contextmanager
def nginx(folder: Path, target: int, more: str = "") -> Iterator[int]:
    """Its port. `target`: the port that it passes requests on to; `more`: settings that differ from its defaults."""
    port = free_port()
    with nginx_of(folder, ONE_SERVER.format(port=port, target=target, more=more), port):
        yield port


@contextlib.contextmanager
def nginx_of(folder: Path, servers: str, port: int) -> Iterator[None]:
    """With these `upstream` and `server` blocks, of which one listens on the port."""
    assert NGINX is not None
    folder.mkdir(parents=True, exist_ok=True)
    blocks = textwrap.indent(servers, " " * 4).lstrip()
    (folder / "nginx.conf").write_text(SETTINGS.format(folder=folder, servers=blocks))
    process = subprocess.Popen([NGINX, "-p", str(folder), "-e", f"{folder}/error.log", "-c", f"{folder}/nginx.conf"])
    try:
        eventually(lambda: process.poll() is not None or listens(port), what="nginx to listen")
        assert process.poll() is None, (folder / "error.log").read_text()
        yield
    finally:
        process.terminate()
        process.wait(20)
