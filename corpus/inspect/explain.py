"""`corpus explain`: where a document comes from, what was measured and decided, and where it ended."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, cast

from corpus.errors import InputError
from corpus.inspect.outcome import Kept, fate
from corpus.quality.rule import Rule
from corpus.settings import Json, nearest
from corpus.store.finished_build import Build, BuiltJob, open_build
from corpus.store.parquet_tables import Row, columns, row_of

KINDS = ("fetch", "clean", "dedup", "text", "mix", "manifest")
ID = re.compile(r"[0-9a-f]{6,32}")
EXCERPT = 400  # characters
SHOWN_IDS = 5


class Spot(NamedTuple):
    """A row of a task's records."""

    clean: BuiltJob
    task: int
    record: Row

    def file(self, stem: str) -> Path:
        """A product of the task."""
        return self.clean.folder / f"{stem}-{self.task:05d}.parquet"


def show_explanation(folder: Path, what: str, as_json: bool) -> None:
    """Prints what is known of a document, or of a span of a file. Raises InputError if there is no such thing."""
    found = explain(folder, what)
    if as_json:
        print(json.dumps(found, indent=2))
        return
    from corpus.inspect.explanation import print_explanation

    print_explanation(found)


def explain(folder: Path, what: str) -> dict[str, Json]:
    """What is known of an id (or the beginning of just one), or of the record that holds byte OFFSET of FILE.

    Keys: `id`, `outcome`, `reason`, `origin`, `copies` (the same record elsewhere); of a document also `text_bytes`,
    `excerpt`, `signals`, `verdicts`; of one that the rules kept `split` and `duplicate_of`, or `duplicates`,
    `text_shard` and `token_shard`. Raises InputError if nothing, or more than one thing, is meant.
    """
    build = open_build(folder, KINDS)
    spots = _by_id(build, what) if ID.fullmatch(what) else _by_place(build, what)
    spot, record = spots[0], spots[0].record
    found: dict[str, Json] = {
        "id": record["id"],
        "outcome": record["outcome"],
        "reason": record["reason"] or None,
        "origin": {"source": spot.clean.source, "file": record["file"], "start": record["start"], "end": record["end"]},
        "copies": [{name: other.record[name] for name in ("file", "start", "end")} for other in spots[1:]],
    }
    if record["outcome"] in ("kept", "dropped"):
        found |= _document(build, spot, cast(dict[str, Json], found["origin"]))
    return found


def _by_id(build: Build, prefix: str) -> list[Spot]:
    """The records of the one id that begins so."""
    import pyarrow.compute as pc

    spots = []
    for clean, task in _tasks(build):
        records = columns(Spot(clean, task, {}).file("records"))
        spots += [Spot(clean, task, row) for row in records.filter(pc.starts_with(records["id"], prefix)).to_pylist()]
    ids = sorted({str(spot.record["id"]) for spot in spots})
    if not ids:
        raise InputError(
            f"{build.folder}: no document's id begins with {prefix}; `corpus explain` also takes FILE@OFFSET"
        )
    if len(ids) > 1:
        shown = ", ".join(ids[:SHOWN_IDS]) + (" …" if len(ids) > SHOWN_IDS else "")
        raise InputError(f"{build.folder}: {len(ids)} documents' ids begin with {prefix}: {shown}; give more of it")
    return spots


def _by_place(build: Build, what: str) -> list[Spot]:
    """The record whose span holds a byte of a file."""
    import pyarrow.compute as pc

    file, at, written = what.rpartition("@")
    if not at or not re.fullmatch(r"[0-9]{1,18}", written):
        raise InputError(f"{what}: expected an id (6 to 32 of its hexadecimal digits, lower case) or FILE@OFFSET")
    sizes = _file_sizes(build)
    if file not in sizes:
        raise InputError(f"{build.folder}: no source has a file named {file}{nearest(file, sorted(sizes))}")
    offset, spots = int(written), []
    for clean, task in _tasks(build):
        records = columns(Spot(clean, task, {}).file("records"))
        before, behind = pc.less_equal(records["start"], offset), pc.greater(records["end"], offset)
        here = records.filter(pc.and_(pc.equal(records["file"], file), pc.and_(before, behind)))
        spots += [Spot(clean, task, row) for row in here.to_pylist()]
    if not spots:
        raise InputError(f"{build.folder}: {file} has no byte {offset}; it holds {sizes[file]} bytes")
    if len(spots) > 1:
        shown = ", ".join(f"{spot.record['id'] or spot.record['outcome']} of {spot.clean.source}" for spot in spots)
        raise InputError(f"{build.folder}: several sources have a file named {file}; give an id: {shown}")
    return spots


