"""The watch over a wave survives storage errors, and reports dead workers of its own machine only."""

import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from corpus.errors import CorpusError
from pipelines.engine.job import HOST, Task
from pipelines.engine.job_output import JobOutput
from pipelines.engine.progress import Watch
from tests.pipelines.engine.test_task import JOB


def test_a_storage_error_does_not_stop_the_wave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / JOB.folder).mkdir(parents=True)

    def fail(self: JobOutput) -> list[int]:
        raise CorpusError("no answer")

    monkeypatch.setattr(JobOutput, "missing", fail)
    with Watch(tmp_path, [JOB], Console(quiet=True), here=True) as watch:
        pass
    assert watch.problem is None


def test_only_dead_workers_of_this_machine_are_reported(tmp_path: Path) -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    temporary = Task(tmp_path, JOB, 0).temporary.parent
    (temporary / f"00001-other-{HOST}.{process.pid}").mkdir(parents=True)
    watch = Watch(tmp_path, [JOB], Console(quiet=True), here=True)
    assert watch._dead_workers() == set()
    Task(tmp_path, JOB, 2).temporary.with_suffix(f".{process.pid}").mkdir()
    assert watch._dead_workers() == {process.pid}
