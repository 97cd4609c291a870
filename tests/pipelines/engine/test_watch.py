"""The watch over a wave survives storage errors, and writes lines of progress to a log."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from corpus.errors import CorpusError
from pipelines.engine import progress
from pipelines.engine.job_output import JobOutput
from pipelines.engine.progress import ProgressLines, Watch
from pipelines.engine.task_counts import TaskCounts
from tests.pipelines.engine.test_task import JOB


def test_a_storage_error_does_not_stop_the_wave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / JOB.folder).mkdir(parents=True)

    def fail(self: JobOutput) -> list[int]:
        raise CorpusError("no answer")

    monkeypatch.setattr(JobOutput, "missing", fail)
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.0)
    with Watch(tmp_path, [JOB], Console(quiet=True)) as watch:
        pass
    assert watch.problem is None


def test_lines_of_a_log_say_stage_tasks_documents_and_rate(tmp_path: Path) -> None:
    """Fails if the rate counts documents of an earlier run, or from the start of the wave."""
    folder = JobOutput(tmp_path, JOB).progress_folder
    TaskCounts(1000, 5000).write(folder, 0)  # by an earlier run
    lines = ProgressLines([JOB], tmp_path)
    began_s = lines._began_s
    assert lines.due(began_s + 29) is None
    TaskCounts(1300, 6500).write(folder, 0)
    assert lines.due(began_s + 30) == "      30.0 s  two: 0 of 1 tasks, 1,300 records, 6.5 kB, 10 records/s"
    JOB.run_task(tmp_path, 0)
    TaskCounts(1900, 6500).write(folder, 0)
    assert lines.due(began_s + 59) is None
    TaskCounts(1900, 6500).write(folder, 0)
    assert lines.due(began_s + 90) == "  1 min 30 s  two: 1 of 1 tasks, 1,900 records, 6.5 kB, 10 records/s"
    TaskCounts(100, 500).write(folder, 0)  # a task that was killed has begun again
    assert "100 records, 500 B, 0 records/s" in (lines.due(began_s + 120) or "")


def test_lines_are_printed_without_a_terminal_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.0)
    for terminal in (True, False):
        text = io.StringIO()
        with Watch(tmp_path, [JOB], Console(file=text, force_terminal=terminal)):
            pass
        assert ("two: 0 of 1 tasks" in text.getvalue()) != terminal
