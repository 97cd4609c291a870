"""`corpus explain`: the origin of a document, its signals and verdicts, and its outcome.

Row n of a shard of clean's `kept` table is the document of row n of dedup's decisions.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpus.display.terminal import print_json
from corpus.errors import InputError
from corpus.inspect.explanation import print_explanation
from corpus.quality.catalog import rule_sets
from corpus.quality.rule import Rule
from corpus.settings import Json, nearest
from corpus.store.finished_build import Build, BuiltJob, open_build
from corpus.store.parquet_tables import Row, columns, row_of
from corpus.store.token_shards import open_token_shard

ID = re.compile(r"[0-9a-f]{6,32}")
EXCERPT = 400  # characters
SHOWN_IDS = 5
SHOWN_DUPLICATES = 20
SPAN = ("file", "start", "end")


class FoundRecord(NamedTuple):
    """A row of the record ledger, with the task of clean that wrote it."""

    clean: BuiltJob
    task: int
    row: Row


def show_explanation(folder: Path, what: str, as_json: bool) -> None:
    """Print the explanation of a document, or of a span of a file. Raises InputError if there is none."""
    explanation = explain(folder, what)
    print_json(explanation) if as_json else print_explanation(explanation)


def explain(folder: Path, what: str) -> dict[str, Json]:
    """Explain an id (or the beginning of only one id), or the record with byte OFFSET of FILE, as FILE@OFFSET.

    Keys: `id`, `outcome`, `reason`, `origin`, `copies` (the same record elsewhere). For a document also `text_bytes`,
    `excerpt`, `signals`, `verdicts`; if the rules kept it, `split`, and `duplicate_of` or `duplicates`, `text_shard`
    and `token_shard`. Raises InputError if nothing is found, or more than one document.
    """
    build = open_build(folder)
    records = _by_id(build, what) if ID.fullmatch(what) else _by_place(build, what)
    record, row = records[0], records[0].row
    origin: dict[str, Json] = {"source": record.clean.source, **{name: row[name] for name in SPAN}}
    explanation: dict[str, Json] = {
        "id": row["id"],
        "outcome": row["outcome"],
        "reason": row["reason"] or None,
        "origin": origin,
        "copies": [{name: copy.row[name] for name in SPAN} for copy in records[1:]],
    }
    if row["outcome"] in ("kept", "dropped"):
        explanation |= _document(build, record, origin)
    return explanation


def _find(build: Build, matches: Callable[[pa.Table], pa.ChunkedArray]) -> list[FoundRecord]:
    """Return the rows of the record ledgers that match."""
    found = []
    for clean in build.of("clean"):
        for task, path in enumerate(clean.table("records")):
            records = columns(path)
            rows = records.filter(matches(records)).to_pylist()
            found += [FoundRecord(clean, task, row) for row in rows]
    return found


def _by_id(build: Build, prefix: str) -> list[FoundRecord]:
    """Return the records of the only id that begins with `prefix`."""
    found = _find(build, lambda records: pc.starts_with(records["id"], prefix))
    ids = sorted({str(record.row["id"]) for record in found})
    if not ids:
        raise InputError(f"{build.folder}: no id begins with {prefix}; `corpus explain` also takes FILE@OFFSET")
    if len(ids) > 1:
        shown = ", ".join(ids[:SHOWN_IDS]) + (" …" if len(ids) > SHOWN_IDS else "")
        raise InputError(f"{build.folder}: {len(ids)} ids begin with {prefix}: {shown}; give more digits")
    return found


def _by_place(build: Build, what: str) -> list[FoundRecord]:
    """Return the record whose span includes a byte of a file."""
    file, at, digits = what.rpartition("@")
    if not at or not re.fullmatch(r"[0-9]{1,18}", digits):
        raise InputError(f"{what}: expected an id (6 to 32 hexadecimal digits in lower case) or FILE@OFFSET")
    fetched = (build.job("fetch", source).fetched_files or [] for source in build.sources)
    sizes = {str(entry["name"]): entry["size"] for files in fetched for entry in files}
    if file not in sizes:
        raise InputError(f"{build.folder}: no source has a file named {file}{nearest(file, sorted(sizes))}")

    def matches(records: pa.Table) -> pa.ChunkedArray:
        inside = pc.and_(pc.less_equal(records["start"], int(digits)), pc.greater(records["end"], int(digits)))
        return pc.and_(pc.equal(records["file"], file), inside)

    found = _find(build, matches)
    if not found:
        raise InputError(f"{build.folder}: {file} has no byte {int(digits)}; its size is {sizes[file]} bytes")
    if len(found) > 1:
        shown = ", ".join(f"{record.row['id'] or record.row['outcome']} of {record.clean.source}" for record in found)
        raise InputError(f"{build.folder}: several sources have a file named {file}; give an id: {shown}")
    return found


def _document(build: Build, record: FoundRecord, origin: dict[str, Json]) -> dict[str, Json]:
    """Return the signals, verdicts and outcome of a document, and add its metadata to `origin`."""
    clean, task, outcome = record.clean, record.task, str(record.row["outcome"])
    path = clean.table(outcome)[task]
    places = columns(path, "origin_file", "origin_start", "id").to_pylist()
    place = {"origin_file": record.row["file"], "origin_start": record.row["start"], "id": record.row["id"]}
    number = places.index(place)
    row = row_of(path, number)
    origin |= {name: row[name] for name in ("url", "date", "license", "language", "language_score")}
    signals = {name: row[name] for name in cast(list[str], clean.tasks[task].facts["signals"])}
    verdicts = [*_gates(clean, row), *_rules(clean, cast(dict[str, float | None], signals)), *_filters(clean, row)]
    text = row["text"]
    document: dict[str, Json] = {
        "text_bytes": row["text_bytes"],
        "excerpt": text[:EXCERPT] if isinstance(text, str) else None,
        "signals": signals,
        "verdicts": verdicts,
    }
    return document | (_outcome_of_kept(build, clean.source, task, number) if outcome == "kept" else {})


def _gates(clean: BuiltJob, row: Row) -> list[Json]:
    """Return the verdicts of the checks before the rules: there is text, in a language that the recipe asks for."""
    verdicts: list[Json] = [_verdict("empty", row["text_bytes"], "a text", passed=row["text_bytes"] != 0)]
    gate = clean.setting("source", "language")
    if isinstance(gate, dict):
        keep, at_least = cast(list[str], gate["keep"]), float(str(gate["at_least"]))
        score = None if row["language_score"] is None else int(str(row["language_score"])) / 1024
        value = f"{row['language']}" if score is None else f"{row['language']} {score:.2f}"
        passed = row["language"] in keep and (score is None or score >= at_least)
        verdicts.append(_verdict("language", value, f"{', '.join(keep)} at >= {at_least:g}", passed=passed))
    return verdicts


def _rules(clean: BuiltJob, signals: dict[str, float | None]) -> list[Json]:
    """Return the verdicts of the source's rules, with the bounds of the recipe and, if they differ, of the paper."""
    published = {rule.name: rule for rules in rule_sets().values() for rule in rules}
    verdicts: list[Json] = []
    for name, signal, per, at_least, at_most in cast(list[list[str]], clean.setting("rules")):
        rule = Rule(name, signal, per, cast(float | None, at_least), cast(float | None, at_most))
        value, stated = rule.value(signals), published.get(name)
        verdict = _verdict(name, value, rule.bound, passed=rule.passes(value), source=stated.source if stated else None)
        published_bound = stated.bound if stated and stated.bound != rule.bound else None
        verdicts.append(verdict | {"signal": signal, "per": per, "published_bound": published_bound})
    return verdicts


