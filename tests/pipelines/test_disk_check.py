"""The disks of the output and of the cache, before a build."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from rich.console import Console

from corpus.errors import CorpusError
from corpus.fetch.base_store import FileInfo
from corpus.recipe import read_recipe
from pipelines import disk_check
from pipelines.build import build, run_plan
from pipelines.disk_check import check_disks, save_forecast
from pipelines.engine.executors.local import Local
from pipelines.inputs import Item
from pipelines.plan import Plan, make_plan
from tests.small_build import write_recipe, write_sources

GB = 10**9


class Disks:
    """Free bytes by folder; folders with different sizes are on different disks."""

    def __init__(self, **free: int) -> None:
        self.free = free

    def disk_usage(self, folder: Path) -> "Free":
        return Free(self.free[folder.name])

    def device(self, folder: Path) -> int:
        return self.free[folder.name]


class Free(NamedTuple):
    free: int


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """A plan with a remote file of 50 GB in the source `books`, and of local files in `web`."""
    write_sources(tmp_path / "files")
    recipe = read_recipe(write_recipe(tmp_path), [])
    for folder in ("out", "cache"):
        (tmp_path / folder).mkdir()
    plan = make_plan(recipe, tmp_path, Local(cache=str(tmp_path / "cache")).access())
    books, *others = plan.fetches
    remote = Item("file", "pages.warc.gz", FileInfo("https://web.example/pages.warc.gz", 50 * GB, "etag:1"), 0)
    return replace(plan, fetches=(replace(books, items=(remote,)), *others))


def check(plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **free: int) -> None:
    disks = Disks(**free)
    monkeypatch.setattr(disk_check, "_device", disks.device)
    monkeypatch.setattr(shutil, "disk_usage", disks.disk_usage)
    check_disks(plan, tmp_path / "out", tmp_path / "cache")


def test_downloads_need_room_in_the_cache(plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check(plan, tmp_path, monkeypatch, out=3 * GB, cache=51 * GB)
    with pytest.raises(CorpusError, match=r"cache: 49 GB free, but 50 GB of downloads are left to write; make room"):
        check(plan, tmp_path, monkeypatch, out=60 * GB, cache=49 * GB)


def test_the_output_needs_room_on_its_disk(plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CorpusError, match=r"out: 2 GB free, but 2\.5 GB of output are left .* --ignore-disk-check"):
        check(plan, tmp_path, monkeypatch, out=2 * GB, cache=60 * GB)


def test_needs_on_one_disk_add_up(plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CorpusError, match=r"out and .*cache: 51 GB free, but 2\.5 GB of output and 50 GB of downloads"):
        check(plan, tmp_path, monkeypatch, out=51 * GB, cache=51 * GB)


def test_streamed_files_are_not_kept(plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    books, *others = plan.fetches
    assert books.source is not None
    streamed = replace(books, source=books.source.model_copy(update={"stream": True}))
    check(replace(plan, fetches=(streamed, *others)), tmp_path, monkeypatch, out=3 * GB, cache=1)


def test_a_forecast_says_how_large_the_output_will_be(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_forecast(plan, tmp_path / "cache", 80.4 * GB)
    with pytest.raises(CorpusError, match=r"out: 79 GB free, but 80\.4 GB of output"):
        check(plan, tmp_path, monkeypatch, out=79 * GB, cache=60 * GB)
    other = replace(plan, recipe=plan.recipe.model_copy(update={"seed": 99}))
    check(other, tmp_path, monkeypatch, out=79 * GB, cache=60 * GB)  # a forecast of another recipe
    (tmp_path / "out" / plan.jobs[-1].folder).mkdir(parents=True)
    with (tmp_path / "out" / plan.jobs[-1].folder / "product").open("wb") as file:
        file.truncate(2 * GB)  # written already
    check(plan, tmp_path, monkeypatch, out=79 * GB, cache=60 * GB)


def test_what_was_read_is_not_downloaded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_sources(tmp_path / "files")
    profile = Local(workers=1, cache=str(tmp_path / "cache"))
    recipe = read_recipe(write_recipe(tmp_path), [])
    (tmp_path / "out").mkdir()
    plan = make_plan(recipe, tmp_path, profile.access())
    monkeypatch.setattr(disk_check, "LEAST_OUTPUT_PER_INPUT", 10**6)
    with pytest.raises(CorpusError, match="of output"):
        check(plan, tmp_path, monkeypatch, out=GB, cache=2 * GB)
    monkeypatch.undo()
    with profile.opened(tmp_path):
        run_plan(plan, tmp_path / "out", profile, Console(quiet=True))
    monkeypatch.setattr(disk_check, "LEAST_OUTPUT_PER_INPUT", 10**6)
    check(plan, tmp_path, monkeypatch, out=1, cache=0)


def test_the_check_can_be_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_sources(tmp_path / "files")
    recipe = write_recipe(tmp_path)
    monkeypatch.setattr(disk_check, "LEAST_OUTPUT_PER_INPUT", 10**9)
    profile = Local(workers=1, cache=str(tmp_path / "cache"))
    settings = {"out": tmp_path / "out", "profile": profile, "console": Console(quiet=True)}
    with pytest.raises(CorpusError, match="add --ignore-disk-check"):
        build(recipe, **settings)  # type: ignore[arg-type]
    assert (build(recipe, **settings, ignore_disk_check=True) / "manifest.json").is_file()  # type: ignore[arg-type]
