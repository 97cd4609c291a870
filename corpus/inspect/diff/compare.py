"""`corpus diff A B`: what two builds differ by, from their recipes, summaries, ledgers and shards."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, cast

from pydantic import JsonValue

from corpus.inspect.diff import changed_documents
from corpus.inspect.diff.differences import (
    CodeDiff,
    CountDiff,
    Diff,
    FilesDiff,
    RuleDiff,
    SettingDiff,
    SourceDiff,
    TokenizerDiff,
)
from corpus.inspect.report.summary import SourceSummary, read_summary
from corpus.inspect.report.summary_types import RuleCount
from corpus.settings import Json
from corpus.store.corpus_manifest import FILE_NAME, TokenizerEntry, open_manifest
from corpus.store.finished_build import Build, open_build
from corpus.store.products import read_json

KINDS_OF_CODE_LEFT_OUT = {"report", "manifest"}  # what they write is told by all else
FIRST_FILES = 3  # names of files that one build alone has


def compare_builds(a: Path, b: Path) -> Diff:
    """Raises InputError or CorpusError if one of them is no finished build, or is damaged."""
    builds = open_build(a), open_build(b)
    summaries = [read_summary(folder) for folder in (a, b)]
    of_a, of_b = ({source.name: source for source in summary.sources} for summary in summaries)
    manifests = [open_manifest(folder / FILE_NAME) for folder in (a, b)]
    tokenizers = [
        (folder / each.tokenizer.file, each.tokenizer) for folder, each in zip((a, b), manifests, strict=True)
    ]
    return Diff(
        folder_a=str(a),
        folder_b=str(b),
        name_a=summaries[0].name,
        name_b=summaries[1].name,
        settings=tuple(_settings(_flat(a), _flat(b))),
        code=tuple(_code(*builds)),
        tokenizer=_tokenizer(*tokenizers),
        sources=tuple(_source(name, builds, of_a.get(name), of_b.get(name)) for name in sorted({*of_a, *of_b})),
    )


def _flat(folder: Path) -> dict[str, JsonValue]:
    """The recipe's settings by path; sources go by their names, and a list of plain values is one setting."""
    return dict(_leaves("", read_json(folder / "recipe.json")))


def _leaves(path: str, value: JsonValue) -> Iterator[tuple[str, JsonValue]]:
    if isinstance(value, list) and value and all(isinstance(each, dict) and "name" in each for each in value):
        value = {str(each["name"]): each for each in value if isinstance(each, dict)}
    if not isinstance(value, dict) or not value:
        yield path, value
        return
    for name, each in sorted(value.items()):
        yield from _leaves(f"{path}.{name}" if path else name, each)


def _settings(a: dict[str, JsonValue], b: dict[str, JsonValue]) -> Iterator[SettingDiff]:
    """A setting that one release does not know, and that is empty in the other, is no difference."""
    for path in sorted({*a, *b}):
        only: Literal["a", "b"] | None = None if path in a and path in b else "a" if path in a else "b"
        if json.dumps(a.get(path) or None if only else a[path]) != json.dumps(b.get(path) or None if only else b[path]):
            yield SettingDiff(path=path, a=a.get(path), b=b.get(path), only=only)


def _code(a: Build, b: Build) -> Iterator[CodeDiff]:
    """Revisions and versions, once a kind of job and pair of values, with the sources that it holds for."""
    others = {job.name: job for job in b.jobs}
    jobs = [job for job in a.jobs if job.name in others and job.kind not in KINDS_OF_CODE_LEFT_OUT]
    found: dict[str, tuple[CodeDiff, list[str]]] = {}
    for job in jobs:
        told = (each.file.description for each in (job, others[job.name]))
        one, two = ({"revision": each.revision, **each.versions} for each in told)
        for name in sorted({*one, *two}):
            if one.get(name) != two.get(name):
                row = CodeDiff(job=job.kind, name=name, a=one.get(name), b=two.get(name))
                found.setdefault(row.model_dump_json(), (row, []))[1].append(job.source)
    for row, sources in found.values():
        everywhere = len(sources) == sum(job.kind == row.job for job in jobs)
        yield row if everywhere else row.model_copy(update={"job": f"{row.job} ({', '.join(sources)})"})


