"""What a curriculum draws on: the sources of one or more corpora, which share a tokenizer.

Nothing but manifests is read here; token shards are mapped when their tokens are asked for.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from corpus.errors import InputError
from corpus.store.corpus_manifest import Manifest, locate, open_manifest
from corpus.store.corpus_manifest import Source as ManifestSource


@dataclass(frozen=True, slots=True)
class TokenShardFile:
    """A token shard of one source and split."""

    path: Path
    tokens: int
    documents: int
    bytes: int  # of the documents' UTF-8 text


@dataclass(frozen=True, slots=True)
class TokenSource:
    """One source: `books`, or `corpus/books` where there are several corpora. Shards in the manifest's order."""

    name: str
    chunk_tokens: int
    tokenizer: str  # SHA-256
    train: tuple[TokenShardFile, ...]
    holdout: tuple[TokenShardFile, ...]
    holdout_thin: bool

    @property
    def train_tokens(self) -> int:
        """Tokens of one epoch."""
        return sum(shard.tokens for shard in self.train)

    @property
    def holdout_tokens(self) -> int:
        """Tokens held out."""
        return sum(shard.tokens for shard in self.holdout)

    @property
    def holdout_bytes(self) -> int:
        """Bytes of text held out."""
        return sum(shard.bytes for shard in self.holdout)

    @property
    def holdout_documents(self) -> int:
        """Documents held out."""
        return sum(shard.documents for shard in self.holdout)


@dataclass(frozen=True, slots=True)
class TokenizerFile:
    """The tokenizer of all corpora."""

    path: Path
    sha256: str
    vocabulary: int
    eos_id: int
    eos: str


@dataclass(frozen=True, slots=True)
class OpenCorpus:
    """A corpus, and what of it decides the batches."""

    path: Path
    manifest: Manifest

    @property
    def content_sha256(self) -> str:
        """SHA-256 over all that batches are made of: the training shards' hashes, in order, and the chunk size."""
        return self._digest(contents=True)

    @property
    def layout_sha256(self) -> str:
        """SHA-256 over what decides where each token stands; a takedown leaves it as it is."""
        return self._digest(contents=False)

    def _digest(self, contents: bool) -> str:
        manifest = self.manifest
        shards = [
            [source.name, shard.tokens, shard.sha256 if contents else shard.file]
            for source in manifest.sources
            for shard in source.shards
            if shard.split == "train"
        ]
        told = json.dumps([manifest.chunk_tokens, manifest.tokenizer.sha256, shards])
        return hashlib.sha256(told.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Corpora:
    """All that a curriculum may draw on, by name."""

    sources: Mapping[str, TokenSource]
    tokenizer: TokenizerFile
    manifests: Mapping[str, OpenCorpus]


def open_corpora(written: Mapping[str, str]) -> Corpora:
    """Opens the manifests of the folders (or files) named. Raises InputError with all that is wrong."""
    manifests, problems = {}, []
    for name, path in sorted(written.items()):
        try:
            manifests[name] = OpenCorpus(locate(Path(path)), open_manifest(Path(path)))
        except InputError as error:
            problems.append(f"corpus `{name}`: {error}; build it with `corpus build`, or name another in `corpora`")
    if problems:
        raise InputError("\n".join(problems))
    first_name, first = next(iter(manifests.items()))
    expected = first.manifest.tokenizer
    for name, opened in manifests.items():
        found = opened.manifest.tokenizer
        if (found.sha256, found.eos.id) != (expected.sha256, expected.eos.id):
            problems.append(
                f"corpora `{first_name}` and `{name}` were made with different tokenizers ({expected.sha256[:12]} and "
                f"{found.sha256[:12]}); rebuild one with the other's tokenizer.json (`tokenizer: {{file: …}}`)"
            )
    if problems:
        raise InputError("\n".join(problems))
    several = len(manifests) > 1
    sources = {}
    for name, opened in manifests.items():
        for source in opened.manifest.sources:
            full = f"{name}/{source.name}" if several else source.name
            sources[full] = _source(full, source, opened)
    file = first.path.parent / expected.file
    tokenizer = TokenizerFile(file, expected.sha256, expected.vocabulary, expected.eos.id, expected.eos.token)
    return Corpora(sources, tokenizer, manifests)


def _source(name: str, source: ManifestSource, opened: OpenCorpus) -> TokenSource:
    def shards(split: str) -> tuple[TokenShardFile, ...]:
        return tuple(
            TokenShardFile(opened.path.parent / shard.file, shard.tokens, shard.documents, shard.bytes)
            for shard in source.shards
            if shard.split == split and shard.tokens
        )

    manifest = opened.manifest
    return TokenSource(
        name=name,
        chunk_tokens=manifest.chunk_tokens,
        tokenizer=manifest.tokenizer.sha256,
        train=shards("train"),
        holdout=shards("holdout"),
        holdout_thin=source.holdout_thin,
    )
