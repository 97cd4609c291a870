"""Gather a build's ledgers, manifest and shards into a Summary. Texts are read for the examples alone."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus.errors import CorpusError
from corpus.inspect.report import counts, examples, rules
from corpus.inspect.report.summary import (
    DuplicatePair,
    LostInput,
    Merge,
    OutcomeCount,
    ReportStep,
    ShardRow,
    SourceSummary,
    Summary,
)
from corpus.quality.rule import Rule
from corpus.store.corpus_manifest import Manifest, ShardEntry, SourceEntry
from corpus.store.ledger import FileLoss, Ledger
from corpus.store.token_shards import SPLITS
from corpus.tokens.shares import apportion, exact

SHOWN_LOSSES = 20  # files of a source
MANIFEST_FIELDS = ("name", "recipe", "seed", "tokens_asked", "tokens_got", "shortfall")
SHARED_FIELDS = SourceSummary.model_fields.keys() & SourceEntry.model_fields.keys()


@dataclass(frozen=True)
class Evidence:
    """The products of a build that the report reads. Mappings are by source unless stated otherwise."""

    manifest: Manifest
    root: Path  # of the manifest's paths
    steps: Mapping[str, str]  # titles of the stages that decide about documents, in the order of the plan
    ledgers: Mapping[str, Ledger]  # of their jobs, by name: "clean.web", "text.web", "mix.web" …
    clean_shards: Mapping[str, Sequence[tuple[Path, Path]]]  # kept and dropped documents, a pair per task
    decisions: Mapping[str, Sequence[Path]]  # of dedup, a file per task of clean
    rules: Mapping[str, Sequence[Rule]]  # of the recipe, in its order
    rule_sets: Mapping[str, Sequence[Rule]]  # all there are, by name, with published bounds
    files: Mapping[str, int]
    losses: Mapping[str, Sequence[FileLoss]]  # the largest first
    without_checksum: Mapping[str, Mapping[str, int]]  # files whose data carry none, by format
    dedup_counts: Mapping[str, int]
    ngram_words: int  # by which dedup compared


def collect(evidence: Evidence) -> Summary:
    """Return the summary. Raises CorpusError if ledgers, decisions and manifest contradict each other."""
    manifest = evidence.manifest
    asked: Mapping[str, int | None] = dict.fromkeys(evidence.files)
    if manifest.tokens_asked is not None:
        shares = exact({source.name: source.share_asked for source in manifest.sources})
        asked = apportion(manifest.tokens_asked, shares)
    shards = {
        name: [(kept, path) for (kept, _), path in zip(evidence.clean_shards[name], decisions, strict=True)]
        for name, decisions in evidence.decisions.items()
    }
    pairs = examples.duplicate_pairs(shards, evidence.ngram_words)
    summary = Summary(
        **{field: getattr(manifest, field) for field in MANIFEST_FIELDS},
        tokenizer_sha256=manifest.tokenizer.sha256,
        vocabulary=manifest.tokenizer.vocabulary,
        steps=tuple(ReportStep(stage=stage, title=title) for stage, title in evidence.steps.items()),
        sources=tuple(_source(evidence, source, asked[source.name], pairs[source.name]) for source in manifest.sources),
        merges=tuple(
            merge for source in manifest.sources for merge in _merges(source.name, evidence.decisions[source.name])
        ),
        dedup=dict(sorted(evidence.dedup_counts.items())),
        shards=tuple(row for source in manifest.sources for row in _shards(source)),
    )
    _check(summary)
    return summary


def _source(
    evidence: Evidence, source: SourceEntry, tokens_asked: int | None, duplicates: tuple[DuplicatePair, ...]
) -> SourceSummary:
    name, pairs, own_rules = source.name, evidence.clean_shards[source.name], evidence.rules[source.name]
    kept, dropped = [path for path, _ in pairs], [path for _, path in pairs]
    shards = [*((path, True) for path in kept), *((path, False) for path in dropped)]
    outcomes = tuple(
        OutcomeCount.of(stage, entry)
        for stage in evidence.steps
        for entry in evidence.ledgers[f"{stage}.{name}"].entries()
        if entry.source == name
    )
    failed = rules.failed_sets(dropped)
    dropped_examples = examples.dropped_examples(dropped, {rule.name: rule for rule in own_rules})
    counted_rules = rules.rule_counts(own_rules, outcomes, failed, dropped_examples)
    compared, outlying = counts.outlying_parts(pairs)
    return SourceSummary(
        **{field: getattr(source, field) for field in SHARED_FIELDS},
        files=evidence.files[name],
        files_lost=len(evidence.losses[name]),
        losses=tuple(map(LostInput.of, evidence.losses[name][:SHOWN_LOSSES])),
        without_checksum=dict(sorted(evidence.without_checksum[name].items())),
        outcomes=outcomes,
        rules=counted_rules,
        together=rules.rule_pairs([rule.name for rule in counted_rules], failed),
        rule_sets=rules.rule_set_counts(shards, evidence.rule_sets, own_rules),
        signals=rules.histograms(shards, own_rules),
        languages=counts.language_counts(kept),
        hosts=counts.host_counts(shards),
        kept_examples=examples.kept_examples(kept),
        duplicates=duplicates,
        parts_compared=compared,
        outlying_parts=outlying,
        tokens_asked=tokens_asked,
        lengths=counts.length_buckets(source.shards, evidence.root),
    )


def _merges(source: str, decisions: Sequence[Path]) -> list[Merge]:
    """Count a source's duplicates by their survivors' source and by reason."""
    documents: Counter[tuple[str, str]] = Counter()
    for path in decisions:
        table = pq.read_table(path, columns=["survivor_source", "reason"])
        table = table.filter(pc.is_valid(table["reason"]))
        documents.update(zip(table["survivor_source"].to_pylist(), table["reason"].to_pylist(), strict=True))
    return [
        Merge(source=source, survivor_source=survivor, reason=reason, documents=documents[survivor, reason])
        for survivor, reason in sorted(documents)
    ]


def _shards(source: SourceEntry) -> Iterator[ShardRow]:
    for split in SPLITS:
        shards = [shard for shard in source.shards if shard.split == split]
        tokens = sum(shard.tokens for shard in shards)
        for shard, outliers in zip(shards, counts.outlying_shards(shards), strict=True):
            yield ShardRow(
                **{name: getattr(shard, name) for name in ShardEntry.model_fields},
                source=source.name,
                share_of_split=shard.tokens / tokens if tokens else 0.0,
                compared=outliers is not None,
                outliers=outliers or (),
            )


def _check(summary: Summary) -> None:
    """Compare each count with another record of it: a report must not hide a difference."""
    *_, last = summary.titles
    for source in summary.sources:
        kept = {row.reason: row.records for row in source.outcomes if (row.stage, row.outcome) == (last, "kept")}
        merged = sum(row.records for row in source.outcomes if row.outcome == "merged")
        decided = sum(merge.documents for merge in summary.merges if merge.source == source.name)
        pairs = [
            ("duplicates in the ledgers, and in dedup's decisions", merged, decided),
            (f"training documents of {last}, and in the manifest", kept.get("train", 0), source.train.documents),
            (f"holdout documents of {last}, and in the manifest", kept.get("holdout", 0), source.holdout.documents),
        ]
        for stage, following in pairwise(summary.titles):
            counted = f"documents kept in the ledger of {stage}, and read in that of {following}"
            pairs.append((counted, source.count(stage, "kept"), source.count(following)))
        for counted, one, other in pairs:
            if one != other:
                raise CorpusError(
                    f"the ledgers of {source.name} do not balance: {counted}: {one} and {other}; run `corpus verify`"
                )
