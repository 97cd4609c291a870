"""Change a build and make all its manifests agree with the change, so that only a recount can detect it."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corpus.errors import CorpusError
from corpus.inspect.verify import verify_build
from corpus.store.corpus_manifest import Manifest
from corpus.store.corpus_manifest import canonical as canonical_manifest
from corpus.store.products import canonical
from corpus.store.token_shards import TokenShard, write_token_shard


def verify_error(build: Path) -> str:
    """Assert that verify fails on a build, and return its message."""
    with pytest.raises(CorpusError) as caught:
        verify_build(build)
    assert caught.value.exit_code == 1
    return str(caught.value)


def error_lines(message: str) -> list[str]:
    """Return the indented lines of a message, one per fault."""
    return [line.strip() for line in message.splitlines() if line.startswith("  ")]


def reseal(job: Path) -> None:
    """Make the manifests of a job agree with its changed files."""
    tasks = sorted(job.glob("tasks/*.json"))
    for path in tasks:
        task = json.loads(path.read_text())
        for product in task["products"]:
            raw = (job / product["name"]).read_bytes()
            product |= {"bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}
        path.write_text(canonical(task))
    body = json.loads((job / "job.json").read_text())
    body["task_manifests"] = [hashlib.sha256(path.read_bytes()).hexdigest() for path in tasks]
    sums: dict[tuple[str, str, str], dict[str, int]] = {}
    for path in tasks:
        for entry in json.loads(path.read_text())["ledger"]:
            counts = sums.setdefault((entry["source"], entry["outcome"], entry["reason"]), {})
            for name in ("records", "input_bytes", "text_bytes"):
                counts[name] = counts.get(name, 0) + entry[name]
    names = ("source", "outcome", "reason")
    body["ledger"] = [dict(zip(names, key, strict=True)) | counts for key, counts in sorted(sums.items())]
    (job / "job.json").write_text(canonical(body))


def remanifest(build: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change manifest.json both in the build and in the output of its job."""
    job = next(build.glob("jobs/manifest-*"))
    body = json.loads((job / "manifest.json").read_text())
    change(body)
    for path in (job / "manifest.json", build / "manifest.json"):
        path.write_bytes(canonical_manifest(Manifest.model_validate_json(json.dumps(body))))
    reseal(job)


def reshard(build: Path, shards: dict[Path, TokenShard], damage: Callable[[bytes], bytes] = bytes) -> None:
    """Replace token shards, and make all manifests agree with them."""

    def change(body: dict[str, Any]) -> None:
        rows = {build / row["file"]: row for source in body["sources"] for row in source["shards"]}
        for path in shards:
            rows[path] |= {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "file_bytes": path.stat().st_size}

    for path, shard in shards.items():
        write_token_shard(path, shard)
        path.write_bytes(damage(path.read_bytes()))
        reseal(path.parent)
    remanifest(build, change)
