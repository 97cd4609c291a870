"""Gathers a build's ledgers, manifest and shards into a Summary. Texts are read for the examples alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus.errors import CorpusError
from corpus.inspect.report.duplicates import duplicate_pairs
from corpus.inspect.report.examples import kept_examples
from corpus.inspect.report.host_counts import hosts
from corpus.inspect.report.outliers import of_parts, of_shards
from corpus.inspect.report.rule_counts import rule_counts, rule_pairs
from corpus.inspect.report.signal_histograms import Measured, histograms, rule_set_counts
from corpus.inspect.report.summary import ShardRow, SourceSummary, Summary
from corpus.inspect.report.summary_types import UNKNOWN_LANGUAGE, DuplicatePair, Fate, LengthBucket, Merge, Stage
from corpus.quality.rule import Rule
from corpus.store.corpus_manifest import Manifest, SourceEntry
from corpus.store.ledger import Ledger
from corpus.store.token_shards import open_token_shard
from corpus.tokens.shares import apportion, exact


@dataclass(frozen=True)
class Evidence:
    """What a build has left. Mappings are by source unless said otherwise."""

    manifest: Manifest
    root: Path  # what the manifest's paths are relative to
    ledgers: Mapping[str, Ledger]  # by job: "clean.web", "text.web", "mix.web" …
    clean_shards: Mapping[str, Sequence[tuple[Path, Path]]]  # kept and dropped, a pair a task
    decisions: Mapping[str, Sequence[Path]]  # of dedup, a file a task of clean
    rules: Mapping[str, Sequence[Rule]]  # as the recipe states them, in its order
    rule_sets: Mapping[str, Sequence[Rule]]  # all there are, by name, with published bounds
    files: Mapping[str, int]
    dedup_counts: Mapping[str, int]
    ngram_words: int  # by which dedup compared


def collect(evidence: Evidence) -> Summary:
    """Raises CorpusError if ledgers, decisions and manifest do not tell the same story."""
    manifest = evidence.manifest
    asked = None
    if manifest.tokens_asked is not None:
        asked = apportion(manifest.tokens_asked, exact({each.name: each.share_asked for each in manifest.sources}))
    kept = {name: [path for path, _ in shards] for name, shards in evidence.clean_shards.items()}
    pairs = duplicate_pairs(kept, evidence.decisions, evidence.ngram_words)
    sources = tuple(
        _source(evidence, each, asked[each.name] if asked else None, pairs[each.name]) for each in manifest.sources
    )
    merges = tuple(merge for each in manifest.sources for merge in _merges(each.name, evidence.decisions[each.name]))
    summary = Summary(
        name=manifest.name,
        recipe=manifest.recipe,
        seed=manifest.seed,
        tokens_asked=manifest.tokens_asked,
        tokens_got=manifest.tokens_got,
        shortfall=manifest.shortfall,
        tokenizer_sha256=manifest.tokenizer.sha256,
        vocabulary=manifest.tokenizer.vocabulary,
        sources=sources,
        merges=merges,
        dedup=dict(sorted(evidence.dedup_counts.items())),
        shards=tuple(row for each in manifest.sources for row in _shards(each)),
    )
    _check(summary)
    return summary


def _source(
    evidence: Evidence, source: SourceEntry, tokens_asked: int | None, duplicates: tuple[DuplicatePair, ...]
) -> SourceSummary:
    name = source.name
    shards = evidence.clean_shards[name]
    rules = evidence.rules[name]
    measured = Measured([path for path, _ in shards], [path for _, path in shards])
    fates = [
        Fate.of(stage, entry)
        for stage in get_args(Stage)
        for entry in evidence.ledgers[f"{stage}.{name}"].entries()
        if entry.source == name
    ]
    counts = rule_counts(rules, fates, measured.dropped)
    parts_compared, outlying = of_parts(shards)
    return SourceSummary(
        name=name,
        license=source.license,
        priority=source.priority,
        files=evidence.files[name],
        fates=tuple(fates),
        rules=counts,
        together=rule_pairs({rule.name: place for place, rule in enumerate(counts)}, measured.dropped),
        rule_sets=rule_set_counts(measured, evidence.rule_sets, rules),
        signals=histograms(measured, rules),
        languages=_languages(measured.kept),
        hosts=hosts(measured),
        kept_examples=kept_examples(measured.kept),
        duplicates=duplicates,
        parts_compared=parts_compared,
        outlying_parts=outlying,
        share_asked=source.share_asked,
        share_got=source.share_got,
        tokens_asked=tokens_asked,
        train=source.train,
        holdout=source.holdout,
        holdout_thin=source.holdout_thin,
        lengths=_lengths(source, evidence.root),
    )


def _languages(kept: Sequence[Path]) -> dict[str, int]:
    """Documents by language, the most frequent first."""
    counts: dict[str, int] = {}
    for path in kept:
        column = pc.fill_null(pq.read_table(path, columns=["language"])["language"], UNKNOWN_LANGUAGE)
        for row in pc.value_counts(column).to_pylist():
            counts[row["values"]] = counts.get(row["values"], 0) + row["counts"]
    return dict(sorted(counts.items(), key=lambda each: (-each[1], each[0])))


def _lengths(source: SourceEntry, root: Path) -> tuple[LengthBucket, ...]:
    """Documents by length in tokens, in buckets that double, from the shards' offsets."""
    starts = 2 ** np.arange(63, dtype=np.int64)
    counts = {split: np.zeros(len(starts), np.int64) for split in ("train", "holdout")}
    for shard in source.shards:
        lengths = np.diff(open_token_shard(root / shard.file).offsets_D1)
        buckets = np.searchsorted(starts, lengths, side="right") - 1
        counts[shard.split] += np.bincount(buckets, minlength=len(starts))
    filled = np.flatnonzero(counts["train"] + counts["holdout"])
    return tuple(
        LengthBucket(at_least=2**bucket, train=int(counts["train"][bucket]), holdout=int(counts["holdout"][bucket]))
        for bucket in (range(filled[0], filled[-1] + 1) if len(filled) else ())
    )


