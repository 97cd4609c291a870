"""A local file that changes after the plan was made, or while it is read, is an error."""

from pathlib import Path

import pytest

from corpus.errors import CorpusError
from corpus.fetch.access import Access
from corpus.recipe import read_recipe
from pipelines.engine.job_output import JobOutput
from pipelines.plan import make_plan
from pipelines.stages.fetch import FetchStage
from tests.small_build import write_recipe, write_sources


@pytest.fixture
def fetch(tmp_path: Path) -> FetchStage:
    """Return the job that fetches the source `books`, a file of this machine."""
    write_sources(tmp_path / "files")
    plan = make_plan(read_recipe(write_recipe(tmp_path)), tmp_path, Access(tmp_path / "cache"))
    return plan.job(FetchStage, "books")


def change(folder: Path) -> None:
    with (folder / "files" / "books.jsonl").open("a") as file:
        file.write("\n")


def test_a_file_that_changed_before_it_was_fetched_is_refused(fetch: FetchStage, tmp_path: Path) -> None:
    change(tmp_path)
    with pytest.raises(CorpusError, match=r"books\.jsonl: changed since the plan was made.*Build again"):
        fetch.run_task(tmp_path / "out", 0)


def test_a_file_that_changes_while_it_is_read_is_refused(fetch: FetchStage, tmp_path: Path) -> None:
    """Verified to fail if the file is checked only when it is opened."""
    fetch.run_task(tmp_path / "out", 0)
    (file,) = fetch.files(JobOutput(tmp_path / "out", fetch))
    with pytest.raises(CorpusError, match="changed since the plan was made"), file.opened(tmp_path / "named") as path:
        assert path == tmp_path / "files" / "books.jsonl", "a file of this machine is read where it is"
        change(tmp_path)
    with pytest.raises(CorpusError, match="changed since the plan was made"), file.opened(tmp_path / "named"):
        pytest.fail("opened a file that had changed before")
