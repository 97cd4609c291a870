"""Runs a wave on an executor, with retries of tasks that were killed from outside."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from corpus.errors import CorpusError
from pipelines.engine.profile import Profile
from pipelines.engine.wave import Failure, Wave

SHOWN_FAILURES = 3


def run_wave(profile: Profile, wave: Wave) -> None:
    """Run a wave's tasks; run those again that were killed from outside. Raises CorpusError with the failures."""
    for attempt in range(profile.attempts):
        wave.prepare()
        problem: CorpusError | None = None
        try:
            profile.run(wave)
        except CorpusError as error:
            problem = error
        unfinished = wave.unfinished()
        failed = [rank for rank in unfinished if wave.failure(rank)]
        if failed:
            raise CorpusError(_failure_message(profile, wave, failed, len(unfinished)))
        if problem:
            raise problem
        if not unfinished:
            return
        if attempt + 1 < profile.attempts:
            wave.say(f"{len(unfinished)} of {len(wave.work)} tasks were killed from outside; running them again")
            wave = replace(wave, logs=wave.logs / "again", work=[wave.work[rank] for rank in unfinished])
    raise CorpusError(_failure_message(profile, wave, unfinished, len(unfinished)))


def _failure_message(profile: Profile, wave: Wave, ranks: Sequence[int], unfinished: int) -> str:
    lines = []
    for rank in ranks[:SHOWN_FAILURES]:
        job, index = wave.work[rank]
        failure = wave.failure(rank) or Failure("its process was killed from outside, or its machine was lost", None)
        lines.append(f"{job.name}, task {index}: {failure.error}")
        if failure.traceback:
            lines.append(f"  traceback: {failure.traceback}")
        lines += [f"  {line}" for line in profile.diagnostics(wave, rank)]
    if unfinished > len(ranks[:SHOWN_FAILURES]):
        lines.append(f"of {len(wave.work)} tasks, {unfinished} are not done")
    return "\n".join([*lines, f"finished tasks are kept; {same_command()} runs the rest"])


def same_command() -> str:
    """Return the command that the user typed, quoted for a shell; callers of `build` see "the same call"."""
    program = Path(sys.argv[0])
    is_command = program.stem == "corpus" or program.parent.name == "corpus"  # the script, or `python -m corpus`
    return f"`{shlex.join(['corpus', *sys.argv[1:]])}`" if is_command else "the same call"
