"""manifest.json: the contents of a corpus, for the trainer and other readers; nothing about the build's run.

Format: docs/formats.md. No library but pydantic and PyYAML is imported, so that the trainer and `--help` start fast.
"""

import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from corpus.settings import Strict, read_versioned

FORMAT_VERSION = 1
FILE_NAME = "manifest.json"
MAX_FILE_BYTES = 1_000_000_000


def _inside(file: str) -> str:
    parts = PurePosixPath(file).parts  # of a plain path: exactly its names
    if "/".join(parts) != file or ".." in parts or file[1:2] == ":" or "\\" in file or not file.isprintable():
        raise ValueError("expected a plain path below the manifest's folder, such as shards/web-train-00000.arrow")
    return file


RelativePath = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_inside)]
Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]  # SHA-256
Count = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Split = Literal["train", "holdout"]


class Eos(Strict):
    """The token that ends each document."""

    token: str
    id: Count


class TokenizerEntry(Strict):
    """The tokenizer that all shards were made with."""

    file: RelativePath
    sha256: Hex
    vocabulary: Annotated[int, Field(ge=1)]  # every token id lies below it
    eos: Eos
    dtype: Literal["uint16", "uint32"]


class Totals(Strict):
    """Counts over documents; `bytes` are those of their UTF-8 text."""

    documents: Count
    tokens: Count
    bytes: Count


class Quantiles(Strict):
    """Lengths of documents in tokens, by nearest rank; all 0 where there is no document."""

    p0: Count
    p5: Count
    p25: Count
    p50: Count
    p75: Count
    p95: Count
    p100: Count


class ShardEntry(Totals):
    """One token shard."""

    file: RelativePath
    split: Split
    file_bytes: Count
    sha256: Hex
    length_quantiles: Quantiles
    languages: dict[str, Count]  # documents by language code


class SourceEntry(Strict):
    """Contents from one source. Shares are of training tokens."""

    name: str
    license: str
    priority: int
    share_asked: Fraction
    share_got: Fraction
    train: Totals
    holdout: Totals
    holdout_thin: bool
    shards: tuple[ShardEntry, ...]

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        for split, totals in (("train", self.train), ("holdout", self.holdout)):
            added = total([shard for shard in self.shards if shard.split == split])
            if added != totals:
                raise ValueError(f"its {split} shards add up to {_counts(added)}, not to {_counts(totals)}")
        return self


class Manifest(Strict):
    """The whole corpus. Sources are sorted by name."""

    format_version: Literal[1] = 1
    name: str
    recipe: Hex  # fingerprint
    revision: Count = 0  # raised by each takedown
    seed: int
    chunk_tokens: Annotated[int, Field(ge=1)] | None = None  # written by earlier releases; hashed by the trainer
    tokens_asked: Count | None  # for training; None: all there are
    tokens_got: Count
    shortfall: Literal["accept", "scale", "stop"]
    tokenizer: TokenizerEntry
    sources: Annotated[tuple[SourceEntry, ...], Field(min_length=1)]
    fingerprints: dict[str, Hex]  # by job

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        names = [source.name for source in self.sources]
        if names != sorted(set(names)):
            raise ValueError(f"sources must be unique and in the order of their names; found {names}")
        files = [shard.file for source in self.sources for shard in source.shards]
        if len(files) != len(set(files)):
            raise ValueError("a shard is named twice")
        tokens = sum(source.train.tokens for source in self.sources)
        if tokens != self.tokens_got:
            raise ValueError(f"sources hold {tokens} training tokens, not tokens_got = {self.tokens_got}")
        for source in self.sources:
            share = source.train.tokens / max(1, self.tokens_got)
            if abs(share - source.share_got) > 1e-9:
                raise ValueError(f"source {source.name} holds a share of {share}, not share_got = {source.share_got}")
        return self


def total(parts: Sequence[Totals]) -> Totals:
    """Return the sum of several totals or shards."""
    return Totals(**{name: sum(getattr(part, name) for part in parts) for name in Totals.model_fields})


def length_quantiles(lengths: Sequence[int]) -> Quantiles:
    """Return nearest-rank quantiles: p is the smallest length that at least p % of the documents do not exceed."""
    ordered = sorted(lengths) or [0]
    ranks = {name: -(-int(name[1:]) * len(ordered) // 100) - 1 for name in Quantiles.model_fields}
    return Quantiles(**{name: ordered[max(0, rank)] for name, rank in ranks.items()})


def locate(path: Path) -> Path:
    """Return the manifest's path: `path` itself, or the file in that build folder."""
    return path / FILE_NAME if path.is_dir() else path


def open_manifest(path: Path) -> Manifest:
    """Read the manifest at `path`, a file or a build folder; paths in it are relative to the file's folder.

    Raises InputError if it is missing, of a newer format, or malformed; the message lists every fault.
    """
    remedy = "expected a build folder or manifest.json"
    return read_versioned(
        Manifest, locate(path), "a manifest", remedy, version=FORMAT_VERSION, max_bytes=MAX_FILE_BYTES
    )


def canonical(manifest: Manifest) -> bytes:
    """Return the bytes of the file: sorted keys, indented by two spaces, newline at the end."""
    fields = manifest.model_dump(exclude={"chunk_tokens"} if manifest.chunk_tokens is None else None)
    return (json.dumps(fields, sort_keys=True, indent=2, ensure_ascii=False) + "\n").encode()


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write the file under exactly this name; the task takes care of fsync and renaming."""
    path.write_bytes(canonical(manifest))


def _counts(totals: Totals) -> str:
    return f"{totals.documents} documents, {totals.tokens} tokens, {totals.bytes} bytes"
