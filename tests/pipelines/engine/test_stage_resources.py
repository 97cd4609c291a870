"""Tasks get the resources of their stage; a wave of several stages runs side by side.

Verified to fail if a stage's resources are ignored, if the arrays of a wave wait for each other, and if a task that
fails stops the rest of its element.
"""

import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from corpus.errors import CorpusError, InputError
from corpus.fetch.access import Access
from corpus.recipe import read_recipe
from pipelines.engine.executors.ray import Ray
from pipelines.engine.executors.slurm import Slurm, _Array, _limited, arrays_name
from pipelines.engine.profile import stage_names
from pipelines.engine.run_jobs import run_wave
from pipelines.engine.wave import Wave
from pipelines.plan import make_plan
from tests.pipelines.engine.made_wave import LargeJob, runs, wave
from tests.slurm_here import SLURM_PROFILE, slurm_skip_reason
from tests.small_build import write_recipe, write_sources

ROOT = Path(__file__).parents[3]


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch) -> Slurm:
    if reason := slurm_skip_reason():
        pytest.skip(reason)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr("pipelines.engine.executors.slurm.DISK_LAG_S", 0.5)
    return Slurm.model_validate(SLURM_PROFILE)


def mixed(out: Path, small: list[str], large: list[str]) -> tuple[Wave, list[str]]:
    """Return a wave of two stages, whose tasks alternate, and the list that its messages are appended to."""
    made, messages = wave(out, *small)
    job = LargeJob("", (), len(small) + len(large), ("",) * len(small) + tuple(large))  # other numbers, other files
    both = [(job, len(small) + index) for index in range(len(large))]
    work = [pair for pairs in zip(made.work, both, strict=False) for pair in pairs] + list(made.work[len(large) :])
    return Wave(out, made.logs, work, made.say), messages


def queue(out: Path) -> list[dict[str, str]]:
    """Return the array elements that are queued or run, with their time limits, memory and dependencies."""
    form = "%F %K %t %l %m %E"
    command = ["squeue", "-h", "-r", f"--name={arrays_name(out)}", "-o", form]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    names = ("array", "element", "state", "time", "memory", "after")
    return [dict(zip(names, line.split(maxsplit=5), strict=False)) for line in lines]


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[list[dict[str, str]]]:
    """Collect what the queue shows until the test ends."""
    seen: list[dict[str, str]] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.1):
            seen.extend(queue(tmp_path))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    yield seen
    stop.set()
    thread.join()


def test_slurm_submits_an_array_for_each_set_of_resources(
    slurm: Slurm, tmp_path: Path, watched: list[dict[str, str]]
) -> None:
    profile = Slurm.model_validate(
        {**slurm.model_dump(), "stages": {"dedup": {"memory_per_cpu": 2, "time": "0:07:00", "sbatch": {"nice": 1}}}}
    )
    profile.check(tmp_path)
    made, _ = mixed(tmp_path, ["grind", "refuse"], ["grind"])
    with pytest.raises(CorpusError) as failed:
        run_wave(profile, made)
    arrays = (made.logs / "arrays").read_text().split()
    assert len(arrays) == 2 and runs(tmp_path, 3) == [1, 1, 1]
    asked = {(row["array"], row["time"], row["memory"]) for row in watched}
    assert asked == {(arrays[0], "20:00", "1G"), (arrays[1], "7:00", "2G")}
    assert "#SBATCH --nice=1" in (made.logs / "array-1" / "launch_script.slurm").read_text()
    assert str(failed.value).startswith("grind, task 1: the mill's gate is shut")
    assert f"rank 2 of 3, element 1 of Slurm's array {arrays[0]}" in str(failed.value)


