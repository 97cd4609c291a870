"""A build has the same bytes after kills, with any number of workers, and with paths in any order.

Verified to fail on each of these faults:
- `Task._commit` writes the manifest before it publishes the products (tests/pipelines/engine/test_task.py);
- `publish` renames a file before it syncs it, or does not sync the folder (the same file);
- `Task.run` ignores the manifest of a finished task, or `JobOutput.missing` omits one (this file);
- a reader's split points depend on the part that asks for them (this file, and task sizes in tests/corpus/sources).
"""

import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.end_to_end.builds import finish, kill_group, kill_inside, products, start, wait_for_a_task, write_recipe

JOBS = [
    "fetch.web", "fetch.records", "clean.web", "clean.records", "minhash.web", "minhash.records", "dedup",
    "text.web", "text.records", "tokenizer", "tokenize.web", "tokenize.records", "mix.web", "mix.records",
    "manifest", "report",
]  # fmt: skip
PARALLEL = {name for name in JOBS if "." in name}


@pytest.fixture(scope="module")
def built(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, float]:
    """Return a recipe, its uninterrupted build and the seconds that it took."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    recipe = write_recipe(folder, data)
    start_s = time.monotonic()
    finish(start(recipe, folder / "out"))
    return recipe, folder / "out", time.monotonic() - start_s


def test_small_build_has_enough_tasks_and_a_split_file(built: tuple[Path, Path, float]) -> None:
    _, out, _ = built
    for job in sorted(PARALLEL):
        tasks = list(out.glob(f"jobs/{job}-*/tasks/*.json"))
        assert len(tasks) >= 3, job
    fetch_manifests = [path.read_text() for path in out.glob("jobs/fetch.web-*/tasks/*.json")]
    assert any('"cuts": [\n' in text for text in fetch_manifests), "no input file is split across tasks"


def test_build_killed_once_in_each_job_has_the_same_bytes(built: tuple[Path, Path, float], tmp_path: Path) -> None:
    recipe, expected, _ = built
    out = tmp_path / "out"
    for job in JOBS:
        for _ in range(10):
            if kill_inside(start(recipe, out), out, job):
                break
            for folder in out.glob(f"jobs/{job}-*"):  # the job ended before the kill: delete its output and repeat
                shutil.rmtree(folder)
        else:
            pytest.fail(f"no kill landed inside {job}")
    finish(start(recipe, out))
    assert products(out) == products(expected)


def kill_at_random(built: tuple[Path, Path, float], out: Path, kills: int, seed: int) -> None:
    recipe, expected, seconds = built
    delays = random.Random(seed)
    landed = 0
    while landed < kills:
        process = start(recipe, out)
        wait_for_a_task(process, out)
        time.sleep(delays.uniform(0, 0.5 * seconds))
        if process.poll() is None:
            kill_group(process)
            landed += 1
        else:  # the build ended before the kill: start from nothing
            finish(process)
            assert products(out) == products(expected)
            shutil.rmtree(out)
    finish(start(recipe, out))
    assert products(out) == products(expected)


def test_build_killed_at_random_moments_has_the_same_bytes(built: tuple[Path, Path, float], tmp_path: Path) -> None:
    kill_at_random(built, tmp_path / "out", kills=8, seed=1)


@pytest.mark.slow
def test_build_killed_at_many_random_moments_has_the_same_bytes(
    built: tuple[Path, Path, float], tmp_path: Path
) -> None:
    kill_at_random(built, tmp_path / "out", kills=25, seed=2)


@pytest.mark.parametrize("workers", [1, 3])
def test_number_of_workers_does_not_change_the_bytes(
    built: tuple[Path, Path, float], tmp_path: Path, workers: int
) -> None:
    recipe, expected, _ = built
    finish(start(recipe, tmp_path / "out", workers=workers))
    assert products(tmp_path / "out") == products(expected)


def test_order_of_paths_and_sources_does_not_change_the_bytes(
    built: tuple[Path, Path, float], data: Path, tmp_path: Path
) -> None:
    _, expected, _ = built
    finish(start(write_recipe(tmp_path, data, reverse=True), tmp_path / "out"))
    assert products(tmp_path / "out") == products(expected)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_build_whose_parent_process_was_killed_can_start_again_at_once(
    built: tuple[Path, Path, float], tmp_path: Path, number: signal.Signals
) -> None:
    """Its workers may still run: they hold no lock, and whatever they write has the same bytes."""
    recipe, expected, _ = built
    out = tmp_path / "out"
    process = start(recipe, out)
    wait_for_a_task(process, out)
    assert process.poll() is None
    os.kill(process.pid, number)
    process.wait(timeout=60)
    finish(start(recipe, out))
    assert products(out) == products(expected)
    output, _ = process.communicate(timeout=60)
    assert number == signal.SIGKILL or (process.returncode == 130 and b"stopped; finished work is kept" in output)


def test_missing_and_truncated_products_are_built_again(built: tuple[Path, Path, float], tmp_path: Path) -> None:
    recipe, expected, _ = built
    out = tmp_path / "out"
    shutil.copytree(expected, out)
    for shard in (*out.glob("jobs/mix.web-*/*.arrow"), *out.glob("jobs/text.records-*/text-00001.parquet")):
        shard.unlink()
    next(out.glob("jobs/clean.web-*/kept-00000.parquet")).write_bytes(b"short")
    finish(start(recipe, out))
    assert products(out) == products(expected)
