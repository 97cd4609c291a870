"""A job whose tasks end as they are told to, and a wave of it: for tests of executors."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from corpus.errors import CorpusError
from corpus.settings import Json
from pipelines.engine.job import Job
from pipelines.engine.run_wave import Wave
from pipelines.engine.task import Task


@dataclass(frozen=True)
class Fated(Job):
    """Task k does `fates[k]`, and adds a line to runs/k each time that it begins."""

    fates: tuple[str, ...]

    def settings(self) -> Json:
        return list(self.fates)

    def work(self, task: Task) -> None:
        runs = task.out / "runs" / str(task.index)
        runs.parent.mkdir(exist_ok=True)
        with runs.open("a") as file:
            file.write(f"{os.getpid()}\n")
        match self.fates[task.index]:
            case "refuse":
                raise CorpusError("the mill's gate is shut; open it")
            case "break":
                raise ValueError("the wheel is broken")
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case "wait":
                time.sleep(300)
            case "die once" if runs.read_text().count("\n") == 1:
                os.kill(os.getpid(), signal.SIGKILL)
        task.new(f"product-{task.index}").write_text("flour")


def wave(out: Path, *fates: str) -> tuple[Wave, list[str]]:
    """A wave of one job, and the lines that were said while it ran."""
    job = Fated("grind", (), len(fates), fates)
    said: list[str] = []
    return Wave(out, out / "logs" / "wave-1", [(job, index) for index in range(len(fates))], said.append), said


def runs(out: Path, count: int) -> list[int]:
    """How often each task was begun."""
    begun = [out / "runs" / str(index) for index in range(count)]
    return [path.read_text().count("\n") if path.exists() else 0 for path in begun]
