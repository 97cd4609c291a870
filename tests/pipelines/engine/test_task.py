"""A task's products and manifest: what exists is whole, wherever its process dies.

Planted once in the code under test, each caught here: the manifest written before the products are published; the
rename before the fsync of the file; no fsync of the folder; a manifest that is not asked for on the second run.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import BaseModel

from corpus.settings import Json
from corpus.store import products
from pipelines.engine.job import Job
from pipelines.engine.job_output import JobOutput
from pipelines.engine.task import Task


class Answer(BaseModel):
    answer: int


@dataclass(frozen=True)
class TwoFiles(Job):
    """Writes two products, and counts its runs in a file."""

    kind: ClassVar[str] = "two"

    def settings(self) -> Json:
        return None

    def work(self, task: Task) -> None:
        with (task.out / "worked").open("a") as note:
            note.write("x")
        task.new("first.txt").write_text("one")
        task.new("folder/second.txt").write_text("two")
        task.ledger.add("web", "kept", "", input_bytes=3)
        task.facts = Answer(answer=42)


JOB = TwoFiles("", (), 1)


class Killed(BaseException):
    """Stands for SIGKILL: nothing after it runs but what the operating system does."""


def tree(out: Path) -> dict[str, bytes]:
    found = {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    return {
        name: content
        for name, content in found.items()
        if name != "worked" and "/tmp/" not in name and "logs" not in name
    }


def run(out: Path) -> None:
    out.mkdir(exist_ok=True)
    JOB.run_task(out, 0)


def steps(out: Path, monkeypatch: pytest.MonkeyPatch, die_after: int | None = None) -> list[tuple[str, str]]:
    """Runs the task and records each fsync and rename; dies after so many of them."""
    seen: list[tuple[str, str]] = []

    def note(kind: str, path: str) -> None:
        if die_after is not None and len(seen) >= die_after:
            raise Killed
        seen.append((kind, path.split("/two-", 1)[-1].partition("/")[2]))

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
    return seen


def test_bytes_reach_the_disk_before_names_and_the_manifest_comes_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = steps(tmp_path / "out", monkeypatch)
    kinds = [kind for kind, _ in seen]
    assert kinds == ["fsync", "rename", "fsync"] * 3, "each file: its bytes, its name, its folder"
    for file, name, folder in zip(seen[0::3], seen[1::3], seen[2::3], strict=True):
        assert file[1] == name[1], "the file that is renamed is the one that was synced"
        assert folder[1] in ("", "folder", "tasks")
    assert [name.rpartition("/")[2] for _, name in seen[1::3]][:2] == ["first.txt", "second.txt"]
    assert seen[-1][1] == "tasks"


def test_killed_after_any_step_and_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tmp_path / "whole"
    count = len(steps(whole, monkeypatch))
    for die_after in range(count):
        out = tmp_path / f"killed-{die_after}"
        with pytest.raises(Killed):
            steps(out, monkeypatch, die_after)
        manifest = JobOutput(out, JOB).manifest_path(0)
        if manifest.is_file():  # then all that it vouches for must be there
            assert all((out / JOB.folder / product.name).is_file() for product in JobOutput(out, JOB).products(0))
        run(out)
        assert tree(out) == tree(whole), die_after


def test_a_finished_task_is_not_done_again(tmp_path: Path) -> None:
    run(tmp_path / "out")
    run(tmp_path / "out")
    assert (tmp_path / "out" / "worked").read_text() == "x"


def test_the_manifest_vouches_for_sizes_and_hashes(tmp_path: Path) -> None:
    run(tmp_path)
    done = JobOutput(tmp_path, JOB)
    assert [product.name for product in done.products(0)] == ["first.txt", "folder/second.txt"]
    assert done.products(0)[0].sha256 == products.sha256_file(done.path("first.txt"))
    assert done.facts(Answer) == Answer(answer=42)
    assert done.ledger().total("input_bytes", outcome="kept") == 3
    assert not done.is_finished
    JOB.close(tmp_path)
    assert done.is_finished
