"""Builds and training runs in odd surroundings: full disks, changed inputs, each other, other environments."""

import json
import os
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path

import pytest
from _pytest.mark.structures import ParameterSet

from tests.end_to_end.builds import products
from tests.end_to_end.training import STEPS, checkpoint_tensors, metrics_fields, write_config
from tests.faults.surroundings import (
    ROOT,
    Command,
    assert_one_message,
    build,
    fit,
    odd_environments,
    small_disk,
)
from tests.small_build import write_recipe, write_sources

STAGES = ("fetch", "clean", "minhash", "dedup", "text", "tokenizer", "tokenize", "mix", "manifest", "report")
# Twenty moments each: when a stage begins and when it has ended; after a step, or while a checkpoint is written.
BUILD_MOMENTS = [f"jobs/{stage}*{what}" for stage in STAGES for what in ("", "/job.json")]
FIT_MOMENTS = [*(f"step {step}" for step in range(0, STEPS, 2)), *(f".tmp-step-{step:08d}" for step in (4, 8, 12, 20))]
FIT_MOMENTS += [f"step-{step:08d}" for step in (4, 8, 12, 16, 20)]
FIT_MOMENTS.sort(key=lambda moment: int(moment.replace("-", " ").split()[-1]))  # in the order of a run
ENVIRONMENTS = ("all at once", "jumping clock", "no HOME", "LANG=C", "umask 077", "hash seed")
EXACT = ("step", "batch", "loss", "grad_norm", "learning_rate", "targets")


def all_of(cases: Sequence[object], samples: Collection[int]) -> list[ParameterSet]:
    """Mark all cases as slow, except for samples."""
    rows = [case if isinstance(case, tuple) else (case,) for case in cases]
    return [pytest.param(*row, marks=() if n in samples else pytest.mark.slow) for n, row in enumerate(rows)]


def in_turn(moments: Sequence[str], sample: int) -> list[ParameterSet]:
    """One moment as a sample, and all in the slow set: five for each test, one after the other."""
    turns = [pytest.param(moments[first::4], marks=pytest.mark.slow, id=f"turn {first}") for first in range(4)]
    return [pytest.param(moments[sample : sample + 1], id="sample"), *turns]


class Inputs:
    """Files and a recipe, and the products of an undisturbed build of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        write_sources(folder / "files")
        self.recipe = write_recipe(folder)
        assert build(self.recipe, folder / "whole", folder / "cache").end().status == 0
        self.products = products(folder / "whole")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    return Inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of an undisturbed training."""
    config = write_config(tmp_path_factory.mktemp("whole"))
    assert fit(config).end().status == 0
    return config.parent / "run"


def assert_same_training(run: Path, whole: Path) -> None:
    assert checkpoint_tensors(run) == checkpoint_tensors(whole)
    assert metrics_fields(run, *EXACT) == metrics_fields(whole, *EXACT)
    scores = [
        [{**json.loads(line), "seconds": 0} for line in (each / "evaluations.jsonl").read_text().splitlines()]
        for each in (run, whole)
    ]
    assert scores[0] == scores[1]


@pytest.mark.parametrize("moments", in_turn(BUILD_MOMENTS, sample=2))
def test_a_build_goes_on_each_time_its_disk_was_full(inputs: Inputs, tmp_path: Path, moments: Sequence[str]) -> None:
    with small_disk(tmp_path / "disk") as disk:
        out = disk.folder / "out"
        for moment in moments:
            command = build(inputs.recipe, out, tmp_path / "cache")
            command.wait_until(lambda: any(out.glob(moment)))  # noqa: B023  (called at once)
            disk.fill(command)
            ended = command.end()
            if ended.status:  # else it had written all before
                assert_one_message(ended, "corpus")
            disk.free()
        again = build(inputs.recipe, out, tmp_path / "cache").end()
        assert again.status == 0, again.output
        assert products(out) == inputs.products


@pytest.mark.parametrize("moments", in_turn(FIT_MOMENTS, sample=4))
def test_a_run_goes_on_each_time_its_disk_was_full(whole: Path, tmp_path: Path, moments: Sequence[str]) -> None:
    with small_disk(tmp_path / "disk") as disk:
        config, run = write_config(tmp_path, out=str(disk.folder / "run")), disk.folder / "run"
        for moment in moments:
            command = fit(config)
            _wait_for_step(command, run, moment)
            disk.fill(command)
            ended = command.end()
            if ended.status:
                assert_one_message(ended, "trainer")
            disk.free()
        again = fit(config).end()
        assert again.status == 0, again.output
        assert_same_training(run, whole)


