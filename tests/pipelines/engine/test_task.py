"""A task publishes complete products and manifests only, wherever its process dies.

Verified to fail if the manifest is written before the products are published, if a file is renamed before its fsync,
if the folder is not synced, and if the second run ignores the manifest.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import BaseModel

from corpus.settings import Json
from corpus.store import products
from pipelines.engine.job import Job, Task
from pipelines.engine.job_output import JobOutput


class AnswerFacts(BaseModel):
    answer: int


@dataclass(frozen=True)
class TwoFilesJob(Job):
    """Write two products, and count the runs in a file."""

    kind = "two"

    def settings(self) -> Json:
        return None

    def work(self, task: Task) -> None:
        with (task.out / "worked").open("a") as note:
            note.write("x")
        task.new("first.txt").write_text("one")
        task.new("folder/second.txt").write_text("two")
        task.ledger.add("web", "kept", "", input_bytes=3)
        task.facts = AnswerFacts(answer=42)


JOB = TwoFilesJob("", (), 1)


class Killed(BaseException):
    """Simulated SIGKILL: no `except Exception` may handle it."""


def tree(out: Path) -> dict[str, bytes]:
    contents = {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    return {
        name: content
        for name, content in contents.items()
        if name != "worked" and "/tmp/" not in name and "logs" not in name
    }


def run(out: Path) -> None:
    out.mkdir(exist_ok=True)
    JOB.run_task(out, 0)


def steps(out: Path, monkeypatch: pytest.MonkeyPatch, die_after: int | None = None) -> list[tuple[str, str]]:
    """Run the task and return its fsyncs and renames in order; raise Killed after `die_after` of them."""
    calls: list[tuple[str, str]] = []

    def note(kind: str, path: str) -> None:
        if die_after is not None and len(calls) >= die_after:
            raise Killed
        calls.append((kind, path.split("/two-", 1)[-1].partition("/")[2]))

    real_fsync, real_replace = os.fsync, Path.replace

    def fsync(descriptor: int) -> None:
        note("fsync", str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        real_fsync(descriptor)

    def replace(self: Path, target: Path) -> Path:
        if "progress" not in str(target):
            note("rename", str(self))
        return real_replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        patch.setattr(Path, "replace", replace)
        run(out)
    return calls


def test_files_are_synced_then_renamed_and_the_manifest_is_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = steps(tmp_path / "out", monkeypatch)
    kinds = [kind for kind, _ in calls]
    assert kinds == ["fsync", "rename", "fsync"] * 3, "sync the file, rename it, sync its folder"
    for file, name, folder in zip(calls[0::3], calls[1::3], calls[2::3], strict=True):
        assert file[1] == name[1], "the synced file is the one renamed"
        assert folder[1] in ("", "folder", "tasks")
    assert [name.rpartition("/")[2] for _, name in calls[1::3]][:2] == ["first.txt", "second.txt"]
    assert calls[-1][1] == "tasks"


def test_task_killed_after_any_step_resumes_to_the_same_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = tmp_path / "expected"
    count = len(steps(expected, monkeypatch))
    for die_after in range(count):
        out = tmp_path / f"killed-{die_after}"
        with pytest.raises(Killed):
            steps(out, monkeypatch, die_after)
        manifest = JobOutput(out, JOB).manifest_path(0)
        if manifest.is_file():  # then all products that it lists must exist
            assert all((out / JOB.folder / product.name).is_file() for product in JobOutput(out, JOB).products(0))
        run(out)
        assert tree(out) == tree(expected), die_after


def test_finished_task_does_not_run_again(tmp_path: Path) -> None:
    run(tmp_path / "out")
    run(tmp_path / "out")
    assert (tmp_path / "out" / "worked").read_text() == "x"


def test_manifest_holds_hashes_facts_and_ledger(tmp_path: Path) -> None:
    run(tmp_path)
    done = JobOutput(tmp_path, JOB)
    assert [product.name for product in done.products(0)] == ["first.txt", "folder/second.txt"]
    assert done.products(0)[0].sha256 == products.sha256_file(done.path("first.txt"))
    assert done.facts(AnswerFacts) == AnswerFacts(answer=42)
    assert done.ledger().total("input_bytes", outcome="kept") == 3
    assert not done.is_finished
    JOB.close(tmp_path)
    assert done.is_finished
