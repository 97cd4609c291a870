"""Reads a finished sample back: what is known of each source, for `estimate` to draw corpora from."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from corpus.dedup.decision import held_out
from corpus.recipe import Recipe
from corpus.store.parquet_tables import columns
from corpus.tokens.runs import order_key
from pipelines.commands.forecast.estimate import MAX_UNITS, KnownRecords, Sample, SampledFiles
from pipelines.commands.forecast.sample_tokens import Text, measure
from pipelines.commands.forecast.sampling import Place_, Sampled, records, units
from pipelines.inputs import Item, Selection, size_of
from pipelines.stages.fetch import files_of

MEASURED_BYTES = 20_000_000  # of each source's text; the tokens of what is left over follow from its bytes


@dataclass
class _Documents:
    """The sampled records of a source that may become documents, as columns."""

    places: list[Place_] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    kept: list[bool] = field(default_factory=list)
    chances: list[float] = field(default_factory=list)
    text_bytes: list[float] = field(default_factory=list)  # also of what was dropped
    merged: list[float] = field(default_factory=list)
    tokens: list[float] = field(default_factory=list)

    @property
    def rows(self) -> dict[Place_, int]:
        """Where each record stands."""
        return {place: row for row, place in enumerate(self.places)}


@dataclass(frozen=True)
class Known:
    """What the sample says of a source."""

    source: KnownRecords | SampledFiles
    spread: float  # of its tokens: see sample_tokens
    sampled: int  # documents
    of: int | None  # documents that there are; None: only the sampled files were read
    input_bytes: float  # of all records that may become documents, or of all files
    part: float  # of these bytes that was sampled
    dropped_text_bytes: float  # of the whole


class Reader:
    """Reads the sample of a recipe."""

    def __init__(self, sampled: Sampled, recipe: Recipe, given: Path | None, whole_bytes: Mapping[str, float]) -> None:
        """`whole_bytes` are those of all files of a source, `given` is the recipe's own tokenizer."""
        self._sampled, self._recipe, self._given, self._whole = sampled, recipe, given, whole_bytes
        self._files = {name: _files(sampled, name) for name in sampled.cleans}
        self._documents = {name: self._read(name) for name in sampled.cleans}
        self._mark_merged()
        self.spread = self._count_tokens()

    def known(self) -> dict[str, Known]:
        """What is known of each source."""
        return {source.name: self._known(source.name, source.holdout) for source in self._recipe.sources}

    def _part(self, name: str) -> float:
        """The share of a source's bytes that lies in the files that were read."""
        return min(1.0, sum(self._files[name].values()) / max(1.0, self._whole[name]))

    def _read(self, name: str) -> _Documents:
        """What was read as documents: kept, dropped, or chosen and failed."""
        clean, chosen = self._sampled.cleans[name], self._sampled.chances.get(name)
        found = _Documents()
        for row in records(self._sampled.done(clean)).to_pylist():
            place = (str(row["file"]), int(row["start"]))
            chance = chosen.get(place) if chosen is not None else float(row["outcome"] in ("kept", "dropped"))
            if chance:
                found.places.append(place)
                found.sizes.append(row["end"] - row["start"])
                found.kept.append(row["outcome"] == "kept")
                found.chances.append(chance)
        for values in (found.text_bytes, found.merged, found.tokens):
            values += [0.0] * len(found.places)
        rows = found.rows
        for kind in ("kept", "dropped"):
            for each in self._shards(name, kind, "origin_file", "origin_start", "text_bytes"):
                row_of = rows.get((each["origin_file"], each["origin_start"]))
                if row_of is not None:  # else a copy of a chosen record, with its id
                    found.text_bytes[row_of] = float(each["text_bytes"])
        return found

    def _shards(self, name: str, kind: str, *names: str) -> list[dict[str, Any]]:
        clean = self._sampled.cleans[name]
        done = self._sampled.done(clean)
        return [
            row for n in range(clean.tasks) for row in columns(done.path(f"{kind}-{n:05d}.parquet"), *names).to_pylist()
        ]

    def _mark_merged(self) -> None:
        """A duplicate is seen only with its survivor, and so stands for as many as the chance of both is small."""
        dedup = self._sampled.done(self._sampled.dedup)
        chance_of: dict[tuple[str, str], tuple[float, str]] = {}
        merged: list[tuple[str, int, float, str, tuple[str, str]]] = []
        for name, clean in self._sampled.cleans.items():
            documents, rows, part = self._documents[name], self._documents[name].rows, self._part(name)
            by_file = name not in self._sampled.censuses
            kept = self._shards(name, "kept", "id", "origin_file", "origin_start")
            paths = [dedup.path(f"decisions/{name}-{n:05d}.parquet") for n in range(clean.tasks)]
            for each, fate in zip(
                kept, (fate for path in paths for fate in pq.read_table(path).to_pylist()), strict=True
            ):
                row = rows.get((each["origin_file"], each["origin_start"]))
                if row is None:
                    continue
                chance = part if by_file else documents.chances[row]
                if fate["split"] is None:
                    survivor = (str(fate["survivor_source"]), str(fate["survivor"]))
                    merged.append((name, row, chance, each["origin_file"] if by_file else "", survivor))
                else:
                    chance_of[(name, str(each["id"]))] = (chance, each["origin_file"] if by_file else "")
        for name, row, chance, file, survivor in merged:
            other, other_file = chance_of.get(survivor, (1.0, ""))
            met = 1.0 if file and (file, name) == (other_file, survivor[0]) else other
            self._documents[name].merged[row] = 1 / met if file else 1 / (chance * met)

    def _count_tokens(self) -> Mapping[str, float]:
        """Fills in tokens; returns their spread."""
        texts: dict[str, list[Text]] = {}
        rows: dict[str, list[int]] = {}
        whole: dict[str, float] = {}
        for name, documents in self._documents.items():
            part = 1.0 if name in self._sampled.censuses else self._part(name)
            columns_D = zip(documents.text_bytes, documents.chances, documents.kept, strict=True)
            text = sum(size / chance for size, chance, kept in columns_D if kept)
            whole[name] = text / part if text else 0.0
            texts[name], rows[name] = self._texts(name)
        shares = {source.name: source.share for source in self._recipe.sources}
        rates = measure(texts, whole, self._recipe.tokenizer, self._given, shares, self._recipe.seed)
        for name, documents in self._documents.items():
            counted = dict(zip(rows[name], rates.tokens[name], strict=True)) if rates.tokens[name] else {}
            size = sum(documents.text_bytes[row] for row in counted)
            rate = sum(counted.values()) / size if size else 0.0
            for row, kept in enumerate(documents.kept):
                documents.tokens[row] = counted.get(row, rate * documents.text_bytes[row]) if kept else 0.0
        return rates.spread

    def _texts(self, name: str) -> tuple[list[Text], list[int]]:
        """The first texts, up to MEASURED_BYTES, and their rows among the documents."""
        job = self._sampled.texts[name]
        done, rows = self._sampled.done(job), self._documents[name].rows
        texts: list[Text] = []
        places: list[int] = []
        left = MEASURED_BYTES
        for n in range(job.tasks):
            names = ["id", "text", "text_bytes", "origin_file", "origin_start"]
            for row in pq.read_table(done.path(f"text-{n:05d}.parquet"), columns=names).to_pylist():
                if left <= 0:
                    return texts, places
                number = rows.get((str(row["origin_file"]), int(str(row["origin_start"]))))
                if number is not None:
                    left -= int(str(row["text_bytes"]))
                    texts.append(Text(str(row["id"]), str(row["text"]), int(str(row["text_bytes"]))))
                    places.append(number)
        return texts, places

    def _known(self, name: str, may_hold_out: bool) -> Known:
        documents = self._documents[name]
        numbers = {file: number for number, file in enumerate(self._files[name])}
        kept = np.array(documents.kept, bool)
        text = np.array(documents.text_bytes)
        files_S = np.array([numbers[file] for file, _ in documents.places], np.int64)
        sizes_S, chances_S = np.array(documents.sizes, np.float64), np.array(documents.chances)
        tokens_S, merged_S = np.array(documents.tokens), np.array(documents.merged)
        sample = Sample(sizes_S, chances_S, kept, np.where(kept, text, 0.0), tokens_S, merged_S, files_S)
        share = self._recipe.holdout.share if may_hold_out else 0.0
        weights = 1 / sample.chances_S if len(text) else text
        dropped = float((weights * np.where(kept, 0.0, text)).sum())
        if name not in self._sampled.censuses:
            part = self._part(name)
            found = records(self._sampled.done(self._sampled.cleans[name]))
            counts = Counter(found["file"].to_pylist())
            files = SampledFiles(
                sample, np.array(list(self._files[name].values()), np.float64),
                np.array([counts[file] for file in self._files[name]], np.float64), self._whole[name], share,
            )  # fmt: skip
            return Known(files, self.spread[name], len(text), None, self._whole[name], part, dropped / (part or 1.0))
        source, of = self._known_records(name, sample, share)
        sizes = float(source.sizes_U.sum()) * source.weight
        part = float(sample.sizes_S.sum()) / sizes if sizes else 1.0
        return Known(source, self.spread[name], len(text), of, sizes, part, dropped)

    def _known_records(self, name: str, sample: Sample, share: float) -> tuple[KnownRecords, int]:
        """All records of a source with what is known of each, and how many may be documents."""
        census = self._sampled.done(self._sampled.censuses[name])
        found, seed, rows = units(census), self._recipe.seed, self._documents[name].rows
        stride = max(1, -(-found.num_rows // MAX_UNITS))
        part = found.take(np.arange(0, found.num_rows, stride))
        ids = part["id"].to_pylist()
        order_U = np.argsort(np.array([order_key(seed, each) for each in ids], np.uint64), kind="stable")
        places = zip(part["file"].to_pylist(), part["start"].to_pylist(), strict=True)
        source = KnownRecords(
            (part["end"].to_numpy() - part["start"].to_numpy()).astype(np.float64)[order_U],
            np.array([held_out(each, seed, share) for each in ids], bool)[order_U],
            np.array([rows.get(place, -1) for place in places], np.int64)[order_U],
            sample, records(census).num_rows, found.num_rows / max(1, part.num_rows),
        )  # fmt: skip
        return source, found.num_rows


def _files(sampled: Sampled, name: str) -> dict[str, float]:
    """The files that were read, with the bytes by which they count: of what was selected, those of its index."""
    acquire = sampled.acquires[name]
    found = files_of(acquire, sampled.done(acquire))
    return {
        each.name: float(published_size(each.item) if isinstance(each.item, Selection) else each.size) for each in found
    }


def published_size(item: Item) -> int:
    """Bytes by which a file of a plan counts before it is fetched."""
    return size_of(item.listed) or 0 if isinstance(item, Selection) else size_of(item) or 0
