"""What the files of a source are called: by no machine's folders, and never two of them alike."""

import json
from pathlib import Path

from rich.console import Console

from corpus.fetch.base_store import path_parts
from pipelines.build import build
from pipelines.engine.executors.local import Local
from tests.hostile_server import hostile_server
from tests.small_build import write_recipe, write_sources


def test_keys_of_s3_are_no_urls() -> None:
    assert path_parts("s3://bucket/a?b/part #1%20.jsonl.gz") == ("bucket", "a?b", "part #1%20.jsonl.gz")
    assert path_parts("https://host:8/a%20b/c.gz?token=x#y") == ("host:8", "a b", "c.gz")
    assert path_parts("https://host/download/") == ("host", "download")


def test_addresses_that_differ_in_their_query_alone(tmp_path: Path) -> None:
    """Fails if a query is no part of the name, or stands in it as it is: it may hold a signature."""
    write_sources(tmp_path / "files")
    recipe = write_recipe(tmp_path)
    with hostile_server() as server:
        lines = (tmp_path / "files" / "books.jsonl").read_bytes().splitlines(keepends=True)
        urls = [
            server.add("/download?id=1&signature=secret", b"".join(lines[:40])),
            server.add("/download?id=2&signature=secret", b"".join(lines[40:])),
        ]
        out = tmp_path / "out"
        place = Local(workers=1, cache=str(tmp_path / "cache"))
        assignments = [f"sources.books.paths={json.dumps(urls)}"]
        build(recipe, out=out, profile=place, assignments=assignments, console=Console(quiet=True))
    [facts] = [json.loads(path.read_text()) for path in out.glob("jobs/clean.books-*/job.json")]
    assert facts["ledger"]
    told = b"".join(path.read_bytes() for path in [out / "report.html", *out.glob("jobs/*/**/*.json")])
    assert b"download?" in told and b"secret" not in told
