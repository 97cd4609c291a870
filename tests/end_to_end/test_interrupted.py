"""Ctrl-C while servers keep us waiting: the command ends at once."""

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
signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background ignores it
from corpus.cli import main
main()
"""


@pytest.mark.parametrize("path", ["pypi:mill==1.0/**/*.txt", "http://{0}/a.txt"])
def test_who_waits_for_an_answer_can_be_stopped(tmp_path: Path, path: str) -> None:
    """Fails if threads that ask are waited for: their servers may answer never."""
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
            asked, _ = server.accept()
            with asked:
                process.send_signal(signal.SIGINT)
                _, told = process.communicate(timeout=20)
    assert process.returncode == 130 and told.endswith("corpus: stopped\n")
