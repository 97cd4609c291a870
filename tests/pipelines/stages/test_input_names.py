"""Names of a source's files are unique and contain no folder of a machine."""

import json
from pathlib import Path

from rich.console import Console

from corpus.fetch.base_store import path_parts
from pipelines.build import build
from pipelines.engine.executors.local import Local
from tests.hostile_server import hostile_server
from tests.small_build import write_recipe, write_sources


def test_path_parts_of_s3_keys_are_not_url_decoded() -> None:
    assert path_parts("s3://bucket/a?b/part #1%20.jsonl.gz") == ("bucket", "a?b", "part #1%20.jsonl.gz")
    assert path_parts("https://host:8/a%20b/c.gz?token=x#y") == ("host:8", "a b", "c.gz")
    assert path_parts("https://host/download/") == ("host", "download")


def test_urls_that_differ_only_in_their_query_get_distinct_names(tmp_path: Path) -> None:
    """Fails if the name ignores the query, or contains it as it is: it may hold a signature."""
    write_sources(tmp_path / "files")
    recipe = write_recipe(tmp_path)
    with hostile_server() as server:
        lines = (tmp_path / "files" / "books.jsonl").read_bytes().splitlines(keepends=True)
        urls = [
            server.add("/download?id=1&signature=secret", b"".join(lines[:40])),
            server.add("/download?id=2&signature=secret", b"".join(lines[40:])),
        ]
        out = tmp_path / "out"
        profile = Local(workers=1, cache=str(tmp_path / "cache"))
        assignments = [f"sources.books.paths={json.dumps(urls)}"]
        build(recipe, out=out, profile=profile, assignments=assignments, console=Console(quiet=True))
    [facts] = [json.loads(path.read_text()) for path in out.glob("jobs/clean.books-*/job.json")]
    assert facts["ledger"]
    written = b"".join(path.read_bytes() for path in [out / "report.html", *out.glob("jobs/*/**/*.json")])
    assert b"download?" in written and b"secret" not in written
