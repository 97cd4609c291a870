"""Tables that a stage declares: their files, and how later jobs read them."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from corpus.settings import Json
from pipelines.engine.job import Job, Task
from pipelines.engine.job_output import JobOutput, Table


@dataclass(frozen=True)
class GrindStage(Job):
    """Writes a table per task, and one per task of each of two sources."""

    kind = "grind"
    flour = Table("flour", ".txt")
    bran = Table("bran", ".txt")

    def settings(self) -> Json:
        return None

    def work(self, task: Task) -> None:
        task.new_table(self.flour).write_text(f"flour {task.index}")
        for source in ("rye", "wheat"):
            task.new_table(self.bran, source=source).write_text(f"bran of {source} {task.index}")


JOB = GrindStage("mill", (), 2)


@pytest.fixture
def output(tmp_path: Path) -> JobOutput:
    for index in range(JOB.tasks):
        JOB.run_task(tmp_path, index)
    return JobOutput(tmp_path, JOB)


def test_tables_are_read_by_task_and_source(output: JobOutput) -> None:
    assert [path.read_text() for path in output.flour] == ["flour 0", "flour 1"]
    assert output.bran.of_source("rye", 2)[1].read_text() == "bran of rye 1"
    assert len(output.flour) == 2 and list(output.flour)[1:] == [output.flour[1]]
    with pytest.raises(IndexError):
        output.flour[2]


def test_products_name_their_table_and_source(output: JobOutput) -> None:
    named = {(product.name, product.table, product.source) for product in output.products(1)}
    assert named == {
        ("bran/rye-00001.txt", "bran", "rye"),
        ("bran/wheat-00001.txt", "bran", "wheat"),
        ("flour-00001.txt", "flour", ""),
    }


@pytest.mark.parametrize("name", ["semolina", "kind", "settings"])
def test_only_declared_tables_are_attributes(output: JobOutput, name: str) -> None:
    with pytest.raises(AttributeError, match=f"job grind.mill declares no table `{name}`"):
        getattr(output, name)