def _wait_for_step(command: Command, run: Path, moment: str) -> None:
    rows = run / "metrics.jsonl"
    if moment.startswith("step "):
        number = int(moment.removeprefix("step "))
        command.wait_until(lambda: rows.is_file() and rows.read_bytes().count(b"\n") >= number)
    else:
        command.wait_until(lambda: (run / "checkpoints" / moment).exists())


@pytest.mark.parametrize(
    ("stage", "change"),
    all_of([(stage, change) for stage in ("clean", "text", "mix") for change in ("vanishes", "changes")], samples=(0,)),
)
def test_an_input_that_changes_or_vanishes_is_named(inputs: Inputs, tmp_path: Path, stage: str, change: str) -> None:
    shutil.copytree(inputs.folder / "files", tmp_path / "files")
    recipe, file = write_recipe(tmp_path), tmp_path / "files" / "books.jsonl"
    content, out = file.read_bytes(), tmp_path / "out"
    command = build(recipe, out, tmp_path / "cache")
    assert command.wait_until(lambda: any(out.glob(f"jobs/{stage}*")))
    if change == "vanishes":
        file.unlink()
    else:
        file.write_bytes(content.replace(b'book-1"', b'book-x"') + b"\n")
    ended = command.end()
    # The file is read by `clean` alone; later stages do not need it.
    if ended.status:
        assert stage == "clean" and ended.status == 1 and "Traceback" not in ended.output, ended.output
        assert "books.jsonl" in ended.output
    else:
        assert products(out) == inputs.products
    file.write_bytes(content)
    again = build(recipe, out, tmp_path / "cache").end()
    assert again.status == 0, again.output
    assert products(out) == inputs.products


def test_the_second_of_two_builds_in_a_folder_is_refused(inputs: Inputs, tmp_path: Path) -> None:
    first = build(inputs.recipe, tmp_path / "out", tmp_path / "cache")
    assert first.wait_until(lambda: any((tmp_path / "out").glob("jobs/clean*")))
    second = build(inputs.recipe, tmp_path / "out", tmp_path / "cache2").end()
    assert second.status == 1 and "another build is at work" in second.output
    assert first.end().status == 0
    assert products(tmp_path / "out") == inputs.products


@pytest.mark.slow
def test_two_builds_share_a_cache(inputs: Inputs, tmp_path: Path) -> None:
    builds = [build(inputs.recipe, tmp_path / name, tmp_path / "cache") for name in ("a", "b")]
    for name, each in zip(("a", "b"), builds, strict=True):
        ended = each.end()
        assert ended.status == 0, ended.output
        assert products(tmp_path / name) == inputs.products


@pytest.mark.parametrize("name", all_of(ENVIRONMENTS, samples=(0,)))
def test_a_build_has_the_same_bytes_in_any_environment(inputs: Inputs, tmp_path: Path, name: str) -> None:
    environment, umask = odd_environments(tmp_path)[name]
    ended = build(inputs.recipe, tmp_path / "out", tmp_path / "cache", environment, umask).end()
    assert ended.status == 0, ended.output
    assert products(tmp_path / "out") == inputs.products


@pytest.mark.parametrize("name", all_of(ENVIRONMENTS, samples=()))
def test_a_run_has_the_same_tensors_in_any_environment(whole: Path, tmp_path: Path, name: str) -> None:
    environment, umask = odd_environments(tmp_path)[name]
    config = write_config(tmp_path)
    ended = fit(config, environment, umask).end()
    assert ended.status == 0, ended.output
    assert_same_training(tmp_path / "run", whole)


@pytest.mark.parametrize("lines", all_of([1, 0], samples=(0,)))
def test_commands_go_on_without_a_reader(inputs: Inputs, whole: Path, tmp_path: Path, lines: int) -> None:
    """As in `trainer fit 2>&1 | head -1`."""
    config = write_config(tmp_path)
    for arguments in (["corpus", "build", str(inputs.recipe), "--out", str(tmp_path / "out"), "--workers", "2"],
                      ["trainer", "fit", "--config", str(config)]):  # fmt: skip
        command = Command(
            ["-c", _CLOSED, str(lines), *arguments],
            tmp_path / f"{arguments[0]}.log",
            {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
        )
        ended = command.end()
        assert ended.status == 0, ended.output
    assert products(tmp_path / "out") == inputs.products
    assert_same_training(tmp_path / "run", whole)


# Runs a command whose output is read for some lines and then closed; ends with the command's status.
_CLOSED = """
import subprocess, sys
command = subprocess.Popen([sys.executable, "-m", *sys.argv[2:]], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
for _ in range(int(sys.argv[1])):
    command.stdout.readline()
command.stdout.close()
sys.exit(command.wait())
"""
