"""A build with its output on S3 has the same bytes as one on disk, whatever is lost from the copy or the bucket.

Verified to fail if a task manifest is written locally before it is uploaded (a killed task then counts as done), and if
products are taken from the local copy without asking the bucket (a deleted object then stays missing).
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from corpus.fetch.output import working_copy
from pipelines.build import build
from pipelines.engine.executors.local import Local
from tests.end_to_end.builds import finish, kill_inside, products, start
from tests.s3_server import s3_server, stored
from tests.small_build import write_recipe, write_sources

URL = "s3://corpora/tiny"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with s3_server(monkeypatch, "corpora") as url:
        yield url


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recipe")
    write_sources(folder / "files")
    return write_recipe(folder)


@pytest.fixture(scope="module")
def on_disk(recipe: Path) -> dict[str, str]:
    out = recipe.parent / "out"
    build(recipe, out=out, profile=local_profile(recipe), console=Console(quiet=True))
    return products(out)


def local_profile(recipe: Path) -> Local:
    return Local(workers=1, cache=str(recipe.parent / "cache"))


def objects(server: str, output: str = "tiny") -> dict[str, str]:
    """Return the SHA-256 of every product in the bucket, by name."""
    return stored(server, output)


def test_build_on_s3_has_the_same_bytes_as_on_disk(recipe: Path, on_disk: dict[str, str], server: str) -> None:
    copy = build(recipe, out=URL, profile=local_profile(recipe), console=Console(quiet=True))
    assert objects(server) == on_disk
    shutil.rmtree(copy)  # as on another machine, which has no local copy
    console = Console(record=True, width=200, quiet=False, file=(recipe.parent / "log").open("w"))
    build(recipe, out=URL, profile=local_profile(recipe), console=console)
    assert f"up to date in {URL}" in console.export_text()
    assert objects(server) == on_disk


def test_objects_lost_from_the_bucket_are_built_again(recipe: Path, on_disk: dict[str, str], server: str) -> None:
    import boto3

    build(recipe, out=URL, profile=local_profile(recipe), console=Console(quiet=True))
    lost = [name for name in on_disk if name.endswith((".arrow", "text-00000.parquet", "manifest.json"))]
    for name in lost:
        boto3.client("s3", endpoint_url=server).delete_object(Bucket="corpora", Key=f"tiny/{name}")
    assert len(objects(server)) < len(on_disk)
    build(recipe, out=URL, profile=local_profile(recipe), console=Console(quiet=True))
    assert objects(server) == on_disk


@pytest.mark.parametrize("job", ["clean.web", "dedup", "report"])
def test_killed_build_resumes(job: str, recipe: Path, on_disk: dict[str, str], server: str, tmp_path: Path) -> None:
    from corpus.fetch.access import S3

    for name in ("tiny", "tiny-2", "tiny-3"):  # a job of milliseconds may end before the kill
        out = f"s3://corpora/{name}"
        process = start(recipe, out)  # type: ignore[arg-type]
        if kill_inside(process, working_copy(out, tmp_path / "cache" / "gristmill", S3()), job):
            break
    finish(start(recipe, out))  # type: ignore[arg-type]
    assert objects(server, name) == on_disk


def test_commands_read_a_build_on_s3(recipe: Path, server: str, capsys: pytest.CaptureFixture[str]) -> None:
    from corpus.cli import app

    build(recipe, out=URL, profile=local_profile(recipe), console=Console(quiet=True))
    with pytest.raises(SystemExit) as stopped:
        app(["verify", URL], standalone_mode=True)
    assert not stopped.value.code
    assert "OK:" in capsys.readouterr().out


def test_job_without_manifest_in_the_bucket_runs_again(recipe: Path, on_disk: dict[str, str], server: str) -> None:
    """Fails if the local copy of the manifest counts: another machine would find a damaged build."""
    import boto3

    build(recipe, out=URL, profile=local_profile(recipe), console=Console(quiet=True))
    [lost] = [name for name in on_disk if name.startswith("jobs/text.books-") and name.endswith("/job.json")]
    boto3.client("s3", endpoint_url=server).delete_object(Bucket="corpora", Key=f"tiny/{lost}")
    build(recipe, out=URL, profile=local_profile(recipe), console=Console(quiet=True))
    assert objects(server) == on_disk


def test_products_with_names_of_temporary_files_are_pushed_and_pulled(server: str, tmp_path: Path) -> None:
    """Fails if names alone mark temporary files: archives contain `.preface.txt` and folders called `tmp`."""
    from corpus.fetch.access import S3
    from corpus.fetch.output import open_output

    names = ("jobs/fetch.p-0/files/00000/p==1/.preface.txt", "jobs/fetch.p-0/files/00000/tmp/a.txt")
    copies = [working_copy(URL, tmp_path / machine, S3()) for machine in ("here", "elsewhere")]
    for name in names:
        (copies[0] / name).parent.mkdir(parents=True, exist_ok=True)
        (copies[0] / name).write_text("grist")
    outputs = [open_output(copy) for copy in copies]
    outputs[0].push(copies[0] / name for name in names)
    (copies[1] / "jobs" / "fetch.p-0" / "tmp").mkdir(parents=True)
    (copies[1] / "jobs" / "fetch.p-0" / "tmp" / "half").write_text("of a task at work")
    outputs[1].pull_all()
    assert [(copies[1] / name).read_text() for name in names] == ["grist"] * 2
    assert (copies[1] / "jobs" / "fetch.p-0" / "tmp" / "half").is_file()


def test_files_of_the_local_copy_are_not_downloaded_again(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails if the ETag of a multipart upload or of an encrypted object cannot be matched with the local file."""
    import boto3

    from corpus.fetch import output
    from corpus.fetch.access import S3
    from corpus.fetch.output import BucketOutput, open_output

    downloaded: list[str] = []
    download = BucketOutput._download
    monkeypatch.setattr(
        BucketOutput, "_download", lambda self, path: downloaded.append(path.name) or download(self, path)
    )
    monkeypatch.setattr(output, "PART_BYTES", 5 * 2**20)
    copy = working_copy(URL, tmp_path / "here", S3())
    names = [f"jobs/text.p-0/{size}" for size in (1, 12 * 2**20)]
    (copy / "jobs" / "text.p-0").mkdir(parents=True)
    for name in names:
        (copy / name).write_bytes(b"x" * int(name.rpartition("/")[2]))
    bucket = open_output(copy)
    bucket.push(copy / name for name in names)
    bucket.pull_all()
    assert downloaded == []
    monkeypatch.setattr(output, "_has_content", lambda *_: False)  # as of encrypted ones
    bucket.pull_all()
    assert downloaded == []
    boto3.client("s3", endpoint_url=server).put_object(Bucket="corpora", Key=f"tiny/{names[0]}", Body=b"y")
    (copy / names[1]).unlink()
    bucket.pull_all()
    assert downloaded == ["1", str(12 * 2**20)] and (copy / names[0]).read_bytes() == b"y"