def test_arrays_beyond_the_limit_run_side_by_side(slurm: Slurm, tmp_path: Path, watched: list[dict[str, str]]) -> None:
    """The second array does its work while the first still runs."""
    made, _ = wave(tmp_path, "wait", "grind")
    done = threading.Event()

    def cancel() -> None:
        while not (runs(tmp_path, 2)[0] and made.unfinished() == [0]):
            time.sleep(0.1)
        done.set()
        (array, *_) = (made.logs / "arrays").read_text().split()
        subprocess.run(["scancel", array], check=True)

    thread = threading.Thread(target=cancel, daemon=True)
    thread.start()
    with pytest.raises(CorpusError, match="killed from outside"):
        run_wave(slurm.model_copy(update={"max_array_size": 1, "retries": 0}), made)
    assert done.is_set() and runs(tmp_path, 2) == [1, 1]
    assert {row["after"] for row in watched} == {"(null)"}


def test_slurm_rejects_the_resources_of_a_stage_before_the_build(slurm: Slurm, tmp_path: Path) -> None:
    profile = Slurm.model_validate({**slurm.model_dump(), "stages": {"dedup": {"partition": "nowhere"}}})
    with pytest.raises(InputError, match=r"Slurm rejects the resources of the stage dedup: .*partition"):
        profile.check(tmp_path)


@pytest.mark.own_process
def test_ray_reserves_the_resources_of_each_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    profile = Ray.model_validate(
        {"executor": "ray", "workers": 2, "memory_per_cpu": 1, "stages": {"dedup": {"cpus_per_task": 2}}}
    )
    made, _ = mixed(tmp_path, ["grind", "refuse", "grind"], ["grind", "grind"])
    with profile.opened(tmp_path):
        with pytest.raises(CorpusError, match=r"^grind, task 1: the mill's gate is shut"):
            run_wave(profile, made)
        assert runs(tmp_path, 5) == [1] * 5
        assert [(tmp_path / f"cpus-{index}").read_text() for index in (3, 4)] == ["2", "2"]
        with pytest.raises(CorpusError, match="no Ray node has 4096 CPUs"):
            large = Ray.model_validate({**profile.model_dump(), "stages": {"dedup": {"cpus_per_task": 4096}}})
            run_wave(large, mixed(tmp_path, ["grind"], ["grind"])[0])


def test_a_failed_task_does_not_stop_the_rest_of_its_element(slurm: Slurm, tmp_path: Path) -> None:
    made, _ = wave(tmp_path, "refuse", "grind", "break", "grind")
    with pytest.raises(CorpusError) as failed:
        run_wave(slurm.model_copy(update={"tasks_per_job": 4}), made)
    assert runs(tmp_path, 4) == [1] * 4 and made.unfinished() == [0, 2]
    assert "the mill's gate is shut" in str(failed.value) and "the wheel is broken" in str(failed.value)


@pytest.mark.parametrize("workers", [1, 2, 3, 4, 5, 7, 100, 5000])
def test_workers_are_the_limit_over_all_arrays(workers: int) -> None:
    profile = Slurm(partition="cpu")
    arrays = [_Array(profile, [[0]] * size) for size in (1001, 1001, 3, 500)]
    limited = _limited(arrays, workers)
    assert [array.batches for array in limited] == [array.batches for array in arrays]
    assert all(array.limit for array in limited)
    at_once = [array for array in limited if array.after is None]
    assert sum(array.limit or 0 for array in at_once) == workers
    assert all((array.after is None) == (number < workers) for number, array in enumerate(limited))
    assert _limited(arrays, None) == arrays


def test_arrays_of_a_wave_have_even_sizes(tmp_path: Path) -> None:
    made, _ = wave(tmp_path, *["grind"] * 11)
    arrays = Slurm(partition="cpu", max_array_size=2, tasks_per_job=2)._arrays(made)
    assert [[len(batch) for batch in array.batches] for array in arrays] == [[2, 2], [2, 2], [2, 1]]


def test_stage_names_are_those_of_the_plan(tmp_path: Path) -> None:
    write_sources(tmp_path / "files")
    plan = make_plan(read_recipe(write_recipe(tmp_path)), tmp_path, Access(tmp_path / "cache"))
    assert {job.kind for job in plan.jobs} == set(stage_names())
