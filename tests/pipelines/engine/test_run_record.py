"""run.json keeps the runs of a build, with what the tasks cost; a task measures its own CPU time and peak memory."""

import json
from pathlib import Path

import pytest

from corpus.errors import CorpusError, StoppedError
from pipelines.engine import run_record
from pipelines.engine.executors.local import Local
from pipelines.engine.run_record import RunRecord, StageCost, WaveEntry
from pipelines.engine.task_counts import CostMeter, TaskCounts, read_counts

WAVE = WaveEntry(["clean.web"], 2, 1.5, {"clean": StageCost(2, 2.5, 300)})
MIB = 2**20


def read(folder: Path) -> list[dict[str, object]]:
    body = json.loads((folder / "run.json").read_text())
    assert body["format_version"] == 2
    return body["runs"]  # type: ignore[no-any-return]


def run(folder: Path, error: BaseException | None = None, waves: int = 1) -> None:
    record = RunRecord(folder, Local(workers=2))
    with record.outcome():
        for _ in range(waves):
            record.start()
            record.add(WAVE)
        if error:
            raise error


def test_runs_are_kept_with_their_outcomes_and_costs(tmp_path: Path) -> None:
    run(tmp_path)
    for error in (CorpusError("x"), StoppedError("x"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            run(tmp_path, error, waves=0)
    run(tmp_path, waves=0)  # up to date: no entry
    record = RunRecord(tmp_path, Local(workers=2))
    record.start()
    runs = read(tmp_path)  # as if the run was killed now
    assert runs[-1]["outcome"] == "running" and runs[-1]["waves"] == []
    record.add(WAVE)
    runs = read(tmp_path)
    assert [each["outcome"] for each in runs] == ["finished", "failed", "stopped", "stopped", "running"]
    assert runs[0]["waves"] == [
        {"jobs": ["clean.web"], "tasks": 2, "seconds": 1.5,
         "stages": {"clean": {"tasks": 2, "cpu_s": 2.5, "peak_memory_bytes": 300}}}
    ]  # fmt: skip
    assert runs[0]["executor"] == "local" and runs[0]["workers"] == 2


def test_the_first_format_is_kept_and_the_number_of_runs_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run.json").write_text('{"ended": "2024-01-01T00:00:00Z", "seconds": 3, "waves": []}')
    run(tmp_path)
    assert [each.get("ended") for each in read(tmp_path)] == ["2024-01-01T00:00:00Z", None]
    monkeypatch.setattr(run_record, "KEPT_RUNS", 3)
    for _ in range(5):
        run(tmp_path)
    assert len(read(tmp_path)) == 3
    (tmp_path / "run.json").write_text("damaged")
    run(tmp_path)
    assert len(read(tmp_path)) == 1


def test_counts_of_tasks_are_summed(tmp_path: Path) -> None:
    TaskCounts(1, 10, 100, 7).write(tmp_path, 0)
    TaskCounts(2, 20, 200, 9).write(tmp_path, 1)
    (tmp_path / "00002").write_text("5 50")  # by an older version
    (tmp_path / "00003").write_text("damaged")
    assert read_counts(tmp_path) == (8, 80, 300, 9)
    assert read_counts(tmp_path, [0, 2, 77]) == (6, 60, 100, 7)


def test_peak_memory_is_that_since_the_meter_was_made() -> None:
    """Fails if the peak is that of the process, or of the moment of reading."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("needs /proc/self/clear_refs")
    sizes = []
    for size in (400 * MIB, 10 * MIB, 150 * MIB):
        meter = CostMeter()
        block = bytearray(size)  # filled with zeros, so that its pages exist
        del block
        sizes.append(meter.peak_memory_bytes)
    assert sizes[0] - sizes[1] > 300 * MIB and sizes[2] - sizes[1] > 100 * MIB


def test_cpu_time_counts_all_threads_since_the_meter_was_made() -> None:
    meter = CostMeter()
    sum(range(5_000_000))
    assert meter.cpu_ms > 10
    assert CostMeter().cpu_ms < meter.cpu_ms