def _file_sizes(build: Build) -> dict[str, int]:
    sizes: dict[str, int] = {}
    read = {job.source for job in build.of("clean")}
    for job in build.of("fetch"):
        for task in job.tasks if job.source in read else ():
            for file in cast(list[dict[str, Json]], task.facts["files"]):
                sizes[str(file["name"])] = int(str(file["size"]))
    return sizes


def _tasks(build: Build) -> Iterator[tuple[BuiltJob, int]]:
    for clean in build.of("clean"):
        yield from ((clean, task) for task in range(len(clean.tasks)))


def _document(build: Build, spot: Spot, origin: dict[str, Json]) -> dict[str, Json]:
    """What clean wrote of a document, and what became of it."""
    number, row = _own_row(spot)
    origin |= {name: row[name] for name in ("url", "date", "license", "language", "language_score")}
    signals = {name: row[name] for name in cast(list[str], spot.clean.tasks[spot.task].facts["signals"])}
    text = row["text"]
    found: dict[str, Json] = {
        "text_bytes": row["text_bytes"],
        "excerpt": text[:EXCERPT] if isinstance(text, str) else None,
        "signals": signals,
        "verdicts": [
            *_gates(spot, row),
            *_verdicts(spot, cast(dict[str, float | None], signals)),
            *_filters(spot, row),
        ],
    }
    if spot.record["outcome"] == "kept":
        found |= fate(build, Kept(spot.clean.source, spot.task, number))
    return found


def _own_row(spot: Spot) -> tuple[int, Row]:
    """The number and the content of the row of a record's document."""
    path, record = spot.file(str(spot.record["outcome"])), spot.record
    places = columns(path, "origin_file", "origin_start", "id").to_pylist()
    number = places.index({"origin_file": record["file"], "origin_start": record["start"], "id": record["id"]})
    return number, row_of(path, number)


def _gates(spot: Spot, row: Row) -> list[Json]:
    """What is asked of a document beside its source's rules: that there is text, in a language that is wanted."""
    found: list[Json] = [_verdict("empty", row["text_bytes"], "a text", passed=row["text_bytes"] != 0)]
    gate = spot.clean.setting("source", "language")
    if isinstance(gate, dict):
        keep, at_least = cast(list[str], gate["keep"]), float(str(gate["at_least"]))
        score = row["language_score"]
        value = f"{row['language']}" if score is None else f"{row['language']} {int(str(score)) / 1024:.2f}"
        passed = row["language"] in keep and (score is None or int(str(score)) >= at_least * 1024)
        found.append(_verdict("language", value, f"{', '.join(keep)} at >= {at_least:g}", passed=passed))
    return found


def _verdicts(spot: Spot, signals: dict[str, float | None]) -> list[Json]:
    """What each rule of the source says, with the bound that was used, and the paper or code that states the rule."""
    from corpus.quality.catalog import rule_sets

    published = {rule.name: rule for rules in rule_sets().values() for rule in rules}
    found: list[Json] = []
    for name, signal, per, at_least, at_most in cast(list[list[str]], spot.clean.setting("rules")):
        rule = Rule(name, signal, per, cast(float | None, at_least), cast(float | None, at_most))
        value = rule.value(signals)
        stated = published.get(name)
        row = _verdict(name, value, rule.bound, passed=rule.passes(value), source=stated.source if stated else None)
        changed = stated is not None and stated.bound != rule.bound
        found.append(
            row | {"signal": signal, "per": per, "published_bound": stated.bound if changed and stated else None}
        )
    return found


def _filters(spot: Spot, row: Row) -> list[Json]:
    """What each of datatrove's filters said, up to the one that dropped it; they are asked of what the rules keep."""
    steps = cast(list[list[str]], spot.clean.setting("steps") or [])
    filters = [(name, use) for name, kind, use, _ in steps if kind == "filter"]
    dropped, found = str(row["rule"] or ""), cast(list[Json], [])
    refused = next((name for name, _ in filters if f"{dropped}.".startswith(f"{name}.")), None)
    for name, use in filters if refused or not dropped else ():
        reason = dropped.removeprefix(name).lstrip(".") if name == refused else ""
        found.append(_verdict(name, reason or None, "its own", passed=name != refused, source=use))
        if name == refused:
            break
    return found


def _verdict(rule: str, value: Json, bound: str, *, passed: bool, source: str | None = None) -> dict[str, Json]:
    return {"rule": rule, "value": value, "bound": bound, "passed": passed, "source": source}
