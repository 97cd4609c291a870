"""A lock that another holds is told from one that can never be had."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from corpus.errors import CorpusError
from corpus.fetch.locks import Lock, locked

_CHILD = """
import sys
from pathlib import Path
from corpus.fetch.locks import Lock
print(Lock(Path(sys.argv[1])).acquire())
"""


def test_a_lock_of_anothers_cache_is_told_and_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str, *_: object) -> int:
        raise PermissionError(13, "Permission denied", path)

    lock = Lock(tmp_path / ".lock")
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with pytest.raises(CorpusError, match=r"\.lock: cannot be opened.*Permission denied.*`cache`"):
            lock.acquire()
    assert lock.acquire()  # what failed holds nothing
    lock.release()


def test_a_lock_that_is_held_is_not_had(tmp_path: Path) -> None:
    with locked(tmp_path / ".lock"):
        assert not Lock(tmp_path / ".lock").acquire()
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
        command = [sys.executable, "-c", _CHILD, str(tmp_path / ".lock")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "False"
