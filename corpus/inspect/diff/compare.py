"""`corpus diff A B`: compare the recipes, summaries, ledgers and shards of two builds.

In all names, `a` is the first build and `b` the second.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import JsonValue

from corpus.inspect.diff.changed_documents import Move, compare_documents
from corpus.inspect.report.summary import RuleCount, SourceSummary, read_summary
from corpus.settings import Strict
from corpus.store.corpus_manifest import FILE_NAME, TokenizerEntry, open_manifest
from corpus.store.finished_build import Build, BuiltJob, open_build
from corpus.store.products import read_json

IGNORED_JOBS = {"report", "manifest"}  # a change in their code shows in their output
IN_SHARDS = ("training shards", "holdout shards")  # outcomes
FIRST_FILES = 3  # names of files that only one build read


class SettingDiff(Strict):
    """A setting of the recipe; None stands for null, and for a setting that one build does not have (`only`)."""

    path: str  # sources.web.rules
    a: JsonValue
    b: JsonValue
    only: Literal["a", "b"] | None = None


class CodeDiff(Strict):
    """A revision of our code, or a version of a library, that affects the output of a kind of job."""

    job: str
    name: str
    a: JsonValue
    b: JsonValue


class TokenizerDiff(Strict):
    """Two tokenizers."""

    sha256_a: str
    sha256_b: str
    vocabulary_a: int
    vocabulary_b: int
    shared: int | None  # tokens in both vocabularies; None if a tokenizer does not list its vocabulary
    eos_a: str
    eos_b: str


class CountDiff(Strict):
    """A count of a source."""

    name: str
    a: int
    b: int

    @property
    def difference(self) -> int:
        """`b` minus `a`."""
        return self.b - self.a


class FilesDiff(Strict):
    """Files of a source that only one build read: the other read none with the same name and content."""

    only_a: int
    only_b: int
    first_a: tuple[str, ...]  # a few names
    first_b: tuple[str, ...]


class RuleDiff(Strict):
    """A rule's counts in both builds; a bound of None means that the rule is not in that build's recipe."""

    rule: str
    bound_a: str | None
    bound_b: str | None
    dropped_a: int
    dropped_b: int
    failing_a: int
    failing_b: int


class SourceDiff(Strict):
    """A source of either build, or of both."""

    name: str
    only: Literal["a", "b"] | None
    files: FilesDiff | None  # None: the same ones
    counts: tuple[CountDiff, ...]
    rules: tuple[RuleDiff, ...]  # those that differ
    moves: tuple[Move, ...]  # the largest first
    same: int  # documents with the same outcome in both

    @property
    def differs(self) -> bool:
        """True if anything differs."""
        counts = any(count.difference for count in self.counts)
        return bool(self.only or self.files or self.rules or self.moves or counts)

    @property
    def changed_rules(self) -> tuple[RuleDiff, ...]:
        """Rules that differ, if both builds have the source."""
        return () if self.only else self.rules

    @property
    def only_a(self) -> int:
        """Documents in the shards of the first build, and not in those of the second."""
        return sum(move.documents for move in self.moves if move.a in IN_SHARDS and move.b not in IN_SHARDS)

    @property
    def only_b(self) -> int:
        """Documents in the shards of the second build, and not in those of the first."""
        return sum(move.documents for move in self.moves if move.b in IN_SHARDS and move.a not in IN_SHARDS)


class BuildDiff(Strict):
    """The differences between two builds."""

    format_version: Literal[1] = 1
    folder_a: str  # as given on the command line
    folder_b: str
    name_a: str
    name_b: str
    settings: tuple[SettingDiff, ...]
    code: tuple[CodeDiff, ...]
    tokenizer: TokenizerDiff | None  # None: the same one
    sources: tuple[SourceDiff, ...]

    @property
    def differs(self) -> bool:
        """True if anything differs."""
        return bool(self.settings or self.code or self.tokenizer or any(source.differs for source in self.sources))


def compare_builds(a: Path, b: Path) -> BuildDiff:
    """Compare two builds. Raises InputError or CorpusError if one of them is not finished, or damaged."""
    builds = open_build(a), open_build(b)
    summaries = read_summary(a), read_summary(b)
    sources_a, sources_b = ({source.name: source for source in summary.sources} for summary in summaries)
    names = sorted({*sources_a, *sources_b})
    return BuildDiff(
        folder_a=str(a),
        folder_b=str(b),
        name_a=summaries[0].name,
        name_b=summaries[1].name,
        settings=tuple(_settings(a, b)),
        code=tuple(_code(*builds)),
        tokenizer=_tokenizers(a, b),
        sources=tuple(_source(name, builds, sources_a.get(name), sources_b.get(name)) for name in names),
    )


def _leaves(path: str, value: JsonValue) -> Iterator[tuple[str, JsonValue]]:
    """Yield the settings below a path. Lists of named settings (sources) become mappings; others are one setting."""
    if isinstance(value, list) and value and all(isinstance(item, dict) and "name" in item for item in value):
        value = {str(item["name"]): item for item in value if isinstance(item, dict)}
    if not isinstance(value, dict) or not value:
        yield path, value
        return
    for name, item in sorted(value.items()):
        yield from _leaves(f"{path}.{name}" if path else name, item)


def _settings(a: Path, b: Path) -> Iterator[SettingDiff]:
    """Yield the settings that differ. A setting unknown to one release and empty in the other does not count."""
    one, other = (dict(_leaves("", read_json(folder / "recipe.json"))) for folder in (a, b))
    for path in sorted({*one, *other}):
        only: Literal["a", "b"] | None = None if path in one and path in other else "a" if path in one else "b"
        values = [build.get(path) or None if only else build[path] for build in (one, other)]
        if json.dumps(values[0]) != json.dumps(values[1]):
            yield SettingDiff(path=path, a=one.get(path), b=other.get(path), only=only)


def _code(a: Build, b: Build) -> Iterator[CodeDiff]:
    """Yield each change of a revision or version once per kind of job, with the sources if it is not in all of them."""
    others = {job.name: job for job in b.jobs}
    jobs = [job for job in a.jobs if job.name in others and job.kind not in IGNORED_JOBS]
    sources: dict[str, list[str]] = {}  # by the change, as JSON
    for job in jobs:
        one, other = _version_keys(job), _version_keys(others[job.name])
        for name in sorted({*one, *other}):
            if one.get(name) != other.get(name):
                change = CodeDiff(job=job.kind, name=name, a=one.get(name), b=other.get(name))
                sources.setdefault(change.model_dump_json(), []).append(job.source)
    for text, names in sources.items():
        change = CodeDiff.model_validate_json(text)
        in_all = len(names) == sum(job.kind == change.job for job in jobs)
        yield change if in_all else change.model_copy(update={"job": f"{change.job} ({', '.join(names)})"})


def _version_keys(job: BuiltJob) -> dict[str, JsonValue]:
    return {"revision": job.file.description.revision, **job.file.description.versions}


def _tokenizers(a: Path, b: Path) -> TokenizerDiff | None:
    one, other = (open_manifest(folder / FILE_NAME).tokenizer for folder in (a, b))
    if one.sha256 == other.sha256 and one.eos == other.eos:
        return None
    words = _vocabulary(a, one), _vocabulary(b, other)
    return TokenizerDiff(
        sha256_a=one.sha256,
        sha256_b=other.sha256,
        vocabulary_a=one.vocabulary,
        vocabulary_b=other.vocabulary,
        shared=len(words[0] & words[1]) if all(words) else None,
        eos_a=one.eos.token,
        eos_b=other.eos.token,
    )


def _vocabulary(folder: Path, tokenizer: TokenizerEntry) -> set[str]:
    model = read_json(folder / tokenizer.file).get("model")
    words = model.get("vocab") if isinstance(model, dict) else None
    return set(words) if isinstance(words, dict) else set()


def _source(name: str, builds: tuple[Build, Build], a: SourceSummary | None, b: SourceSummary | None) -> SourceDiff:
    build_a, build_b = builds[0] if a else None, builds[1] if b else None
    documents = compare_documents(build_a, build_b, name)
    counts_a, counts_b = _counts(a), _counts(b)
    names = dict.fromkeys([*counts_a, *counts_b])
    return SourceDiff(
        name=name,
        only=None if a and b else "a" if a else "b",
        files=_files(_input_files(build_a, name), _input_files(build_b, name)),
        counts=tuple(CountDiff(name=count, a=counts_a.get(count, 0), b=counts_b.get(count, 0)) for count in names),
        rules=tuple(_rules(a, b)),
        moves=documents.moves,
        same=documents.same,
    )


def _files(a: set[tuple[str, str]], b: set[tuple[str, str]]) -> FilesDiff | None:
    """Compare input files: settings alone do not include paths."""
    only_a, only_b = sorted(a - b), sorted(b - a)
    if not only_a and not only_b:
        return None
    first_a, first_b = (tuple(name for name, _ in files[:FIRST_FILES]) for files in (only_a, only_b))
    return FilesDiff(only_a=len(only_a), only_b=len(only_b), first_a=first_a, first_b=first_b)


def _input_files(build: Build | None, source: str) -> set[tuple[str, str]]:
    """Return the name and SHA-256 (or, if its bytes were not fetched, the version) of each input file of a source."""
    files = (build.job("fetch", source).fetched_files or []) if build else []
    return {(str(file["name"]), str(file["sha256"] or file.get("version"))) for file in files}


def _counts(source: SourceSummary | None) -> dict[str, int]:
    """Return records, the places where they ended, and tokens and bytes by split."""
    if source is None:
        return {}
    sizes = {
        f"{name} {unit}": getattr(total, unit)
        for name, total in (("training", source.train), ("holdout", source.holdout))
        for unit in ("tokens", "bytes")
    }
    return {"records read": source.records_read, **source.ends(), **sizes}


def _rules(a: SourceSummary | None, b: SourceSummary | None) -> Iterator[RuleDiff]:
    """Yield the rules whose bound or counts changed."""
    rules_a, rules_b = ({rule.name: rule for rule in source.rules} if source else {} for source in (a, b))
    for name in dict.fromkeys([*rules_a, *rules_b]):
        one, other = _rule_figures(rules_a.get(name)), _rule_figures(rules_b.get(name))
        if one != other:
            figures = {f"{field}_a": value for field, value in one.items()}
            figures |= {f"{field}_b": value for field, value in other.items()}
            yield RuleDiff.model_validate({"rule": name, **figures})


def _rule_figures(rule: RuleCount | None) -> dict[str, str | int | None]:
    if rule is None:
        return {"bound": None, "dropped": 0, "failing": 0}
    return {"bound": rule.bound, "dropped": rule.dropped, "failing": rule.failing}
