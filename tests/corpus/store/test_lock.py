"""File and folder locks; a held lock is distinct from one that cannot be taken."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from corpus.errors import CorpusError, InputError
from corpus.store.lock import FileLock, locked, wait_for_lock

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


def test_a_locked_folder_is_refused_while_it_is_held(tmp_path: Path) -> None:
    with locked(tmp_path / "out", "another build", "choose another folder"):
        with (
            pytest.raises(CorpusError, match="another build is at work here; wait for it, or choose another folder"),
            locked(tmp_path / "out", "another build", "choose another folder"),
        ):
            pass
        command = [sys.executable, "-c", _CHILD, str(tmp_path / "out" / ".lock")]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "False"  # the refused attempt did not release it
    with locked(tmp_path / "out", "another build", "choose another folder"):
        pass


def test_a_folder_that_cannot_be_written_or_locked_is_bad_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(InputError, match="cannot be written: Not a directory; choose another"),
        locked(tmp_path / "file" / "out", "another build", "choose another"),
    ):
        pass

    def no_locks(descriptor: int, operation: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", no_locks)  # as on an NFS mount without a lock service
    with (
        pytest.raises(InputError, match=r"this disk cannot lock files \(No locks available\); choose another"),
        locked(tmp_path / "out", "another build", "choose another"),
    ):
        pass
