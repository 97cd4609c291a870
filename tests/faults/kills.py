"""Small build of generated text, and helpers that kill its processes, stop it and compare its products."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from tests.end_to_end.builds import products
from tests.small_build import prose

LIMIT_S = 1200.0  # of one build, which may compile kernels first and start Ray's actors; longer counts as a hang
STOPPED = 130  # exit status after Ctrl-C and SIGTERM
PROFILES: dict[str, dict[str, object]] = {
    "local": {"executor": "local", "workers": 2},
    "ray": {"executor": "ray", "workers": 2, "memory_per_cpu": 1},
}


class Ended(NamedTuple):
    """Exit status of a build, and all that it printed."""

    status: int
    output: str


def write_recipe(folder: Path, tasks: int = 6) -> Path:
    """Write files and a recipe: two sources, each of half the tasks."""
    sources = []
    for number, name in enumerate(("books", "web")):
        files = folder / "files"
        files.mkdir(parents=True, exist_ok=True)
        for part in range(tasks // 2):
            first = 1000 * number + 10 * part
            lines = [json.dumps({"id": f"{name}-{seed}", "text": prose(seed)}) for seed in range(first, first + 10)]
            (files / f"{name}-{part}.jsonl").write_text("".join(f"{line}\n" for line in lines))
        sources.append(
            {"name": name, "reader": "records", "paths": [f"files/{name}-*"], "share": 0.5, "license": "cc0-1.0",
             "id_field": "id", "identify_language": False, "rules": ["gopher_quality.words"]}
        )  # fmt: skip
    recipe = {"format_version": 1, "name": "killed", "sources": sources, "holdout": {"share": "10%"},
              "tokenizer": {"train": {"vocabulary": 300, "sample_bytes": "20kB"}}, "mix": {"partitions": 2},
              "task_bytes": 16_000}  # fmt: skip
    path = folder / "killed.yaml"
    path.write_text(json.dumps(recipe))
    return path


class Build:
    """A running `corpus build` in a process group of its own."""

    def __init__(self, recipe: Path, out: Path, on: str = "local", wrapper: tuple[str, ...] = ()) -> None:
        self.out = out
        out.parent.mkdir(parents=True, exist_ok=True)
        profile = out.with_suffix(".profile.yaml")
        profile.write_text(json.dumps(PROFILES[on]))
        self._log = out.with_suffix(".log")
        command = [*wrapper, sys.executable, "-m", "corpus", "build", str(recipe), "--out", str(out)]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "--on", str(profile)],
                start_new_session=True, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                preexec_fn=_obey_interrupts,
            )  # fmt: skip

    @property
    def runs(self) -> bool:
        """True until the build has ended."""
        return self.process.poll() is None

    def workers(self) -> list[int]:
        """Return the ids of the processes that run tasks, or wait for some."""
        marks = (b"pipelines.engine.worker", b"ray::RankActor", b"ray::IDLE")
        return [pid for pid in session(self.process.pid) if any(mark in command_line(pid) for mark in marks)]

    def wait_for_workers(self) -> None:
        """Wait until a worker has started, or the build ends: before, a signal ends Python as it ends any program."""
        while self.runs and not self.workers():
            time.sleep(0.01)

    def wait_for(self, stage: str) -> None:
        """Wait until a task of this stage runs or has run, or the build ends."""
        while self.runs and not any(self.out.glob(f"jobs/{stage}*")):
            time.sleep(0.002)

    def send(self, number: int) -> None:
        """Send a signal to all processes of the build."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def end(self, limit_s: float = LIMIT_S) -> Ended:
        """Wait for the build; one that takes longer counts as a hang."""
        try:
            status = self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            states = [f"{pid}: {command_line(pid)[:200]!r}" for pid in session(self.process.pid)]
            self.send(signal.SIGKILL)
            self.process.wait()
            raise AssertionError(f"the build hangs: {states}; {self._log.read_text()[-3000:]}") from None
        return Ended(status, self._log.read_text(errors="replace"))

    def leaves_nothing(self) -> bool:
        """Return True if all processes of the build end within some seconds."""
        deadline_s = time.monotonic() + 30
        while left := session(self.process.pid):
            if time.monotonic() > deadline_s:
                print([command_line(pid) for pid in left])
                return False
            time.sleep(0.02)
        return True


def _obey_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell starts background processes with it ignored


def session(leader: int) -> list[int]:
    """Return the running processes of a session. Ray's actors are in one with the build, in groups of their own."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            state, _, _, number = (entry / "stat").read_bytes().rpartition(b")")[2].split()[:4]
            if int(number) == leader and state != b"Z":
                found.append(int(entry.name))
    return found


def command_line(pid: int) -> bytes:
    """Return the command line of a process, b"" if it has ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def finished(recipe: Path, out: Path, expected: dict[str, str], on: str = "local") -> None:
    """Assert that the same command completes the build, with equal products."""
    ended = Build(recipe, out, on).end()
    assert ended.status == 0, ended.output
    assert products(out) == expected


def assert_stopped(ended: Ended) -> None:
    """Assert the documented exit status and one plain line, after the lines of progress."""
    assert ended.status == STOPPED, ended
    lines = [line for line in ended.output.splitlines() if line.startswith("corpus: ")]
    assert len(lines) == 1 and lines[0].startswith("corpus: stopped"), ended.output
    assert ended.output.rstrip().endswith(lines[0]) and "Traceback" not in ended.output, ended.output
