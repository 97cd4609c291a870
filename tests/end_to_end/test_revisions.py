"""Output that changes without its fingerprint fails here: raise the REVISION beside the code that changed.

`revisions.json` holds, for each job of a build over generated text, a hash of its settings and a digest of its output.
After raising a REVISION, run `python tests/end_to_end/test_revisions.py` to record the new pair.
"""

import bz2
import gzip
import hashlib
import json
import re
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from corpus.fetch.access import Access
from corpus.recipe import read_recipe
from corpus.settings import Json
from pipelines.build import run_plan
from pipelines.engine.executors.local import Local
from pipelines.engine.job import Job
from pipelines.engine.job_output import JobOutput
from pipelines.plan import Plan, make_plan
from pipelines.stages.fetch import FetchFacts, FetchStage

RECORDED = Path(__file__).with_name("revisions.json")
PROSE = "The mill stands by the river, and it has the water to thank for all of its work. "
PAGE = "<html><head><title>{0}</title></head><body><nav>Home</nav><main><h1>{0}</h1><p>{1}</p></main></body></html>"
WIKI = (
    "<page><title>{0}</title><ns>0</ns><id>{1}</id><revision><id>{1}7</id><timestamp>2024-01-02T03:04:05Z</timestamp>"
    "<model>wikitext</model><format>text/x-wiki</format><text>'''{0}''' is a [[mill|water mill]].{{{{cite}}}}\n"
    "== Parts ==\n{2}</text></revision></page>"
)


def prose(number: int) -> str:
    """Return short lines of words, in an order that differs for each number."""
    words = ["mill", "river", "stone", "wheel", "grain", "water", "sack", "bread", "baker", "field", "wind", "road"]
    lines = [f"{PROSE}In year {number} of that age:"]
    for line in range(9):
        chosen = [words[(number * 31 + line * 7 + k * (number % 5 + 1)) % len(words)] for k in range(9)]
        lines.append("the " + " and the ".join(chosen))
    return "\n".join(lines)


def write_inputs(folder: Path) -> Path:
    """Write one file for each reader, and a recipe over them."""
    warc = b""
    for number in range(12):
        page = PAGE.format(f"Mill {number}", prose(number)).encode()
        http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + page
        head = f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: http://mill.example/{number}\r\n"
        head += "WARC-Date: 2024-01-02T03:04:05Z\r\nContent-Type: application/http; msgtype=response\r\n"
        head += f"Content-Length: {len(http)}\r\n\r\n"
        warc += gzip.compress(
            head.encode() + http + b"\r\n\r\n", 0, mtime=0
        )  # uncompressed, so that every zlib writes the same bytes
    (folder / "pages.warc.gz").write_bytes(warc + b"damaged")
    pages = "".join(WIKI.format(f"Mill {n}", n, prose(100 + n)) for n in range(12))
    dump = f"<mediawiki><siteinfo><dbname>millwiki</dbname><base>https://mill.example/wiki/Main</base></siteinfo>{pages}</mediawiki>"
    (folder / "dump.xml.bz2").write_bytes(bz2.compress(dump.encode()))
    lines = [json.dumps({"text": prose(200 + n), "id": str(n)}) for n in range(12)] + [
        "{broken",
        json.dumps({"text": prose(3)}),
    ]
    (folder / "records.jsonl").write_text("\n".join(lines) + "\n")
    for number in range(12):
        (folder / f"page-{number}.html").write_text(PAGE.format(number, prose(300 + number)))
    common = {
        "license": "cc0-1.0",
        "share": 0.25,
        "identify_language": False,
        "max_failed": "20%",
        "rules": ["gopher_quality", "code"],
    }
    sources = [
        {"name": "web", "reader": "common_crawl", "paths": ["pages.warc.gz"], **common},
        {"name": "wiki", "reader": "wikipedia", "paths": ["dump.xml.bz2"], **common},
        {"name": "records", "reader": "records", "paths": ["records.jsonl"], "id_field": "id", **common},
        {"name": "files", "reader": "pypi", "format": "html", "paths": ["page-*.html"], **common},
    ]
    tokenizer = {"train": {"vocabulary": 300, "sample_bytes": "20kB"}}
    recipe = {
        "format_version": 1,
        "name": "revisions",
        "task_bytes": 8000,
        "keep_dropped": "sample",
        "mix": {"tokens": "8k", "partitions": 2},
        "sources": sources,
        "tokenizer": tokenizer,
        "holdout": {"share": "20%"},
    }
    (folder / "recipe.yaml").write_text(json.dumps(recipe))
    return folder / "recipe.yaml"


