"""`trainer status`: how far a run is, in a few lines; read from its folder alone."""

import json
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from corpus.display.terminal import plain_console, print_line
from corpus.units import human_count, human_seconds
from trainer.engine.checkpoint import CHECKPOINTS, checkpoints_by_step
from trainer.inspect.metrics import evaluations_file, metrics_file
from trainer.inspect.recorded_run import find_run, read_record

RECENT_STEPS = 21  # loss and speed are those of so many last steps


@dataclass(frozen=True, slots=True)
class RunStatus:
    """Progress of a run; None where there is nothing yet."""

    run: str  # folder
    state: str  # "running", or how the last start ended: "done", "stopped", "failed", "killed"
    host: str
    processes: int
    step: int
    steps: int  # of the whole curriculum
    phase: str
    tokens: int
    tokens_planned: int
    loss: float | None  # mean of the last steps
    tokens_per_s: float | None  # median of the last steps
    left_s: float | None  # of the whole curriculum
    checkpoint_step: int | None
    checkpoint_age_s: float | None
    evaluated: str | None
    bits_per_byte: float | None
    starts: int
    kills: int

    @property
    def lines(self) -> list[str]:
        """The same in words, with the command that comes next."""
        where = f" on {self.host}, {self.processes} process{'es' if self.processes > 1 else ''}"
        tokens = f"{human_count(self.tokens)} of {human_count(self.tokens_planned)} tokens"
        lines = [
            f"{self.run}: {self.state}{where if self.state == 'running' else ''}",
            f"step {self.step:,} of {self.steps:,}, phase {self.phase} · {tokens}",
        ]
        if self.loss is not None and self.tokens_per_s is not None:
            left = f" · left {human_seconds(self.left_s)}" if self.left_s else ""
            lines.append(f"loss {self.loss:.3f} · {human_count(self.tokens_per_s)} tokens/s{left}")
        if self.checkpoint_step is not None and self.checkpoint_age_s is not None:
            lines.append(f"last checkpoint: step {self.checkpoint_step:,}, {human_seconds(self.checkpoint_age_s)} ago")
        if self.bits_per_byte is not None:
            lines.append(f"last evaluation: {self.evaluated}, {self.bits_per_byte:.4f} bits per byte")
        lines.append(f"started {self.starts} time{'s' if self.starts != 1 else ''}, killed {self.kills}")
        if self.state != "running" and self.step < self.steps:
            command = "trainer fit, without --phase" if self.state == "done" else "the command that started it"
            lines.append(f"to continue: {command}")
        return [*lines, f"curves: trainer report {self.run}"]


def show_status(run: Path | None, as_json: bool) -> None:
    """Run `trainer status`. Raises InputError if no run was started there."""
    status = status_of(find_run(run))
    if as_json:
        print(json.dumps(asdict(status), indent=2))
        return
    console = plain_console()
    for line in status.lines:
        print_line(console, line)


def status_of(folder: Path) -> RunStatus:
    """Read the status of a run from its folder. Raises InputError if a file in there is damaged."""
    record = read_record(folder)
    curriculum, start = record.curriculum, record.starts[-1]
    rows = metrics_file(folder).tail(RECENT_STEPS)
    last = rows[-1] if rows else None
    speed = statistics.median(row.tokens_per_s for row in rows) if rows else None
    planned, done = curriculum.tokens(curriculum.steps), last.tokens if last else 0
    checkpoint_step, checkpoint = next(reversed(checkpoints_by_step(folder / CHECKPOINTS).items()), (None, None))
    evaluation = next(iter(evaluations_file(folder).tail(1)), None)
    return RunStatus(
        run=str(folder),
        state=start.end,
        host=start.host,
        processes=start.processes,
        step=last.step if last else start.step,
        steps=curriculum.steps,
        phase=last.phase if last else curriculum.phases[0].name,
        tokens=done,
        tokens_planned=planned,
        loss=statistics.fmean(row.loss for row in rows) if rows else None,
        tokens_per_s=speed,
        left_s=(planned - done) / speed if speed else None,
        checkpoint_step=checkpoint_step,
        checkpoint_age_s=time.time() - checkpoint.stat().st_mtime if checkpoint else None,
        evaluated=evaluation.after if evaluation else None,
        bits_per_byte=evaluation.bits_per_byte if evaluation else None,
        starts=len(record.starts),
        kills=record.kills,
    )