def _tokenizer(a: tuple[Path, TokenizerEntry], b: tuple[Path, TokenizerEntry]) -> TokenizerDiff | None:
    if a[1].sha256 == b[1].sha256 and a[1].eos == b[1].eos:
        return None
    words = [_vocabulary(path) for path, _ in (a, b)]
    return TokenizerDiff(
        sha256_a=a[1].sha256,
        sha256_b=b[1].sha256,
        vocabulary_a=a[1].vocabulary,
        vocabulary_b=b[1].vocabulary,
        shared=len(words[0] & words[1]) if words[0] and words[1] else None,
        eos_a=a[1].eos.token,
        eos_b=b[1].eos.token,
    )


def _vocabulary(path: Path) -> set[str]:
    model = read_json(path).get("model")
    found = model.get("vocab") if isinstance(model, dict) else None
    return set(found) if isinstance(found, dict) else set()


def _source(name: str, builds: tuple[Build, Build], a: SourceSummary | None, b: SourceSummary | None) -> SourceDiff:
    found = changed_documents.compare(builds[0] if a else None, builds[1] if b else None, name)
    counts = [_counts(each) for each in (a, b)]
    names = dict.fromkeys([*counts[0], *counts[1]])
    return SourceDiff(
        name=name,
        only=None if a and b else "a" if a else "b",
        files=_files(builds[0] if a else None, builds[1] if b else None, name),
        counts=tuple(CountDiff(name=each, a=counts[0].get(each, 0), b=counts[1].get(each, 0)) for each in names),
        rules=tuple(_rules(a, b)),
        moves=found.moves,
        same=found.same,
    )


def _files(a: Build | None, b: Build | None, source: str) -> FilesDiff | None:
    """What tells two sources of the same settings apart: a recipe's paths are no part of what a build is made of."""
    of_a, of_b = _read(a, source), _read(b, source)
    only = sorted(of_a - of_b), sorted(of_b - of_a)
    first = [tuple(name for name, _ in each[:FIRST_FILES]) for each in only]
    found = FilesDiff(only_a=len(only[0]), only_b=len(only[1]), first_a=first[0], first_b=first[1])
    return found if any(only) else None


def _read(build: Build | None, source: str) -> set[tuple[str, str]]:
    """Names and SHA-256 of the files that a source was read from; of one that was read elsewhere, its version."""
    tasks = build.job("fetch", source).tasks if build else ()
    files = [file for task in tasks for file in cast(list[dict[str, Json]], task.facts["files"])]
    return {(str(file["name"]), str(file["sha256"] or file.get("version"))) for file in files}


def _counts(source: SourceSummary | None) -> dict[str, int]:
    """Records, and where they ended; tokens and bytes of text by split."""
    if source is None:
        return {}
    splits = (("training", source.train), ("holdout", source.holdout))
    sizes = {f"{split} {what}": getattr(total, what) for split, total in splits for what in ("tokens", "bytes")}
    return {"records read": source.records_read, **dict(source.ends()), **sizes}


def _rules(a: SourceSummary | None, b: SourceSummary | None) -> Iterator[RuleDiff]:
    """Rules whose bound, credit or refusals changed."""
    of_a, of_b = ({rule.name: rule for rule in source.rules} if source else dict[str, RuleCount]() for source in (a, b))
    for name in dict.fromkeys([*of_a, *of_b]):
        one, other = of_a.get(name), of_b.get(name)
        figures = [(rule.bound, rule.dropped, rule.failing) if rule else (None, 0, 0) for rule in (one, other)]
        if figures[0] != figures[1]:
            yield RuleDiff(
                rule=name,
                bound_a=figures[0][0],
                bound_b=figures[1][0],
                dropped_a=figures[0][1],
                dropped_b=figures[1][1],
                failing_a=figures[0][2],
                failing_b=figures[1][2],
            )