def _filters(clean: BuiltJob, row: Row) -> list[Json]:
    """Return the verdicts of datatrove's filters up to the one that dropped the document; they run after the rules."""
    steps = cast(list[list[str]], clean.setting("steps") or [])
    filters = [(name, use) for name, kind, use, _ in steps if kind == "filter"]
    dropped, verdicts = str(row["rule"] or ""), cast(list[Json], [])
    failed = next((name for name, _ in filters if f"{dropped}.".startswith(f"{name}.")), None)
    for name, use in filters if failed or not dropped else ():
        reason = dropped.removeprefix(name).lstrip(".") if name == failed else ""
        verdicts.append(_verdict(name, reason or None, "its own", passed=name != failed, source=use))
        if name == failed:
            break
    return verdicts


def _verdict(rule: str, value: Json, bound: str, *, passed: bool, source: str | None = None) -> dict[str, Json]:
    return {"rule": rule, "value": value, "bound": bound, "passed": passed, "source": source}


def _outcome_of_kept(build: Build, source: str, task: int, number: int) -> dict[str, Json]:
    """Return the outcome of row `number` of a task's kept documents: a duplicate, or its rows in the shards."""
    decisions = build.table("dedup", source, "decisions")[task]
    decision = row_of(decisions, number)
    if decision["split"] is None:
        survivor = _survivor(build, decision) | _similarity(decision)
        return {"outcome": "merged", "reason": decision["reason"], "split": None, "duplicate_of": survivor}
    count, duplicates = _duplicates(build, str(decision["id"]))
    # The text shard has the rows of the kept shard without the duplicates.
    before = columns(decisions, "split")["split"].slice(0, number)
    text = str(build.table("text", source, "text")[task].relative_to(build.folder))
    return {
        "split": decision["split"],
        "duplicates": duplicates,
        "duplicates_count": count,
        "text_shard": {"file": text, "row": number - before.null_count},
        "token_shard": _token_shard(build, source, str(decision["split"]), str(decision["id"])),
    }


