"""Which of several like parts stands out: shards of one split, or the parts of a source's input.

The score is the robust z of Iglewicz and Hoaglin, How to Detect and Handle Outliers (1993): 0.6745 (x - median) / MAD,
marked beyond 3.5. The spread is never taken for less than a part's own sampling error, nor than 2 % of the median, so
that parts which are nearly alike mark none of themselves. Small parts are left out: theirs is noise.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus.inspect.report.summary_types import UNKNOWN_LANGUAGE, Outlier, OutlyingPart
from corpus.store.corpus_manifest import ShardEntry

FEWEST_PARTS = 8
FEWEST_DOCUMENTS = 100
BEYOND = 3.5
_NORMAL = 0.6745  # the MAD of a normal distribution of deviation 1
_FLOOR = 0.02  # of the median


class Part(NamedTuple):
    """What can be compared of one part."""

    documents: int
    measures: Mapping[str, float]  # the same names in all parts; `… share` are shares of documents


def outliers(parts: Sequence[Part]) -> list[tuple[Outlier, ...] | None]:
    """For each part what of it stands out; None if it was not compared."""
    typical = np.median([part.documents for part in parts if part.documents] or [0])
    enough = [part.documents >= max(FEWEST_DOCUMENTS, typical / 2) for part in parts]
    if sum(enough) < FEWEST_PARTS:
        return [None] * len(parts)
    compared = [part for part, large in zip(parts, enough, strict=True) if large]
    medians, spreads = {}, {}
    for measure in compared[0].measures:
        values = np.array([part.measures[measure] for part in compared])
        medians[measure] = float(np.median(values))
        mad = float(np.median(np.abs(values - medians[measure])))
        spreads[measure] = max(mad / _NORMAL, _FLOOR * abs(medians[measure]))
    return [
        tuple(_marked(part, medians, spreads)) if large else None for part, large in zip(parts, enough, strict=True)
    ]


def _marked(part: Part, medians: Mapping[str, float], spreads: Mapping[str, float]) -> list[Outlier]:
    found = []
    for measure, value in part.measures.items():
        spread, median = spreads[measure], medians[measure]
        if measure.endswith("share"):
            middle = min(max(median, 1 / part.documents), 1 - 1 / part.documents)
            spread = max(spread, (middle * (1 - middle) / part.documents) ** 0.5)
        if (score := (value - median) / spread if spread else 0.0) and abs(score) > BEYOND:
            short = {"value": value, "median": median, "score": score}
            found.append(Outlier(measure=measure, **{name: float(f"{each:.4g}") for name, each in short.items()}))
    return found


def of_shards(shards: Sequence[ShardEntry]) -> list[tuple[Outlier, ...] | None]:
    """Of the token shards of one source and split."""
    language = _most(shard.languages for shard in shards)
    return outliers(
        [
            Part(
                shard.documents,
                {
                    "mean tokens": shard.tokens / (shard.documents or 1),
                    "bytes a token": shard.bytes / (shard.tokens or 1),
                    f"{language} share": shard.languages.get(language, 0) / (shard.documents or 1),
                },
            )
            for shard in shards
        ]
    )


def of_parts(shards: Sequence[tuple[Path, Path]]) -> tuple[int, tuple[OutlyingPart, ...]]:
    """How many parts of a source's input were compared, and those that stand out; kept and dropped shards, in pairs."""
    languages: list[dict[str, int]] = []
    rows: list[tuple[int, int, int]] = []
    for kept, dropped in shards:
        table = pq.read_table(kept, columns=["language", "text_bytes"])
        counts = pc.value_counts(pc.fill_null(table["language"], UNKNOWN_LANGUAGE)).to_pylist()
        languages.append({row["values"]: row["counts"] for row in counts})
        size = pc.sum(table["text_bytes"]).as_py() or 0
        rows.append((table.num_rows, table.num_rows + pq.read_metadata(dropped).num_rows, size))
    language = _most(languages)
    parts = [
        Part(
            measured,
            {
                "kept share": kept / (measured or 1),
                "mean bytes": size / (kept or 1),
                f"{language} share": counts.get(language, 0) / (kept or 1),
            },
        )
        for (kept, measured, size), counts in zip(rows, languages, strict=True)
    ]
    marked = outliers(parts)
    return sum(each is not None for each in marked), tuple(
        OutlyingPart(part=number, documents=part.documents, outliers=found)
        for number, (part, found) in enumerate(zip(parts, marked, strict=True))
        if found
    )


def _most(counts: Iterable[Mapping[str, int]]) -> str:
    """The most frequent language of all."""
    total: dict[str, int] = {}
    for each in counts:
        for language, count in each.items():
            total[language] = total.get(language, 0) + count
    return min(total, key=lambda language: (-total[language], language), default=UNKNOWN_LANGUAGE)
