"""Build recipes/web_books_code.yaml with its addresses replaced by local servers of real files."""

import json
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.builds import finish
from tests.fake_crawl import http_server, read_members, write_crawl
from tests.s3_server import s3_server

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "recipes" / "web_books_code.yaml"
WIKIPEDIA = "wikipedia/enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
SOURCES = ("arxiv", "books", "code", "web", "wikipedia")


@pytest.fixture
def overrides(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Serve a crawl, a dump, books and repositories over HTTP and papers from S3; yield the settings that name them."""
    import boto3

    served = tmp_path / "served"
    write_crawl(
        served, [*read_members(data / "web/pages-00000.warc.gz"), *read_members(data / "web/pages-00001.warc.gz")]
    )
    _copy(data / WIKIPEDIA, served / "dump.xml.bz2")
    books = sorted((data / "gutenberg").glob("*.txt"))
    for book in books:
        _copy(book, served / "books" / book.name)
    _write_repositories(served)
    with s3_server(monkeypatch, "arxiv") as endpoint, http_server(served) as http:
        client = boto3.client("s3", endpoint_url=endpoint)
        client.upload_file(str(data / "arxiv/arXiv_src_1911_001.tar"), "arxiv", "src/arXiv_src_2401_001.tar")
        yield [
            f"sources.web.at={http.url}",
            "sources.web.segments=3",
            f"sources.wikipedia.paths={json.dumps([f'{http.url}/dump.xml.bz2'])}",
            f"sources.books.paths={json.dumps([f'{http.url}/books/{book.name}' for book in books])}",
            f"sources.code.paths={json.dumps([f'{http.url}/mill.tar.gz', f'{http.url}/wheel.zip'])}",
            "tokenizer.train.vocabulary=2048",
            "mix.tokens=1M",
            "task_bytes=2MB",
            "contact=mill@example.org",
        ]


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(source.read_bytes())


def _write_repositories(served: Path) -> None:
    """Write two archives of repositories as code hosts pack them, from our own code."""
    with tarfile.open(served / "mill.tar.gz", "w:gz") as archive:
        for path in sorted((ROOT / "corpus").rglob("*.py")):
            archive.add(path, f"mill-1.0/{path.relative_to(ROOT)}")
        archive.add(ROOT / "LICENSE", "mill-1.0/LICENSE")
    with zipfile.ZipFile(served / "wheel.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted((ROOT / "trainer").rglob("*.py")):
            packed.write(path, f"wheel-main/{path.relative_to(ROOT)}")
        packed.write(ROOT / "LICENSE", "wheel-main/LICENSE")


def test_build_command_builds_and_verify_confirms(overrides: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    settings = [word for setting in overrides for word in ("--set", setting)]
    command = [sys.executable, "-m", "corpus", "build", str(RECIPE), "--out", str(out), *settings]
    finish(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
    summary = json.loads((out / "summary.json").read_text())
    trained = {source["name"]: source["train"]["documents"] for source in summary["sources"]}
    assert set(trained) == set(SOURCES) and all(trained.values()), trained
    licenses = {str(row["license"]) for row in _texts(out, "code")}
    assert licenses == {"apache-2.0"}, "the license of the code is that of the LICENSE file beside it"
    papers = "\n".join(str(row["text"]) for row in _texts(out, "arxiv"))
    assert "\\documentclass" not in papers and "\\newcommand" not in papers
    tales = "\n".join(str(row["text"]) for row in _texts(out, "books"))
    assert "PROJECT GUTENBERG EBOOK" not in tales
    verified = subprocess.run([sys.executable, "-m", "corpus", "verify", str(out)], capture_output=True, text=True)
    assert verified.returncode == 0 and "OK:" in verified.stdout, verified.stderr


def _texts(out: Path, source: str) -> list[dict[str, object]]:
    import pyarrow.parquet as pq

    return [
        row for path in sorted(out.glob(f"jobs/text.{source}-*/*.parquet")) for row in pq.read_table(path).to_pylist()
    ]