def _similarity(decision: Row) -> dict[str, Json]:
    shared, union = int(str(decision["intersection"])), int(str(decision["union"]))
    similarity = round(shared / union, 4)
    return {"intersection": shared, "union": union, "similarity": similarity, "reason": decision["reason"]}


def _origin(path: Path, number: int) -> dict[str, Json]:
    row = row_of(path, number)
    names = {"id": "id", "source": "source", "url": "url", "file": "origin_file", "start": "origin_start"}
    return {name: row[column] for name, column in names.items()}


def _decided(build: Build, source: str, column: str, value: Json) -> Iterator[tuple[Path, Path, int]]:
    """Yield a source's rows with a value in a column of dedup's decisions: both files, and the row's number."""
    shards = zip(build.table("clean", source, "kept"), build.table("dedup", source, "decisions"), strict=True)
    for kept, decisions in shards:
        mask = pc.equal(columns(decisions, column)[column], value).combine_chunks()
        yield from ((kept, decisions, number) for number in pc.indices_nonzero(mask).to_pylist())


def _survivor(build: Build, decision: Row) -> dict[str, Json]:
    """Return the origin of the document that was kept in place of a duplicate."""
    source, survivor = str(decision["survivor_source"]), decision["survivor"]
    for kept, decisions, number in _decided(build, source, "id", survivor):
        if row_of(decisions, number)["split"] is not None:
            return _origin(kept, number)
    return {"id": survivor, "source": source, "url": None, "file": None, "start": None}


def _duplicates(build: Build, survivor: str) -> tuple[int, list[Json]]:
    """Return the number of duplicates of a document, and the first of them."""
    rows = [row for source in build.sources for row in _decided(build, source, "survivor", survivor)]
    shown = rows[:SHOWN_DUPLICATES]
    return len(rows), [_origin(kept, number) | _similarity(row_of(path, number)) for kept, path, number in shown]


def _token_shard(build: Build, source: str, split: str, document: str) -> dict[str, Json] | None:
    """Return the shard, row and tokens of a document; None if it is over its source's quota."""
    id_16 = np.frombuffer(bytes.fromhex(document), np.uint8)
    for path in build.table("mix", source, split):
        shard = open_token_shard(path)
        for row in np.flatnonzero((shard.ids_D16 == id_16).all(axis=1)).tolist():
            tokens = int(shard.offsets_D1[row + 1] - shard.offsets_D1[row])
            return {"file": str(path.relative_to(build.folder)), "row": row, "tokens": tokens}
    return None
