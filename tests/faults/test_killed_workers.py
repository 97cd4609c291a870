"""A worker that is killed at any moment costs its task's time alone: the build goes on, or stops with a name.

Verified to fail if the task of a dead worker is not run again. The moments of a death are in test_pool.py.
"""

import contextlib
import os
import random
import re
import signal
import time
from pathlib import Path

import pytest

from tests.end_to_end.builds import products
from tests.faults.kills import Build, command_line, finished, session

SIGNALS = (signal.SIGKILL, signal.SIGTERM)
GIVEN_UP = re.compile(r"corpus: \S+, task \d+: its process was killed from outside, or its machine was lost, 3 times")


def kill_workers(build: Build, draw: random.Random, kills: int, pause_s: tuple[float, float]) -> int:
    """Kill random workers while the build runs; return the number of kills."""
    landed = 0
    while build.runs and landed < kills:
        deadline_s = time.monotonic() + draw.uniform(*pause_s)
        while build.runs and time.monotonic() < deadline_s:
            time.sleep(0.01)
        if workers := build.workers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(draw.choice(workers), draw.choice(SIGNALS))
                landed += 1
    return landed


def build_with_kills(recipe: Path, out: Path, draw: random.Random, on: str, kills: int) -> tuple[int, int]:
    """Build under so many kills, at most, until it succeeds. Return them, and how often a task was killed 3 times."""
    pause_s = (0.0, 1.0) if on == "local" else (0.0, 8.0)
    landed = given_up = 0
    while True:
        build = Build(recipe, out, on)
        landed += kill_workers(build, draw, kills - landed, pause_s)
        ended = build.end()
        assert build.leaves_nothing()
        if ended.status == 0:
            return landed, given_up
        assert ended.status == 1 and GIVEN_UP.search(ended.output), ended.output
        given_up += 1


def test_killed_workers_do_not_stop_a_build(built: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    recipe, expected = built
    assert build_with_kills(recipe, tmp_path / "out", random.Random(1), "local", kills=6)[0] >= 3
    assert products(tmp_path / "out") == expected


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("on", "builds", "kills"), [("local", 34, 170), ("ray", 6, 30)])
def test_many_killed_workers(
    built: tuple[Path, dict[str, str]], tmp_path: Path, on: str, builds: int, kills: int
) -> None:
    recipe, expected = built
    draw, landed, given_up, number = random.Random(2), 0, 0, 0
    while number < builds or landed < kills:
        out = tmp_path / str(number)
        new = build_with_kills(recipe, out, draw, on, kills=8)
        landed, given_up, number = landed + new[0], given_up + new[1], number + 1
        assert products(out) == expected
        print(f"{on}: {number} builds, {landed} kills, {given_up} times a task was given up", flush=True)


@pytest.mark.slow
@pytest.mark.parametrize("process", ["raylet/raylet", "gcs/gcs_server", "ray::RankActor"])
def test_build_on_a_ray_that_crashes_can_be_built_again(
    built: tuple[Path, dict[str, str]], tmp_path: Path, process: str
) -> None:
    recipe, expected = built
    build = Build(recipe, tmp_path / "out", "ray")
    build.wait_for("clean")
    found = [pid for pid in session(build.process.pid) if process.encode() in command_line(pid)]
    os.kill(found[0], signal.SIGKILL)
    build.end()  # Ray's agents may live on for a while
    finished(recipe, tmp_path / "out", expected, "ray")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_stopped_workers_go_on_when_they_may(built: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    recipe, expected = built
    draw, stops = random.Random(3), 0
    for number in range(10):
        build = Build(recipe, tmp_path / str(number))
        while build.runs:
            time.sleep(draw.uniform(0, 1))
            if workers := build.workers():
                worker = draw.choice(workers)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker, signal.SIGSTOP)
                    time.sleep(draw.uniform(0, 2))
                    os.kill(worker, signal.SIGCONT)
                    stops += 1
        assert build.end().status == 0 and products(tmp_path / str(number)) == expected
    print(f"{stops} stops and continuations in 10 builds")
