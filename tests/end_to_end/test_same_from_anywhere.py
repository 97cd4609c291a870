"""The same files from a disk, over HTTP, from S3, or read where they lie: the same corpus.

Fails if an address, a name of a server or an ETag enters what stands behind acquire.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from pipelines.executors.local import Local
from pipelines.run import build
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


def behind_acquire(out: Path) -> dict[str, str]:
    return {
        name: digest for name, digest in products(out).items() if not name.startswith(("jobs/acquire.", "build.json"))
    }


def built(recipe: Path, out: Path, *assignments: str) -> dict[str, str]:
    place = Local(workers=1, cache=str(out.parent / "cache"))
    build(recipe, out=out, place=place, assignments=assignments, console=Console(quiet=True))
    return behind_acquire(out)


def paths(where: str, *, glob: bool) -> list[str]:
    web = [f"{where}/web-*"] if glob else [f"{where}/web-a.jsonl", f"{where}/web-b.jsonl.gz"]
    return [f"sources.books.paths={json.dumps([f'{where}/books.jsonl'])}", f"sources.web.paths={json.dumps(web)}"]


def test_files_make_the_same_corpus_wherever_they_lie(tmp_path: Path, files: Path, bucket: str) -> None:
    recipe = write_recipe(tmp_path)
    local = built(recipe, tmp_path / "local")
    assert built(recipe, tmp_path / "s3", *paths(bucket, glob=True)) == local
    with http_server(files) as server:
        assert built(recipe, tmp_path / "http", *paths(server.url, glob=False)) == local
        moved = [*paths(server.url, glob=False)]
    assert built(recipe, tmp_path / "file", *paths(f"file://{files}", glob=True)) == local
    assert moved


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
