"""Wave of a job whose tasks end in given ways, for tests of executors."""

import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from corpus.errors import CorpusError
from corpus.settings import Json
from pipelines.engine.exhausted import ParseGuard
from pipelines.engine.job import Job, Task
from pipelines.engine.wave import Wave


@dataclass(frozen=True)
class ScriptedJob(Job):
    """Task k ends as named in `endings[k]`, and appends a line to runs/k at each start."""

    endings: tuple[str, ...]

    kind = "grind"

    def settings(self) -> Json:
        return list(self.endings)

    def run_task(self, out: Path, index: int) -> None:
        super().run_task(out, index)
        if self.endings[index] == "die after":
            os.kill(os.getpid(), signal.SIGKILL)

    def work(self, task: Task) -> None:
        runs = task.out / "runs" / str(task.index)
        runs.parent.mkdir(exist_ok=True)
        with runs.open("a") as file:
            file.write(f"{os.getpid()}\n")
        match self.endings[task.index]:
            case "refuse":
                raise CorpusError("the mill's gate is shut; open it")
            case "break":
                raise ValueError("the wheel is broken")
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case "wait":
                time.sleep(300)
            case "spin":
                while not (task.out / "go on").exists():
                    pass
            case "die of 4 parses" if (count := runs.read_text().count("\n")) <= 4:
                with ParseGuard(task.output, task.index, str(os.getpid())) as guard, guard.at("read", "file", 0, count):
                    os.kill(os.getpid(), signal.SIGPROF)
            case "die once" if runs.read_text().count("\n") == 1:
                os.kill(os.getpid(), signal.SIGKILL)
        task.new(f"product-{task.index}").write_text("flour")


@dataclass(frozen=True)
class LargeJob(ScriptedJob):
    """A job of another stage, which may have other resources."""

    kind = "dedup"

    def work(self, task: Task) -> None:
        if "ray" in sys.modules and sys.modules["ray"].is_initialized():
            cpus = sys.modules["ray"].get_runtime_context().get_assigned_resources().get("CPU")
            (task.out / f"cpus-{task.index}").write_text(f"{cpus:g}")
        super().work(task)


def wave(out: Path, *endings: str) -> tuple[Wave, list[str]]:
    """Return a wave of one job, and the list that its messages are appended to."""
    job = ScriptedJob("", (), len(endings), endings)
    messages: list[str] = []
    return Wave(
        out, out / "logs" / "wave-1", [(job, index) for index in range(len(endings))], messages.append
    ), messages


def runs(out: Path, count: int) -> list[int]:
    """Return the number of starts of each task."""
    files = [out / "runs" / str(index) for index in range(count)]
    return [path.read_text().count("\n") if path.exists() else 0 for path in files]
