"""A crawl named by its id builds the same corpus from a folder, over HTTP and from S3, byte for byte.

Verified to fail if `at` stays among the settings of the clean stage: the manifests then differ.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from pipelines.build import build
from pipelines.engine.executors.local import Local
from tests.end_to_end.builds import products
from tests.fake_crawl import CRAWL, FolderServer, Member, http_server, read_members, upload, write_crawl
from tests.s3_server import s3_server


class CrawlCopies(NamedTuple):
    """Copies of one fake crawl: a folder, an HTTP server and a bucket. `at` holds the setting for each."""

    folder: Path
    members: list[Member]
    http: FolderServer
    at: dict[str, str]


@pytest.fixture(scope="module")
def crawl(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrawlCopies]:
    folder = tmp_path_factory.mktemp("crawl")
    members = read_members(data / "web/pages-00000.warc.gz")[:48]
    write_crawl(folder, members)
    with (
        pytest.MonkeyPatch.context() as patch,
        s3_server(patch, "commoncrawl") as endpoint,
        http_server(folder) as http,
    ):
        upload(folder, endpoint, "commoncrawl")
        yield CrawlCopies(folder, members, http, {"folder": str(folder), "http": http.url, "s3": "s3://commoncrawl"})


def write_recipe(folder: Path, at: str, **settings: object) -> Path:
    source = {"name": "web", "reader": "common_crawl", "crawl": CRAWL, "at": at, "share": 1, "license": "unknown",
              "identify_language": False, "rules": ["robots"], **settings}  # fmt: skip
    path = folder / "recipe.yaml"
    path.write_text(
        json.dumps(
            {
                "format_version": 1,
                "name": "crawl",
                "sources": [source],
                "tokenizer": {"train": {"vocabulary": 400, "sample_bytes": "50kB"}},
                "mix": {"partitions": 2},
                "task_bytes": 400_000,
            }
        )
    )
    return path


def build_digests(folder: Path, at: str, **settings: object) -> dict[str, str]:
    """Build, and return the digests of all products except those of fetch, which record the location."""
    folder.mkdir()
    profile = Local(workers=1, cache=str(folder / "cache"))
    out = build(write_recipe(folder, at, **settings), out=folder / "out", profile=profile, console=Console(quiet=True))
    digests = products(out)
    assert digests.pop("build.json")  # it names the job folders, and so that of fetch
    return {name: digest for name, digest in digests.items() if not name.startswith("jobs/fetch.")}


CHOICES: dict[str, dict[str, object]] = {
    "two of four files": {"segments": 2},
    "texts": {"segments": "50%", "files": "wet"},
    "some languages": {"select": {"languages": ["eng", "nld"], "status": [200]}},
    "some domains": {"select": {"domains": ["com"], "mime": ["text/html"]}},
}


@pytest.mark.parametrize("choice", CHOICES)
def test_crawl_builds_the_same_corpus_from_folder_http_and_s3(crawl: CrawlCopies, tmp_path: Path, choice: str) -> None:
    digests = {name: build_digests(tmp_path / name, at, **CHOICES[choice]) for name, at in crawl.at.items()}
    assert digests["http"] == digests["folder"] == digests["s3"]
    manifest = json.loads((tmp_path / "http/out/manifest.json").read_text())
    assert sum(name.endswith(".arrow") and "/mix." in name for name in digests["http"]) >= 2
    assert manifest["tokens_got"] > 5000


def test_only_selected_records_are_downloaded(crawl: CrawlCopies, tmp_path: Path) -> None:
    crawl.http.requests.clear()
    build_digests(tmp_path / "a", crawl.at["http"], select={"languages": ["fra"]}, opt_out=[])
    requested = [path for method, path, span in crawl.http.requests if method == "GET" and "/warc/CC-MAIN" in path]
    without_range = [path for method, path, span in crawl.http.requests if method == "GET" and span is None]
    assert requested and not any("/warc/CC-MAIN" in path for path in without_range)


def test_opt_out_lists_are_identified_by_content(crawl: CrawlCopies, tmp_path: Path) -> None:
    hosts = sorted({member.url.split("/")[2] for member in crawl.members})
    for name, opted_out in (("a.txt", hosts[:10]), ("b.txt", hosts[10:20])):
        (tmp_path / name).write_text("".join(f"{host}\n" for host in opted_out))
    at = crawl.at["folder"]
    one = build_digests(tmp_path / "one", at, opt_out=[str(tmp_path / "a.txt")])
    other = build_digests(tmp_path / "other", at, opt_out=[str(tmp_path / "b.txt")])
    none = build_digests(tmp_path / "none", at)
    assert len({digests["manifest.json"] for digests in (one, other, none)}) == 3
    records = (
        row for path in (tmp_path / "one/out").rglob("records-*.parquet") for row in pq.read_table(path).to_pylist()
    )
    skipped = sum(row["reason"] == "opt_out" for row in records)
    assert skipped == sum(member.url.split("/")[2] in hosts[:10] for member in crawl.members)
