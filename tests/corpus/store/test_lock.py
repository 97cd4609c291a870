"""A lock held by another is distinct from one that cannot be taken."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from corpus.errors import CorpusError
from corpus.store.lock import FileLock, wait_for_lock

_CHILD = """
import sys
from pathlib import Path
from corpus.store.lock import FileLock
print(FileLock(Path(sys.argv[1]), 'set `cache`').acquire())
"""


def test_a_lock_file_without_permission_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str, *_: object) -> int:
        raise PermissionError(13, "Permission denied", path)

    lock = FileLock(tmp_path / ".lock", "set `cache`")
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with pytest.raises(CorpusError, match=r"\.lock: cannot be written: Permission denied.*`cache`"):
            lock.acquire()
    assert lock.acquire()  # the failed attempt holds nothing
    lock.release()


def test_a_held_lock_is_not_acquired_by_a_thread_or_process(tmp_path: Path) -> None:
    with wait_for_lock(tmp_path / ".lock", "set `cache`"):
        assert not FileLock(tmp_path / ".lock", "set `cache`").acquire()
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
        command = [sys.executable, "-c", _CHILD, str(tmp_path / ".lock")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "False"
