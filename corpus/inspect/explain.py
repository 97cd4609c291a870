"""`corpus explain`: the origin of a document, its signals and verdicts, and its outcome."""

import re
from pathlib import Path
from typing import NamedTuple, cast

from corpus.display.terminal import print_json
from corpus.errors import InputError
from corpus.inspect.explanation import print_explanation
from corpus.inspect.outcome import outcome_of_kept
from corpus.quality.rule import Rule
from corpus.settings import Json, nearest
from corpus.store.finished_build import Build, BuiltJob, open_build
from corpus.store.parquet_tables import Row, columns, row_of

ID = re.compile(r"[0-9a-f]{6,32}")
EXCERPT = 400  # characters
SHOWN_IDS = 5


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
    origin: dict[str, Json] = {"source": record.clean.source, **{name: row[name] for name in ("file", "start", "end")}}
    explanation: dict[str, Json] = {
        "id": row["id"],
        "outcome": row["outcome"],
        "reason": row["reason"] or None,
        "origin": origin,
        "copies": [{name: copy.row[name] for name in ("file", "start", "end")} for copy in records[1:]],
    }
    if row["outcome"] in ("kept", "dropped"):
        explanation |= _document(build, record, origin)
    return explanation


def _by_id(build: Build, prefix: str) -> list[FoundRecord]:
    """Return the records of the only id that begins with `prefix`."""
    import pyarrow.compute as pc

    found = []
    for clean in build.of("clean"):
        for task, path in enumerate(clean.table("records")):
            records = columns(path)
            rows = records.filter(pc.starts_with(records["id"], prefix)).to_pylist()
            found += [FoundRecord(clean, task, row) for row in rows]
    ids = sorted({str(record.row["id"]) for record in found})
    if not ids:
        raise InputError(f"{build.folder}: no id begins with {prefix}; `corpus explain` also takes FILE@OFFSET")
    if len(ids) > 1:
        shown = ", ".join(ids[:SHOWN_IDS]) + (" …" if len(ids) > SHOWN_IDS else "")
        raise InputError(f"{build.folder}: {len(ids)} ids begin with {prefix}: {shown}; give more digits")
    return found


def _by_place(build: Build, what: str) -> list[FoundRecord]:
    """Return the record whose span includes a byte of a file."""
    import pyarrow.compute as pc

    file, at, digits = what.rpartition("@")
    if not at or not re.fullmatch(r"[0-9]{1,18}", digits):
        raise InputError(f"{what}: expected an id (6 to 32 hexadecimal digits in lower case) or FILE@OFFSET")
    fetched = (build.job("fetch", source).fetched_files or [] for source in build.sources)
    sizes = {str(entry["name"]): entry["size"] for files in fetched for entry in files}
    if file not in sizes:
        raise InputError(f"{build.folder}: no source has a file named {file}{nearest(file, sorted(sizes))}")
    offset, found = int(digits), list[FoundRecord]()
    for clean in build.of("clean"):
        for task, path in enumerate(clean.table("records")):
            records = columns(path)
            inside = pc.and_(pc.less_equal(records["start"], offset), pc.greater(records["end"], offset))
            rows = records.filter(pc.and_(pc.equal(records["file"], file), inside)).to_pylist()
            found += [FoundRecord(clean, task, row) for row in rows]
    if not found:
        raise InputError(f"{build.folder}: {file} has no byte {offset}; its size is {sizes[file]} bytes")
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
    return document | (outcome_of_kept(build, clean.source, task, number) if outcome == "kept" else {})


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
    from corpus.quality.catalog import rule_sets

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
