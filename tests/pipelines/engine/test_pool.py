"""The pool of workers: deaths at each moment, workers that do nothing, and workers that are kept or replaced.

Verified to fail if a worker that ended while idle is given a task, if workers outlive a killed parent, if a lost task
is not run again, and if a worker that does nothing is not named.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from corpus.errors import CorpusError
from pipelines.engine import pool, stalled
from pipelines.engine.executors.local import Local
from pipelines.engine.pool import Pool
from pipelines.engine.run_jobs import run_wave
from pipelines.engine.stalled import ActivityWatch
from tests.pipelines.engine.made_wave import runs, wave


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Local]:
    profile = Local(workers=2)
    with profile.opened(tmp_path):
        yield profile


def workers(out: Path, count: int) -> set[int]:
    """Return the processes that ran these tasks."""
    return {int(line) for task in range(count) for line in (out / "runs" / str(task)).read_text().split()}


def is_running(pid: int) -> bool:
    """Return True unless the process has ended; one that nobody has waited for has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False


def test_workers_are_kept_between_waves_and_end_with_the_build(tmp_path: Path) -> None:
    profile = Local(workers=2)
    with profile.opened(tmp_path):
        for out in (tmp_path / "a", tmp_path / "b"):
            run_wave(profile, wave(out, *["grind"] * 4)[0])
    assert workers(tmp_path / "b", 4) <= workers(tmp_path / "a", 4)
    for pid in workers(tmp_path / "a", 4):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_worker_killed_between_waves_is_replaced(local: Local, tmp_path: Path) -> None:
    run_wave(local, wave(tmp_path / "a", "grind", "grind")[0])
    assert local._pool is not None
    for worker in local._pool._workers:
        os.kill(worker.process.pid, signal.SIGTERM)
        worker.process.wait()
    made, messages = wave(tmp_path / "b", "grind", "grind")
    run_wave(local, made)
    assert not workers(tmp_path / "a", 2) & workers(tmp_path / "b", 2)
    assert runs(tmp_path / "b", 2) == [1, 1] and messages == []


def test_busy_worker_ends_with_a_killed_parent(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from pipelines.engine.executors.local import Local; "
        "from pipelines.engine.run_jobs import run_wave; from tests.pipelines.engine.made_wave import wave; "
        "run_wave(Local(workers=1), wave(Path(sys.argv[1]), 'wait')[0])"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], cwd=Path(__file__).parents[3]) as parent:
        while not any(runs(tmp_path, 1)):
            time.sleep(0.05)
        parent.kill()
    (pid,) = workers(tmp_path, 1)
    deadline_s = time.monotonic() + 30
    while is_running(pid) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert not is_running(pid)


def test_worker_killed_while_it_imports_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start, killed = Pool._start, []

    def start_and_kill(self: Pool) -> pool._Worker:
        worker = start(self)
        if not killed:
            os.kill(worker.process.pid, signal.SIGKILL)
            killed.append(worker)
        return worker

    monkeypatch.setattr(Pool, "_start", start_and_kill)
    made, messages = wave(tmp_path, "grind", "grind")
    run_wave(Local(workers=1), made)
    assert messages == ["1 of 2 tasks were killed from outside; running them again"]
    assert runs(tmp_path, 2) == [1, 1] and made.unfinished() == []


def test_task_whose_worker_dies_before_its_report_is_not_run_again(tmp_path: Path) -> None:
    made, messages = wave(tmp_path, "die after", "grind")
    run_wave(Local(workers=1), made)
    assert runs(tmp_path, 2) == [1, 1] and messages == []


def test_worker_that_cannot_start_stops_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "START", "import sys; sys.exit(3)")
    with pytest.raises(CorpusError, match=r"a worker process could not start \(exit status 3\)"):
        run_wave(Local(workers=1), wave(tmp_path, "grind")[0])
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    with pytest.raises(CorpusError, match="could not start: No such file"):
        run_wave(Local(workers=1), wave(tmp_path, "grind")[0])


def test_failed_task_stops_the_others(local: Local, tmp_path: Path) -> None:
    made, _ = wave(tmp_path, "wait", "refuse")
    with pytest.raises(CorpusError, match="the mill's gate is shut"):
        run_wave(local, made)


def test_worker_that_does_nothing_is_named_once_and_may_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stalled, "STALLED_S", 1.5)
    monkeypatch.setattr(pool, "STALLED_S", 1.5)
    made, messages = wave(tmp_path, "spin")
    seen: list[int] = []

    def stop_and_continue() -> None:
        while not any(runs(tmp_path, 1)):
            time.sleep(0.05)
        (pid,) = workers(tmp_path, 1)
        os.kill(pid, signal.SIGSTOP)
        while not messages:
            time.sleep(0.05)
        time.sleep(4)
        seen.append(pid)
        (tmp_path / "go on").touch()
        os.kill(pid, signal.SIGCONT)

    thread = threading.Thread(target=stop_and_continue, daemon=True)
    thread.start()
    run_wave(Local(workers=1), made)
    thread.join()
    assert len(messages) == 1 and messages[0].startswith(
        f"    warning: grind, task 0: its process {seen[0]} has used no CPU time and done no I/O for 1.5 s"
    )
    assert made.unfinished() == [] and runs(tmp_path, 1) == [1]


def test_pause_of_the_whole_machine_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])
    monkeypatch.setattr(stalled, "_activity", lambda pid: (b"the same",))
    watch = ActivityWatch(1)
    looks = []
    for pause_s in (0.5, 3600.0, *[0.5] * 1000):
        now_s[0] += pause_s
        looks.append(watch.stalled(0.5))
    assert looks.count(True) == 1 and looks.index(True) >= 350  # 180 s of looks every 0.5 s


def test_worker_that_holds_much_memory_is_replaced(
    local: Local, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_wave(local, wave(tmp_path / "a", "grind")[0])
    monkeypatch.setattr(pool, "MAX_IDLE_BYTES", 1)
    run_wave(local, wave(tmp_path / "b", "grind", "grind")[0])
    assert not workers(tmp_path / "a", 1) & workers(tmp_path / "b", 2)
    monkeypatch.setattr(pool, "MAX_GROWTH", 0)
    run_wave(local, wave(tmp_path / "c", *["grind"] * 5)[0])
    assert len(workers(tmp_path / "c", 5)) >= 4
