"""Counts of a source's documents by language, length and host, and the parts and shards that stand out."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus.inspect.report.rules import Shards
from corpus.inspect.report.summary import (
    UNKNOWN_LANGUAGE,
    HostCount,
    HostCounts,
    LengthBucket,
    Outlier,
    OutlyingPart,
)
from corpus.store.corpus_manifest import ShardEntry
from corpus.store.parquet_tables import value_counts
from corpus.store.token_shards import open_token_shard
from corpus.units import by_count

SHOWN_HOSTS = 20
COUNTED_HOSTS = 300_000  # at once, each about 100 bytes
_HOST = (
    r"^[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#\\]*@)?(?P<host>\[[0-9A-Fa-f:.]{2,45}\]|[^/?#:@\s\\\[\]]{1,253})(?:[:/?#\\]|$)"
)
FEWEST_PARTS = 8  # fewer are not compared
FEWEST_DOCUMENTS = 100  # smaller parts are not compared
BEYOND = 3.5  # robust z of an outlier
_NORMAL = 0.6745  # median absolute deviation of a normal distribution whose standard deviation is 1
_SMALLEST_SPREAD = 0.02  # of the median


def language_counts(paths: Iterable[Path]) -> dict[str, int]:
    """Count documents by language, the most frequent first."""
    counts: Counter[str] = Counter()
    for path in paths:
        counts.update(value_counts(pq.read_table(path, columns=["language"])["language"], UNKNOWN_LANGUAGE))
    return by_count(counts)


def length_buckets(shards: Sequence[ShardEntry], root: Path) -> tuple[LengthBucket, ...]:
    """Count documents by their tokens, in buckets that double, from the offsets of the token shards."""
    starts = 2 ** np.arange(63, dtype=np.int64)
    counts = {split: np.zeros(len(starts), np.int64) for split in ("train", "holdout")}
    for shard in shards:
        lengths_D = np.diff(open_token_shard(root / shard.file).offsets_D1)
        buckets_D = np.searchsorted(starts, lengths_D, side="right") - 1
        counts[shard.split] += np.bincount(buckets_D, minlength=len(starts))
    filled = np.flatnonzero(counts["train"] + counts["holdout"])
    return tuple(
        LengthBucket(at_least=2**bucket, train=int(counts["train"][bucket]), holdout=int(counts["holdout"][bucket]))
        for bucket in (range(filled[0], filled[-1] + 1) if len(filled) else ())
    )


def host_counts(shards: Shards) -> HostCounts | None:
    """Return the most frequent hosts of a source's URLs, by kept and dropped documents; None if there are no hosts.

    Counts are exact. If there are more hosts than are counted at once, every host of more than one document in
    COUNTED_HOSTS is certainly found. Source: Misra and Gries, Finding repeated elements (1982), in two passes.
    """
    candidates: Counter[str] = Counter()
    sums: Counter[bool] = Counter()
    all_counted, without = True, 0
    for kept, hosts, others in _hosts_by_shard(shards):
        without += others
        sums[kept] += sum(hosts.values())
        candidates.update(hosts)
        if len(candidates) > COUNTED_HOSTS:
            # At most half of them stay: all counts are lowered by the same number, and those at 0 are removed.
            cut = sorted(candidates.values(), reverse=True)[COUNTED_HOSTS // 2]
            candidates, all_counted = Counter({host: n - cut for host, n in candidates.items() if n > cut}), False
    if not candidates:
        return None
    counts: Counter[tuple[str, bool]] = Counter()
    for kept, hosts, _ in _hosts_by_shard(shards):
        counts.update({(host, kept): documents for host, documents in hosts.items() if host in candidates})
    order = sorted(candidates, key=lambda host: (-counts[host, True] - counts[host, False], host))[:SHOWN_HOSTS]
    return HostCounts(
        top=tuple(HostCount(host=host, kept=counts[host, True], dropped=counts[host, False]) for host in order),
        different=len(candidates) if all_counted else None,
        kept=sums[True],
        dropped=sums[False],
        without=without,
    )


def _hosts_by_shard(shards: Shards) -> Iterator[tuple[bool, dict[str, int], int]]:
    """Yield for each shard: True if its documents were kept, their hosts, and the number of documents without one."""
    for path, kept in shards:
        urls = pq.read_table(path, columns=["url"])["url"]
        hosts = pc.utf8_lower(pc.struct_field(pc.extract_regex(urls, _HOST), "host"))  # null if there is none
        counts = value_counts(hosts)
        yield kept, counts, counts.pop("", 0)


class ComparedPart(NamedTuple):
    """The measures of one of several similar parts."""

    documents: int
    measures: Mapping[str, float]  # the same names in all parts; "… share" are shares of documents


def outliers(parts: Sequence[ComparedPart]) -> list[tuple[Outlier, ...] | None]:
    """Return the measures in which each part stands out; None for a part that was not compared.

    The score is the robust z of Iglewicz and Hoaglin, How to Detect and Handle Outliers (1993): 0.6745 (x - median) /
    MAD. The spread is at least 2 % of the median, so that nearly equal parts have no outliers, and at least a share's
    own sampling error. Small parts are left out, because their differences are noise.
    """
    typical = np.median([part.documents for part in parts if part.documents] or [0])
    enough = [part.documents >= max(FEWEST_DOCUMENTS, typical / 2) for part in parts]
    if sum(enough) < FEWEST_PARTS:
        return [None] * len(parts)
    compared = [part for part, large in zip(parts, enough, strict=True) if large]
    typical_of: dict[str, tuple[float, float]] = {}  # median and spread
    for measure in compared[0].measures:
        values = np.array([part.measures[measure] for part in compared])
        median = float(np.median(values))
        spread = float(np.median(np.abs(values - median))) / _NORMAL
        typical_of[measure] = median, max(spread, _SMALLEST_SPREAD * abs(median))
    return [tuple(_outliers_of(part, typical_of)) if large else None for part, large in zip(parts, enough, strict=True)]


def _outliers_of(part: ComparedPart, typical_of: Mapping[str, tuple[float, float]]) -> Iterator[Outlier]:
    for measure, value in part.measures.items():
        median, spread = typical_of[measure]
        if measure.endswith("share"):  # its standard error, by the binomial distribution
            middle = min(max(median, 1 / part.documents), 1 - 1 / part.documents)
            spread = max(spread, (middle * (1 - middle) / part.documents) ** 0.5)
        score = (value - median) / spread if spread else 0.0
        if abs(score) > BEYOND:
            value, median, score = (float(f"{number:.4g}") for number in (value, median, score))
            yield Outlier(measure=measure, value=value, median=median, score=score)


def outlying_shards(shards: Sequence[ShardEntry]) -> list[tuple[Outlier, ...] | None]:
    """Compare the token shards of one source and split."""
    language = _most_frequent(shard.languages for shard in shards)
    parts = []
    for shard in shards:
        measures = {
            "mean tokens": shard.tokens / (shard.documents or 1),
            "bytes a token": shard.bytes / (shard.tokens or 1),
            f"{language} share": shard.languages.get(language, 0) / (shard.documents or 1),
        }
        parts.append(ComparedPart(shard.documents, measures))
    return outliers(parts)


def outlying_parts(shards: Sequence[tuple[Path, Path]]) -> tuple[int, tuple[OutlyingPart, ...]]:
    """Return the number of compared parts of a source's input, and those that stand out; `shards` are kept, dropped."""
    languages = [language_counts([kept]) for kept, _ in shards]
    language = _most_frequent(languages)
    parts = []
    for (kept_path, dropped_path), counts in zip(shards, languages, strict=True):
        kept = sum(counts.values())
        documents = kept + pq.read_metadata(dropped_path).num_rows
        size = pc.sum(pq.read_table(kept_path, columns=["text_bytes"])["text_bytes"]).as_py() or 0
        measures = {
            "kept share": kept / (documents or 1),
            "mean bytes": size / (kept or 1),
            f"{language} share": counts.get(language, 0) / (kept or 1),
        }
        parts.append(ComparedPart(documents, measures))
    compared = outliers(parts)
    return sum(marked is not None for marked in compared), tuple(
        OutlyingPart(part=number, documents=part.documents, outliers=marked)
        for number, (part, marked) in enumerate(zip(parts, compared, strict=True))
        if marked
    )


def _most_frequent(counts: Iterable[Mapping[str, int]]) -> str:
    """Return the most frequent language of all."""
    return next(iter(by_count(sum(map(Counter, counts), Counter[str]()))), UNKNOWN_LANGUAGE)
