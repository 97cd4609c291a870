"""A build that is stopped or killed as a whole ends within seconds, with one plain line, and the next one goes on.

What a second signal may not interrupt is tested in test_stopping.py, and workers whose parent is gone in test_pool.py.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.end_to_end.builds import products
from tests.faults.kills import STOPPED, Build, assert_stopped, finished

STAGES = ("fetch", "clean", "minhash", "dedup", "text", "tokenizer", "tokenize", "mix", "report")
END_S = 60.0  # seconds on an idle machine; this one may be busy


def wait_for_stage(build: Build, draw: random.Random) -> str:
    """Wait for a random moment, from the start of a random stage on."""
    stage = draw.choice(STAGES)
    build.wait_for_workers()
    build.wait_for(stage)
    time.sleep(draw.uniform(0, 0.5) if stage in ("fetch", "clean") else draw.uniform(0, 0.1))
    return stage


def stop_often(built: tuple[Path, dict[str, str]], out: Path, stops: int, number: int, repeat: bool) -> None:
    """Send a signal to all processes, twice within 100 ms if `repeat`, until it stopped a build often enough."""
    recipe, expected = built
    draw, stopped, completed = random.Random(number), 0, 0
    while stopped < stops:
        build = Build(recipe, out / str(completed))
        wait_for_stage(build, draw)
        ran = build.runs
        build.send(number)
        if repeat:
            time.sleep(draw.uniform(0, 0.1))
            build.send(number)
        sent_s = time.monotonic()
        ended = build.end(END_S)
        assert build.leaves_nothing()
        if ran and ended.status != 0:
            assert_stopped(ended)
            stopped += 1
        else:
            assert ended.status == 0, ended.output
            assert products(build.out) == expected
            completed += 1
        print(f"{stopped} stopped, {completed} completed, {time.monotonic() - sent_s:.1f} s", flush=True)
    finished(recipe, out / str(completed), expected)


@pytest.mark.parametrize(("number", "repeat"), [(signal.SIGTERM, False), (signal.SIGINT, True)])
def test_stopped_build_goes_on(built: tuple[Path, dict[str, str]], tmp_path: Path, number: int, repeat: bool) -> None:
    stop_often(built, tmp_path, 2, number, repeat)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("stops", "number", "repeat"), [(50, signal.SIGTERM, False), (50, signal.SIGINT, True), (20, signal.SIGTERM, True)]
)
def test_build_stopped_many_times(
    built: tuple[Path, dict[str, str]], tmp_path: Path, stops: int, number: int, repeat: bool
) -> None:
    stop_often(built, tmp_path, stops, number, repeat)


def test_timeout_stops_a_build(built: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    """`timeout` sends the signal to the command and again to its group, when its time is up as when it is told to."""
    recipe, expected = built
    build = Build(recipe, tmp_path / "out", wrapper=("timeout", "--preserve-status", "600"))
    build.wait_for("clean")
    build.process.terminate()
    assert_stopped(build.end(END_S))
    finished(recipe, tmp_path / "out", expected)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_build_killed_as_a_whole_many_times(built: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    recipe, expected = built
    draw, killed, completed = random.Random(4), 0, 0
    while killed < 100:
        build = Build(recipe, tmp_path / str(completed))
        wait_for_stage(build, draw)
        if build.runs:
            build.send(signal.SIGKILL)
        if build.end(END_S).status == -signal.SIGKILL:
            killed += 1
        else:
            assert products(build.out) == expected
            completed += 1
        assert build.leaves_nothing()
        print(f"{killed} killed, {completed} completed", flush=True)
    finished(recipe, tmp_path / str(completed), expected)


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_build_whose_reader_is_gone_goes_on(built: tuple[Path, dict[str, str]], tmp_path: Path, stream: str) -> None:
    """As `corpus build 2>&1 | head -1` does."""
    recipe, expected = built
    reader, writer = os.pipe()
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, stream: writer}
    command = [sys.executable, "-m", "corpus", "build", str(recipe), "--out", str(tmp_path / "out")]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, **streams) as process:  # type: ignore[call-overload]
        os.close(writer)
        os.close(reader)
        assert process.wait(240) == 0
    assert products(tmp_path / "out") == expected


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_stopped_build_on_ray_goes_on(built: tuple[Path, dict[str, str]], tmp_path: Path, number: int) -> None:
    recipe, expected = built
    for stage in ("fetch", "clean"):
        build = Build(recipe, tmp_path / "out", "ray")
        build.wait_for(stage)
        time.sleep(3)
        build.send(number)
        ended = build.end(END_S)
        if number == signal.SIGKILL:
            assert ended.status == -number
        else:
            assert_stopped(ended)
        assert build.leaves_nothing()
    finished(recipe, tmp_path / "out", expected, "ray")
    assert STOPPED == 130
