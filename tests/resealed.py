"""Builds that were changed by somebody who then made all manifests agree: what is left is to count again."""

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
    """What verify says of a build that is not sound."""
    with pytest.raises(CorpusError) as caught:
        verify_build(build)
    assert caught.value.exit_code == 1
    return str(caught.value)


def error_lines(message: str) -> list[str]:
    """The lines that each name something wrong."""
    return [line.strip() for line in message.splitlines() if line.startswith("  ")]


def reseal(job: Path) -> None:
    """Makes a job's manifests agree with its files again, as somebody who hides a change would."""
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
            fate = sums.setdefault((entry["source"], entry["outcome"], entry["reason"]), {})
            for name in ("records", "input_bytes", "text_bytes"):
                fate[name] = fate.get(name, 0) + entry[name]
    names = ("source", "outcome", "reason")
    body["ledger"] = [dict(zip(names, fate, strict=True)) | counts for fate, counts in sorted(sums.items())]
    (job / "job.json").write_text(canonical(body))


def remanifest(build: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Changes manifest.json, which then is what the job wrote."""
    job = next(build.glob("jobs/manifest-*"))
    body = json.loads((job / "manifest.json").read_text())
    change(body)
    for path in (job / "manifest.json", build / "manifest.json"):
        path.write_bytes(canonical_manifest(Manifest.model_validate_json(json.dumps(body))))
    reseal(job)


def reshard(build: Path, shards: dict[Path, TokenShard], damage: Callable[[bytes], bytes] = bytes) -> None:
    """Puts other token shards in place, and has all manifests say that they are the right ones."""

    def change(body: dict[str, Any]) -> None:
        rows = {build / row["file"]: row for source in body["sources"] for row in source["shards"]}
        for path in shards:
            rows[path] |= {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "file_bytes": path.stat().st_size}

    for path, shard in shards.items():
        write_token_shard(path, shard)
        path.write_bytes(damage(path.read_bytes()))
        reseal(path.parent)
    remanifest(build, change)
