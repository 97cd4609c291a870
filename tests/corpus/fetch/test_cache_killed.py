"""A killed download is resumed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from corpus.fetch.access import Access
from corpus.fetch.client import describe, fetch
from tests.hostile_server import Mode, hostile_server

_CHILD = """
import sys
from pathlib import Path
from corpus.fetch.access import Access
from corpus.fetch.client import describe, fetch
access = Access(Path(sys.argv[1]))
fetch(describe([sys.argv[2]], access)[0], access, lambda _: None)
"""


def test_a_download_killed_by_sigkill_is_resumed_by_range(tmp_path: Path) -> None:
    body = os.urandom(6_000_000)
    access = Access(tmp_path)
    with hostile_server() as server:
        url = server.add("/big.warc.gz", body)
        server.script["/big.warc.gz"] = [Mode(pace_s=0.01)]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
        child = subprocess.Popen([sys.executable, "-c", _CHILD, str(tmp_path), url], env=environment)
        for _ in range(3000):
            parts = list(tmp_path.rglob("*.part"))
            if parts and parts[0].stat().st_size > len(body) // 3:
                break
            time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
        (part,) = tmp_path.rglob("*.part")
        came = part.stat().st_size
        assert len(body) // 3 < came < len(body) and body.startswith(part.read_bytes())

        progress: list[int] = []
        remotes = describe([url], access)
        found = fetch(remotes[0], access, progress.append)
        assert found.read_bytes() == body
        assert server.ranges("/big.warc.gz") == [None, f"bytes={came}-"]
        assert progress[0] == came and sum(progress) == len(body)
        lost = server.sent["/big.warc.gz"] - len(body)  # in flight when the receiver died
        assert 0 <= lost < 1_000_000
        assert sorted(each.name for each in found.parent.iterdir()) == [".lock", "big.warc.gz"]