def test_top_files_there_are_those_of_the_last_build(recipe: Path, on_disk: dict[str, str], server: str) -> None:
    """Fails if they are pushed only where the copy here differs: another machine may have built there since."""
    import boto3

    build(recipe, out=URL, profile=local_profile(recipe), console=Console(quiet=True))
    client = boto3.client("s3", endpoint_url=server)
    for name in ("build.json", "manifest.json"):
        client.put_object(Bucket="corpora", Key=f"tiny/{name}", Body=b"of another build")
    build(recipe, out=URL, profile=local_profile(recipe), console=Console(quiet=True))
    assert objects(server) == on_disk


def test_verify_is_refused_while_a_build_runs(recipe: Path, server: str) -> None:
    """Verify would delete files that the build has written and not uploaded yet."""
    from corpus.errors import CorpusError
    from corpus.inspect.find_build import find_build

    copy = build(recipe, out=URL, profile=Local(workers=1), console=Console(quiet=True))
    own = copy / "jobs" / "text.books-0123456789ab" / "text-00000.parquet"
    own.parent.mkdir()
    own.write_bytes(b"made a moment ago")
    program = (
        "import sys; from pathlib import Path; from corpus.store.lock import locked\n"
        "with locked(Path(sys.argv[1]), 'another build', ''): print('held', flush=True); sys.stdin.read()"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", program, str(copy)], stdin=pipe, stdout=pipe) as builder:
        assert builder.stdout is not None and builder.stdout.readline() == b"held\n"
        with pytest.raises(CorpusError, match="a build is at work here"):
            find_build(URL)
        builder.communicate(b"")
    assert own.is_file()


def test_verify_checks_the_objects_in_the_bucket(recipe: Path, server: str) -> None:
    """Fails if only the local copy is checked: in the bucket one shard has other bytes and another is gone."""
    import boto3

    from corpus.errors import CorpusError
    from corpus.inspect.find_build import find_build
    from corpus.inspect.verify import verify_build

    copy = build(recipe, out=URL, profile=Local(workers=1), console=Console(quiet=True))
    first, second = sorted(name for name in objects(server) if name.endswith(".arrow"))[:2]
    client = boto3.client("s3", endpoint_url=server)
    client.put_object(Bucket="corpora", Key=f"tiny/{first}", Body=b"x" * (copy / first).stat().st_size)
    client.delete_object(Bucket="corpora", Key=f"tiny/{second}")
    assert find_build(URL) == copy
    with pytest.raises(CorpusError) as raised:
        verify_build(copy)
    assert first in str(raised.value) and second in str(raised.value) and str(raised.value).startswith(f"{URL}: ")
    assert (copy / "logs").is_dir() and (copy / "run.json").is_file() and (copy / ".lock").is_file()


def test_missing_bucket_is_one_clear_error(recipe: Path, server: str) -> None:
    from corpus.errors import CorpusError

    with pytest.raises(CorpusError, match="check that the bucket exists"):
        build(recipe, out="s3://nowhere/tiny", profile=local_profile(recipe), console=Console(quiet=True))