def _merges(source: str, decisions: Sequence[Path]) -> list[Merge]:
    counts: dict[tuple[str, str], int] = {}
    for path in decisions:
        table = pq.read_table(path, columns=["survivor_source", "reason"])
        table = table.filter(pc.is_valid(table["reason"]))
        for row in table.group_by(["survivor_source", "reason"]).aggregate([([], "count_all")]).to_pylist():
            key = (row["survivor_source"], row["reason"])
            counts[key] = counts.get(key, 0) + row["count_all"]
    return [
        Merge(source=source, survivor_source=survivor, reason=reason, documents=counts[survivor, reason])
        for survivor, reason in sorted(counts)
    ]


def _shards(source: SourceEntry) -> list[ShardRow]:
    whole = {"train": source.train.tokens, "holdout": source.holdout.tokens}
    rows = []
    for split, tokens in whole.items():
        shards = [shard for shard in source.shards if shard.split == split]
        rows += [
            ShardRow(
                **shard.model_dump(exclude={"length_quantiles"}),
                length_quantiles=shard.length_quantiles,
                source=source.name,
                share_of_split=shard.tokens / tokens if tokens else 0.0,
                compared=outliers is not None,
                outliers=outliers or (),
            )
            for shard, outliers in zip(shards, of_shards(shards), strict=True)
        ]
    return rows


def _check(summary: Summary) -> None:
    """Three witnesses of one count must agree: a report that hid a difference would be worse than none."""
    for source in summary.sources:
        merged = sum(merge.documents for merge in summary.merges if merge.source == source.name)
        train, held = source.count("mix", "kept", "train"), source.count("mix", "kept", "holdout")
        pairs = [
            ("documents kept by clean's ledger and met by text's", source.passed_rules, source.count("text")),
            ("documents kept by text's ledger and met by mix's", source.unique, source.count("mix")),
            ("merged by text's ledger and by dedup's decisions", source.count("text", "merged"), merged),
            ("training documents by mix's ledger and by the manifest", train, source.train.documents),
            ("held out documents by mix's ledger and by the manifest", held, source.holdout.documents),
        ]
        for what, one, other in pairs:
            if one != other:
                raise CorpusError(
                    f"the ledgers of {source.name} do not balance: {what}: {one} and {other}; run `corpus verify`"
                )
