"""Ray and Slurm build the same bytes as one machine, also when Slurm tasks or the build itself are killed.

Verified to fail if killed array elements are not run again, and if the array of a killed build keeps running beside
the next build.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from corpus.fetch.access import S3
from corpus.fetch.cache import cache_path
from corpus.fetch.output import MARKER, working_copy
from corpus.fetch.package_index import known_archive, parse_address
from corpus.quality.language import MODEL
from pipelines.engine.executors.local import Local
from pipelines.engine.executors.slurm import arrays_name
from tests.end_to_end.builds import finish, kill_group, products, start, write_recipe
from tests.s3_server import s3_server, stored
from tests.slurm_here import SLURM_PROFILE, slurm_skip_reason

QUICKSTART = Path(__file__).parents[2] / "recipes" / "quickstart.yaml"
RAY_PROFILE: dict[str, object] = {"executor": "ray", "workers": 2, "memory_per_cpu": 1}


def start_on(recipe: Path, out: Path, profile: dict[str, object], url: str | None = None) -> subprocess.Popen[bytes]:
    """Start `corpus build --on` a profile with these settings, into the folder `out` or to `url`."""
    file = out.with_suffix(".profile.yaml")
    file.write_text(json.dumps(profile))
    command = [sys.executable, "-m", "corpus", "build", str(recipe), "--out", url or str(out), "--on", str(file)]
    return subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@pytest.fixture
def slurm() -> None:
    if reason := slurm_skip_reason():
        pytest.skip(reason)


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the digests of recipes/quickstart.yaml built by two local workers."""
    paths = [path for source in yaml.safe_load(QUICKSTART.read_text())["sources"] for path in source["paths"]]
    cache = Local().cache_folder
    for address in map(parse_address, [*paths, MODEL]):
        assert address is not None
        if (archive := known_archive(address, cache)) is None or not cache_path(archive, cache).is_file():
            pytest.skip(f"needs the quickstart's packages in {cache}: run python -m tests.fetch_models")
    out = tmp_path_factory.mktemp("quickstart") / "out"
    finish(start(QUICKSTART, out))
    return products(out)


def test_one_worker_builds_the_same_quickstart(quickstart: dict[str, str], tmp_path: Path) -> None:
    finish(start(QUICKSTART, tmp_path / "out", workers=1))
    assert products(tmp_path / "out") == quickstart


def test_three_workers_build_the_same_quickstart_on_s3(
    quickstart: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The objects in the bucket and the files of the local copy are both equal."""
    cache = tmp_path / "cache"
    profile: dict[str, object] = {"executor": "local", "workers": 3, "cache": str(cache)}
    cache.mkdir()
    for folder in Local().cache_folder.iterdir():
        if folder.name != "outputs":
            (cache / folder.name).symlink_to(folder)
    with s3_server(monkeypatch, "corpora") as server:
        finish(start_on(QUICKSTART, tmp_path / "out", profile, url="s3://corpora/quickstart"))
        assert stored(server, "quickstart") == quickstart
    copy = products(working_copy("s3://corpora/quickstart", cache, S3()))
    assert copy.pop(MARKER) and copy == quickstart


def test_ray_builds_the_same_quickstart(quickstart: dict[str, str], tmp_path: Path) -> None:
    pytest.importorskip("ray")
    finish(start_on(QUICKSTART, tmp_path / "out", RAY_PROFILE))
    assert products(tmp_path / "out") == quickstart


@pytest.mark.usefixtures("slurm")
def test_slurm_builds_the_same_quickstart(quickstart: dict[str, str], tmp_path: Path) -> None:
    finish(start_on(QUICKSTART, tmp_path / "out", {**SLURM_PROFILE, "tasks_per_job": 11}))  # 22 tasks fill two elements
    assert products(tmp_path / "out") == quickstart


def queued_elements(out: Path) -> Sequence[str]:
    """Return the ids of the build's array elements that wait or run."""
    command = ["squeue", "-h", "-r", f"--name={arrays_name(out)}", "-o", "%i"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def leave_the_queue(out: Path, ids: Sequence[str]) -> bool:
    """Wait up to a minute; return True if these elements left the queue."""
    deadline = time.monotonic() + 60
    while (waiting := set(ids) & set(queued_elements(out))) and time.monotonic() < deadline:
        time.sleep(0.2)
    return not waiting


def wait_for_task(process: subprocess.Popen[bytes], out: Path, job: str) -> int:
    """Wait for a task of this job and return its process id. Folders left by an earlier build are ignored."""
    while process.poll() is None:
        for folder in out.glob(f"jobs/{job}-*/tmp/[0-9]*.[0-9]*"):
            with contextlib.suppress(OSError):
                if b"launch_pickled_pipeline" in Path(f"/proc/{folder.suffix[1:]}/cmdline").read_bytes():
                    return int(folder.suffix[1:])
        time.sleep(0.01)
    raise AssertionError(f"the build ended before {job}")


@pytest.mark.usefixtures("slurm")
def test_stopped_and_killed_slurm_builds_resume_with_the_same_bytes(data: Path, tmp_path: Path) -> None:
    recipe, out = write_recipe(tmp_path, data), tmp_path / "out"
    finish(start(recipe, tmp_path / "local"))
    profile = {**SLURM_PROFILE, "tasks_per_job": 3}

    process = start_on(recipe, out, profile)
    wait_for_task(process, out, "clean.records")
    process.send_signal(signal.SIGTERM)
    output = process.communicate(timeout=60)[0].decode()
    assert process.returncode == 130 and "was cancelled; finished work is kept" in output
    assert leave_the_queue(out, queued_elements(out))

    process = start_on(recipe, out, profile)
    wait_for_task(process, out, "clean.records")
    kill_group(process)  # it cannot cancel its array now; the next build does
    remaining = queued_elements(out)
    assert remaining

    process = start_on(recipe, out, profile)
    assert leave_the_queue(out, remaining)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    for folder in out.glob("jobs/clean.records-*"):  # elements of the killed build may have finished all its tasks
        shutil.rmtree(folder)

    process = start_on(recipe, out, profile)
    os.kill(wait_for_task(process, out, "clean.records"), signal.SIGKILL)
    subprocess.run(["scancel", queued_elements(out)[-1]], check=True)
    (killed,) = re.findall(r"(\d+) of \d+ tasks were killed from outside; running them again", finish(process))
    assert int(killed) >= 2
    assert products(out) == products(tmp_path / "local")
