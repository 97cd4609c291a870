"""A crawl by its id, from a folder, over HTTP and from S3: the same corpus, byte for byte.

Planted once: `at` left among the settings that clean looks at (the manifests differed).
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


class Places(NamedTuple):
    """Where one fake crawl lies."""

    folder: Path
    members: list[Member]
    http: FolderServer
    at: dict[str, str]


@pytest.fixture(scope="module")
def places(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    folder = tmp_path_factory.mktemp("crawl")
    members = read_members(data / "web/pages-00000.warc.gz")[:48]
    write_crawl(folder, members)
    with (
        pytest.MonkeyPatch.context() as patch,
        s3_server(patch, "commoncrawl") as endpoint,
        http_server(folder) as http,
    ):
        upload(folder, endpoint, "commoncrawl")
        yield Places(folder, members, http, {"folder": str(folder), "http": http.url, "s3": "s3://commoncrawl"})


def recipe(folder: Path, at: str, **given: object) -> Path:
    source = {"name": "web", "reader": "common_crawl", "crawl": CRAWL, "at": at, "share": 1, "license": "unknown",
              "identify_language": False, "rules": ["robots"], **given}  # fmt: skip
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


def built(folder: Path, at: str, **given: object) -> dict[str, str]:
    """The digests of all products of a build but those of fetch, which knows where things lie."""
    folder.mkdir()
    place = Local(workers=1, cache=str(folder / "cache"))
    out = build(recipe(folder, at, **given), out=folder / "out", profile=place, console=Console(quiet=True))
    found = products(out)
    assert found.pop("build.json")  # names the folders of jobs, so also that of fetch
    return {name: digest for name, digest in found.items() if not name.startswith("jobs/fetch.")}


CHOICES: dict[str, dict[str, object]] = {
    "two of four files": {"segments": 2},
    "texts": {"segments": "50%", "files": "wet"},
    "some languages": {"select": {"languages": ["eng", "nld"], "status": [200]}},
    "some domains": {"select": {"domains": ["com"], "mime": ["text/html"]}},
}


@pytest.mark.parametrize("choice", CHOICES)
def test_a_crawl_gives_the_same_corpus_wherever_it_lies(places: Places, tmp_path: Path, choice: str) -> None:
    made = {name: built(tmp_path / name, at, **CHOICES[choice]) for name, at in places.at.items()}
    assert made["http"] == made["folder"] == made["s3"]
    manifest = json.loads((tmp_path / "http/out/manifest.json").read_text())
    assert sum(name.endswith(".arrow") and "/mix." in name for name in made["http"]) >= 2
    assert manifest["tokens_got"] > 5000


def test_what_is_selected_is_all_that_is_read(places: Places, tmp_path: Path) -> None:
    places.http.requests.clear()
    built(tmp_path / "a", places.at["http"], select={"languages": ["fra"]}, opt_out=[])
    asked = [path for method, path, span in places.http.requests if method == "GET" and "/warc/CC-MAIN" in path]
    whole = [path for method, path, span in places.http.requests if method == "GET" and span is None]
    assert asked and not any("/warc/CC-MAIN" in path for path in whole)


def test_opt_out_lists_decide_by_what_they_hold(places: Places, tmp_path: Path) -> None:
    hosts = sorted({member.url.split("/")[2] for member in places.members})
    for name, listed in (("a.txt", hosts[:10]), ("b.txt", hosts[10:20])):
        (tmp_path / name).write_text("".join(f"{host}\n" for host in listed))
    at = places.at["folder"]
    one = built(tmp_path / "one", at, opt_out=[str(tmp_path / "a.txt")])
    other = built(tmp_path / "other", at, opt_out=[str(tmp_path / "b.txt")])
    none = built(tmp_path / "none", at)
    assert len({each["manifest.json"] for each in (one, other, none)}) == 3
    records = (
        row for path in (tmp_path / "one/out").rglob("records-*.parquet") for row in pq.read_table(path).to_pylist()
    )
    skipped = sum(row["reason"] == "opt_out" for row in records)
    assert skipped == sum(member.url.split("/")[2] in hosts[:10] for member in places.members)
