"""The same bytes, whatever happens: kills, workers, the order of paths.

Each of these was tried on purpose, and fails here:
- `Task._commit` writes the manifest before it publishes the products: tests/pipelines/engine/test_task.py;
- `publish` renames before it syncs, or does not sync the folder: the same;
- `Task.run` does not ask for the manifest of a task that is done, or `Done.missing` forgets one: here;
- a reader's cuts depend on the part that asks: here, by other numbers of bytes a task in tests/corpus/sources.
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
    """A recipe, its uninterrupted build, and how long that took."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    recipe = write_recipe(folder, data)
    begun = time.monotonic()
    finish(start(recipe, folder / "out"))
    return recipe, folder / "out", time.monotonic() - begun


def test_the_small_build_is_cut_as_the_kills_need_it(built: tuple[Path, Path, float]) -> None:
    _, out, _ = built
    for job in sorted(PARALLEL):
        tasks = list(out.glob(f"jobs/{job}-*/tasks/*.json"))
        assert len(tasks) >= 3, job
    cut = [path.read_text() for path in out.glob("jobs/fetch.web-*/tasks/*.json")]
    assert any('"cuts": [\n' in text for text in cut), "no input file is cut across tasks"


def test_killed_once_inside_each_job(built: tuple[Path, Path, float], tmp_path: Path) -> None:
    recipe, whole, _ = built
    out = tmp_path / "out"
    for job in JOBS:
        for _ in range(10):
            if kill_inside(start(recipe, out), out, job):
                break
            for folder in out.glob(f"jobs/{job}-*"):  # it ended before the kill: let it run once more
                shutil.rmtree(folder)
        else:
            pytest.fail(f"no kill landed inside {job}")
    finish(start(recipe, out))
    assert products(out) == products(whole)


def kill_at_random(built: tuple[Path, Path, float], out: Path, kills: int, seed: int) -> None:
    recipe, whole, seconds = built
    moments = random.Random(seed)
    landed = 0
    while landed < kills:
        process = start(recipe, out)
        wait_for_a_task(process, out)
        time.sleep(moments.uniform(0, 0.5 * seconds))
        if process.poll() is None:
            kill_group(process)
            landed += 1
        else:  # what was left took less than that: begin again
            finish(process)
            assert products(out) == products(whole)
            shutil.rmtree(out)
    finish(start(recipe, out))
    assert products(out) == products(whole)


def test_killed_at_random_moments(built: tuple[Path, Path, float], tmp_path: Path) -> None:
    kill_at_random(built, tmp_path / "out", kills=8, seed=1)


@pytest.mark.slow
def test_killed_at_many_random_moments(built: tuple[Path, Path, float], tmp_path: Path) -> None:
    kill_at_random(built, tmp_path / "out", kills=25, seed=2)


@pytest.mark.parametrize("workers", [1, 3])
def test_any_number_of_workers(built: tuple[Path, Path, float], tmp_path: Path, workers: int) -> None:
    recipe, whole, _ = built
    finish(start(recipe, tmp_path / "out", workers=workers))
    assert products(tmp_path / "out") == products(whole)


def test_paths_and_sources_in_another_order(built: tuple[Path, Path, float], data: Path, tmp_path: Path) -> None:
    _, whole, _ = built
    finish(start(write_recipe(tmp_path, data, reverse=True), tmp_path / "out"))
    assert products(tmp_path / "out") == products(whole)


def test_a_killed_worker_stops_the_build_and_says_so(built: tuple[Path, Path, float], tmp_path: Path) -> None:
    """As the kernel does when memory runs out: just one worker. datatrove's pool alone would wait for ever."""
    recipe, whole, _ = built
    out = tmp_path / "out"
    process = start(recipe, out)
    workers: set[int] = set()
    while not workers:
        assert process.poll() is None, "no worker was seen at work"
        found = {int(path.suffix[1:]) for path in out.glob("jobs/clean.*/tmp/*")}
        workers = found - {process.pid}
    os.kill(workers.pop(), signal.SIGKILL)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert b"a worker process was killed" in output and b"build again to go on" in output
    finish(start(recipe, out))
    assert products(out) == products(whole)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_build_alone_is_killed_and_called_again_at_once(
    built: tuple[Path, Path, float], tmp_path: Path, number: signal.Signals
) -> None:
    """Its workers may still be at work: they hold no lock, and write the same bytes if they write."""
    recipe, whole, _ = built
    out = tmp_path / "out"
    process = start(recipe, out)
    wait_for_a_task(process, out)
    assert process.poll() is None
    os.kill(process.pid, number)
    process.wait(timeout=60)
    finish(start(recipe, out))
    assert products(out) == products(whole)
    output, _ = process.communicate(timeout=60)
    assert number == signal.SIGKILL or (process.returncode == 130 and b"stopped; what was finished is kept" in output)


def test_a_product_that_is_gone_is_made_again(built: tuple[Path, Path, float], tmp_path: Path) -> None:
    recipe, whole, _ = built
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    for shard in (*out.glob("jobs/mix.web-*/*.arrow"), *out.glob("jobs/text.records-*/text-00001.parquet")):
        shard.unlink()
    next(out.glob("jobs/clean.web-*/kept-00000.parquet")).write_bytes(b"short")
    finish(start(recipe, out))
    assert products(out) == products(whole)
