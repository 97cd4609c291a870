"""A changed output without a changed fingerprint fails here: raise the REVISION beside the code that decides.

`revisions.json` holds, for each job of a build over text of our own, its fingerprint and a digest of what it wrote.
After raising a REVISION, run `python tests/end_to_end/test_revisions.py` to record the new pair.
"""

import bz2
import gzip
import hashlib
import json
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from corpus.recipe import read_recipe
from corpus.settings import Json
from pipelines.executors import Place
from pipelines.job import Done, Job
from pipelines.plan import Plan, make_plan
from pipelines.run import run_plan

RECORDED = Path(__file__).with_name("revisions.json")
PROSE = "The mill stands by the river, and it has the water to thank for all of its work. "
PAGE = "<html><head><title>{0}</title></head><body><nav>Home</nav><main><h1>{0}</h1><p>{1}</p></main></body></html>"
WIKI = (
    "<page><title>{0}</title><ns>0</ns><id>{1}</id><revision><id>{1}7</id><timestamp>2024-01-02T03:04:05Z</timestamp>"
    "<model>wikitext</model><format>text/x-wiki</format><text>'''{0}''' is a [[mill|water mill]].{{{{cite}}}}\n"
    "== Parts ==\n{2}</text></revision></page>"
)


def prose(number: int) -> str:
    """Short lines of words that no two numbers share in the same order."""
    words = ["mill", "river", "stone", "wheel", "grain", "water", "sack", "bread", "baker", "field", "wind", "road"]
    lines = [f"{PROSE}In year {number} of that age:"]
    for line in range(9):
        chosen = [words[(number * 31 + line * 7 + k * (number % 5 + 1)) % len(words)] for k in range(9)]
        lines.append("the " + " and the ".join(chosen))
    return "\n".join(lines)


def write_inputs(folder: Path) -> Path:
    """One file for each reader, and a recipe over them."""
    warc = b""
    for number in range(12):
        page = PAGE.format(f"Mill {number}", prose(number)).encode()
        http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + page
        head = f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: http://mill.example/{number}\r\n"
        head += "WARC-Date: 2024-01-02T03:04:05Z\r\nContent-Type: application/http; msgtype=response\r\n"
        head += f"Content-Length: {len(http)}\r\n\r\n"
        warc += gzip.compress(head.encode() + http + b"\r\n\r\n", mtime=0)
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
        "sources": sources,
        "tokenizer": tokenizer,
        "holdout": {"share": "20%"},
    }
    (folder / "recipe.yaml").write_text(json.dumps(recipe))
    return folder / "recipe.yaml"


def build(folder: Path) -> tuple[Plan, Path]:
    recipe = write_inputs(folder)
    plan = make_plan(read_recipe(recipe), folder, folder / "cache")
    out = folder / "out"
    out.mkdir()
    run_plan(plan, out, Place(workers=1), Console(quiet=True))
    return plan, out


def digest(out: Path, job: Job) -> str:
    """Of what the products of a job say, not of how a library spells it."""
    done, found = Done(out, job), hashlib.sha256()
    for index in range(job.tasks):
        for product in done.products(index):
            found.update(product.name.encode())
            found.update(_content(done.path(product.name)))
    return found.hexdigest()


def _content(path: Path) -> bytes:
    if path.suffix == ".parquet":
        return repr(pq.read_table(path).to_pylist()).encode()
    if path.suffix == ".arrow":
        return repr(pa.ipc.open_file(path).read_all().to_pylist()).encode()
    return path.read_bytes()


def state(plan: Plan, out: Path) -> dict[str, dict[str, Json]]:
    left_out = ("acquire", "manifest", "report")  # they hold fingerprints, or what the others hold
    return {
        job.name: {"fingerprint": job.fingerprint, "deciders": dict(job.deciders()), "digest": digest(out, job)}
        for job in plan.jobs
        if job.kind not in left_out
    }


def test_no_output_changed_without_its_revision(tmp_path: Path) -> None:
    """Planted once: `wikitext_text` returned one line end more; `clean.wiki` was named."""
    recorded = json.loads(RECORDED.read_text())
    found = state(*build(tmp_path))
    assert set(found) == set(recorded), "jobs came or went: record them (see this file's first lines)"
    for name, now in found.items():
        then = recorded[name]
        if now["fingerprint"] == then["fingerprint"]:
            assert now["digest"] == then["digest"], (
                f"{name}: what it writes changed; raise the REVISION of the code that decides"
            )
        elif _libraries(now) == _libraries(then):
            raise AssertionError(f"{name}: its fingerprint changed; record it (see this file's first lines)")


def _libraries(state: dict[str, Json]) -> dict[str, Json]:
    deciders = state["deciders"]
    assert isinstance(deciders, dict)
    return {name: value for name, value in deciders.items() if isinstance(value, str)}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        RECORDED.write_text(json.dumps(state(*build(Path(folder))), indent=1, sort_keys=True) + "\n")
    sys.stdout.write(f"recorded in {RECORDED.name}\n")
