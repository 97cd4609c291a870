"""Both kinds of output: the same calls leave the same files."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from corpus.errors import InputError
from corpus.fetch.access import S3
from corpus.fetch.output import MARKER, BucketOutput, FolderOutput, open_output, working_copy
from tests.s3_server import s3_server


@pytest.fixture(params=["folder", "bucket"])
def output(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FolderOutput]:
    if request.param == "folder":
        yield open_output(tmp_path / "out")
        return
    with s3_server(monkeypatch, "corpora"):
        yield open_output(working_copy("s3://corpora/out", tmp_path / "cache", S3()))


def test_files_are_written_listed_and_removed(output: FolderOutput) -> None:
    job = output.folder / "jobs" / "text.web-0"
    job.mkdir(parents=True)
    (job / "a.parquet").write_bytes(b"abc")
    output.push([job / "a.parquet"])
    output.write(job / "tasks" / "00000.json", "{}\n", job / "tmp")
    assert output.sizes(job) == {"a.parquet": 3, "tasks/00000.json": 3}
    assert output.sizes(job / "nothing") == {}
    assert output.pull(job / "a.parquet") and not output.pull(job / "b.parquet")
    output.remove(job / "a.parquet")
    output.remove(job / "a.parquet")  # a missing one is no error
    assert output.sizes(job) == {"tasks/00000.json": 3} and not output.pull(job / "a.parquet")


def test_lost_local_files_come_back_from_the_bucket_only(output: FolderOutput) -> None:
    path = output.folder / "jobs" / "text.web-0" / "job.json"
    output.write(path, "{}\n", output.folder / "logs")
    path.unlink()
    assert output.pull(path) == isinstance(output, BucketOutput)
    output.pull_all()
    assert path.is_file() == isinstance(output, BucketOutput)


def test_an_output_is_named_as_its_user_knows_it(output: FolderOutput) -> None:
    bucket = (output.folder / MARKER).is_file()
    assert output.name == ("s3://corpora/out" if bucket else str(output.folder))
    if bucket:
        with pytest.raises(InputError, match=r"local copy of s3://corpora/out; prune supports local outputs only"):
            output.require_local("prune")
    else:
        output.require_local("prune")


@pytest.mark.parametrize("url", ["s3://", "s3://bucket", "s3://bucket//x", "s3://bucket/../x", "s3:///x"])
def test_an_invalid_output_address_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected s3://BUCKET/FOLDER"):
        working_copy(url, tmp_path, S3())