def build(folder: Path) -> tuple[Plan, Path]:
    recipe = write_inputs(folder)
    plan = make_plan(read_recipe(recipe), folder, Access(folder / "cache"))
    out = folder / "out"
    out.mkdir()
    profile = Local(workers=1)
    with profile.opened(out):
        run_plan(plan, out, profile, Console(quiet=True))
    return plan.settled(out), out


def digest(out: Path, job: Job) -> str:
    """Return a digest of the content of a job's products, without fingerprints and independent of file encodings."""
    output, sha256 = JobOutput(out, job), hashlib.sha256()
    for index in range(job.tasks):
        sha256.update(repr(output.facts(FetchFacts, index) if isinstance(job, FetchStage) else "").encode())
        for product in output.products(index):
            if product.name != "report.html":  # checked by the browser test; its numbers are in summary.json
                sha256.update(product.name.encode() + _content(output.path(product.name)))
    return sha256.hexdigest()


def _content(path: Path) -> bytes:
    if path.suffix == ".parquet":
        return repr(pq.read_table(path).to_pylist()).encode()
    if path.suffix == ".arrow":
        return repr(pa.ipc.open_file(path).read_all().to_pylist()).encode()
    return re.sub(
        rb"[0-9a-f]{64}|-[0-9a-f]{12}/", b"", path.read_bytes()
    )  # without file hashes and names of job folders


def settings_hash(job: Job) -> str:
    """Return a hash of what the fingerprint of a job covers, including its inputs, without library versions."""
    if job.name not in _HASHES:  # many jobs share an input
        revisions = {name: value for name, value in job.version_keys().items() if not _is_version(value)}
        identity = [
            job.kind,
            job.revision,
            job.tasks,
            job.settings(),
            revisions,
            [settings_hash(each) for each in job.inputs],
        ]
        _HASHES[job.name] = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return _HASHES[job.name]


_HASHES: dict[str, str] = {}


def _is_version(value: Json) -> bool:
    return isinstance(value, str) and re.match(r"\d+\.", value) is not None


def libraries(job: Job) -> dict[str, Json]:
    """Return the library versions that affect a job or its inputs."""
    upstream, jobs = {job.name: job}, [job]
    while jobs:
        new = {each.name: each for each in jobs.pop().inputs if each.name not in upstream}
        upstream |= new
        jobs += new.values()
    version_keys = [item for each in upstream.values() for item in each.version_keys().items()]
    return {name: value for name, value in version_keys if _is_version(value)}


def state(plan: Plan, out: Path) -> dict[str, dict[str, Json]]:
    return {
        job.name: {"asked": settings_hash(job), "libraries": libraries(job), "digest": digest(out, job)}
        for job in plan.jobs
    }


@pytest.fixture(scope="module")
def current(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Json]]:
    return state(*build(tmp_path_factory.mktemp("revisions")))


RECORDED_STATE: dict[str, dict[str, Json]] = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}


@pytest.mark.parametrize("job", RECORDED_STATE)
def test_output_changes_only_with_its_revision(current: dict[str, dict[str, Json]], job: str) -> None:
    """Verified to fail for `clean.wiki` and the jobs after it if `wikitext_text` returns one more line end."""
    now, recorded = current[job], RECORDED_STATE[job]
    assert now["asked"] == recorded["asked"], (
        "settings or revisions changed: record the new state (see the top of this file)"
    )
    if now["libraries"] != recorded["libraries"]:
        pytest.skip(f"recorded with other libraries: {recorded['libraries']}")
    assert now["digest"] == recorded["digest"], "output changed: raise the REVISION of the code that writes it"


def test_recorded_jobs_equal_those_of_the_build(current: dict[str, dict[str, Json]]) -> None:
    assert set(current) == set(RECORDED_STATE), "jobs differ: record the new state (see the top of this file)"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        RECORDED.write_text(json.dumps(state(*build(Path(folder))), indent=1, sort_keys=True) + "\n")
    sys.stdout.write(f"recorded in {RECORDED.name}\n")
