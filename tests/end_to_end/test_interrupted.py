"""Ctrl-C ends a command at once, even while it waits for a server."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

_CHILD = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # background processes ignore SIGINT by default
from corpus.cli import main
main()
"""


@pytest.mark.parametrize("path", ["pypi:mill==1.0/**/*.txt", "http://{0}/a.txt"])
def test_interrupt_does_not_wait_for_a_silent_server(tmp_path: Path, path: str) -> None:
    """Fails if the command joins its request threads, whose servers may never answer."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        host = f"127.0.0.1:{server.getsockname()[1]}"
        source = {"name": "mill", "reader": "pypi", "paths": [path.format(host)], "license": "mit", "share": 1,
                  "identify_language": False}  # fmt: skip
        recipe = tmp_path / "recipe.yaml"
        recipe.write_text(json.dumps({"format_version": 1, "name": "mill", "sources": [source]}))
        environment = {**os.environ, "GRISTMILL_INDEX": f"http://{host}/simple", "XDG_CACHE_HOME": str(tmp_path)}
        command = [sys.executable, "-c", _CHILD, "plan", str(recipe)]
        with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as process:
            server.settimeout(60)
            connection, _ = server.accept()
            with connection:
                process.send_signal(signal.SIGINT)
                _, errors = process.communicate(timeout=20)
    assert process.returncode == 130 and errors.endswith("corpus: stopped\n")
