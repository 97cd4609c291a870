"""A finished job's index holds what its task manifests say, and a lost or damaged one is written again."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from corpus.settings import Json, Strict
from pipelines.engine.executors.local import Local
from pipelines.engine.job import Job, Task
from pipelines.engine.job_output import JobOutput
from pipelines.engine.run_jobs import run_jobs


class Grain(Strict):
    """Facts of a task."""

    sacks: int


class GrainIndex(Strict):
    """Facts of all tasks."""

    sacks: tuple[int, ...]


@dataclass(frozen=True)
class WeighJob(Job):
    """Each task notes its number, and that it ran."""

    kind = "weigh"
    index_name = "sacks.json"

    def settings(self) -> Json:
        return None

    def work(self, task: Task) -> None:
        with (task.out / "worked").open("a") as note:
            note.write("x")
        task.facts = Grain(sacks=task.index)

    def index(self, output: JobOutput) -> GrainIndex:
        return GrainIndex(sacks=tuple(facts.sacks for facts in output.all_facts(Grain)))


JOB = WeighJob("", (), 3)


def run(out: Path) -> dict[str, bytes]:
    """Run the job if it is not finished; return its files."""
    run_jobs([JOB], out, Local(workers=1), Console(quiet=True))
    return {path.name: path.read_bytes() for path in (out / JOB.folder).rglob("*.json")}


def test_the_index_exists_once_the_job_is_finished(tmp_path: Path) -> None:
    output = JobOutput(tmp_path, JOB)
    for task in range(3):
        JOB.run_task(tmp_path, task)
    assert output.index(GrainIndex) is None
    JOB.close(tmp_path)
    assert output.index(GrainIndex) == GrainIndex(sacks=(0, 1, 2))


@pytest.mark.parametrize("damage", ["lost", "cut short", "of an older release"])
def test_a_lost_or_damaged_index_is_written_again_without_running_a_task(tmp_path: Path, damage: str) -> None:
    """Verified to fail if a finished job is not looked at."""
    whole = run(tmp_path)
    path = tmp_path / JOB.folder / JOB.index_name
    if damage != "cut short":
        path.unlink()
    else:
        path.write_bytes(whole[JOB.index_name][:-3])
    if damage == "of an older release":
        manifest = path.with_name("job.json")
        manifest.write_text("\n".join(line for line in manifest.read_text().split("\n") if "index" not in line))
        text = whole["job.json"].decode()
        start = text.index(' "index": {')
        manifest.write_text(text[:start] + text[text.index("},", start) + 3 :])
    assert run(tmp_path) == whole
    assert (tmp_path / "worked").read_text() == "xxx"
