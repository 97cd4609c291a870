"""The corpora of a training run: their sources, token shards and tokenizer.

Only manifests are read here. Token shards are mapped when their tokens are needed.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from corpus.errors import InputError
from corpus.store.corpus_manifest import Manifest, SourceEntry, Split, locate, open_manifest
from trainer.data.cursor import SourceLayout, chunk_tokens

FORMER_CHUNK_TOKENS = 8192  # default of a setting of recipes that is gone; in the hashes of a manifest without it


@dataclass(frozen=True, slots=True)
class TokenShardFile:
    """A token shard, as described by the manifest."""

    path: Path
    tokens: int
    documents: int
    tokenizer: str  # SHA-256


@dataclass(frozen=True, slots=True)
class TokenSource:
    """A source with its shards in the manifest's order. With several corpora it is named `corpus/source`."""

    name: str
    identity: str  # of its corpus' layout, and its name in there: a corpus added later changes neither
    chunk_tokens: int
    train: tuple[TokenShardFile, ...]
    holdout: tuple[TokenShardFile, ...]
    holdout_thin: bool

    @property
    def train_tokens(self) -> int:
        """Tokens of one epoch."""
        return sum(shard.tokens for shard in self.train)

    @property
    def layout(self) -> SourceLayout:
        """The facts that determine its reading order."""
        return SourceLayout(self.identity, self.train_tokens, self.chunk_tokens)


@dataclass(frozen=True, slots=True)
class TokenizerFile:
    """The tokenizer that all corpora share."""

    path: Path
    sha256: str
    vocabulary: int
    eos_id: int
    eos: str


@dataclass(frozen=True, slots=True)
class OpenCorpus:
    """A build's manifest, with the hashes by which a resumed run recognizes the corpus."""

    path: Path
    manifest: Manifest

    @property
    def content_sha256(self) -> str:
        """Hash of everything that batches consist of: the tokenizer, and the training shards' hashes."""
        return self._digest(contents=True)

    @property
    def layout_sha256(self) -> str:
        """Hash of everything that determines the position of each token. A takedown does not change it."""
        return self._digest(contents=False)

    def _digest(self, contents: bool) -> str:
        # Earlier releases wrote the size of chunks, so a corpus that had their default keeps its hashes.
        chunk_tokens = self.manifest.chunk_tokens or FORMER_CHUNK_TOKENS
        shards = [
            [source.name, shard.tokens, shard.sha256 if contents else shard.file]
            for source in self.manifest.sources
            for shard in source.shards
            if shard.split == "train"
        ]
        hashed = json.dumps([chunk_tokens, self.manifest.tokenizer.sha256, shards])
        return hashlib.sha256(hashed.encode()).hexdigest()

    def shard_problems(self) -> list[str]:
        """Return a line if shards are missing or not of their size, which a phase would find out only at its start."""
        sizes = {
            shard.file: (
                path.stat().st_size if (path := self.path.parent / shard.file).is_file() else None,
                shard.file_bytes,
            )
            for source in self.manifest.sources
            for shard in source.shards
        }
        wrong = [file for file, (found, expected) in sorted(sizes.items()) if found != expected]
        if not wrong:
            return []
        found, expected = sizes[wrong[0]]
        problem = "is missing" if found is None else f"has {found:,} bytes, not {expected:,}"
        more = f" ({len(wrong) - 1} more of its shards are damaged)" if len(wrong) > 1 else ""
        return [f"{wrong[0]} {problem}{more}; `corpus verify {self.path.parent}` checks all; build it again"]

    def shards(self, source: SourceEntry, split: Split) -> tuple[TokenShardFile, ...]:
        """Return the shards of a source and split that hold tokens."""
        return tuple(
            TokenShardFile(self.path.parent / shard.file, shard.tokens, shard.documents, self.manifest.tokenizer.sha256)
            for shard in source.shards
            if shard.split == split and shard.tokens
        )


@dataclass(frozen=True, slots=True)
class Corpora:
    """All sources that a curriculum can read, by name."""

    sources: Mapping[str, TokenSource]
    tokenizer: TokenizerFile
    manifests: Mapping[str, OpenCorpus]
    are_imagined: bool = False  # for a plan: there are no shards, so documents count as cut


def open_corpora(folders: Mapping[str, str]) -> Corpora:
    """Open the corpora in the folders (or manifest files) given by name.

    Raises InputError that lists every manifest that cannot be read, shards that are missing, and different tokenizers.
    """
    corpora: dict[str, OpenCorpus] = {}
    problems = []
    for name, path in sorted(folders.items()):
        try:
            corpora[name] = OpenCorpus(locate(Path(path)), open_manifest(Path(path)))
        except InputError as error:
            problems.append(f"corpus `{name}`: {error}; build it with `corpus build`, or name another in `corpora`")
            continue
        problems += [f"corpus `{name}`: {problem}" for problem in corpora[name].shard_problems()]
    if problems:
        raise InputError("\n".join(problems))
    # Token ids of all corpora must mean the same: compare each tokenizer with the first.
    first_name, first = next(iter(corpora.items()))
    expected = first.manifest.tokenizer
    for name, opened in corpora.items():
        tokenizer = opened.manifest.tokenizer
        if (tokenizer.sha256, tokenizer.eos.id) != (expected.sha256, expected.eos.id):
            problems.append(
                f"corpora `{first_name}` and `{name}` were made with different tokenizers ({expected.sha256[:12]} and "
                f"{tokenizer.sha256[:12]}); rebuild one with the other's tokenizer.json (`tokenizer: {{file: …}}`)"
            )
    if problems:
        raise InputError("\n".join(problems))
    # Source names are unique within a corpus; with several, the corpus' name makes them unique.
    sources = {}
    for corpus_name, opened in corpora.items():
        layout = opened.layout_sha256
        for source in opened.manifest.sources:
            name = f"{corpus_name}/{source.name}" if len(corpora) > 1 else source.name
            train = opened.shards(source, "train")
            sources[name] = TokenSource(
                name=name,
                identity=f"{layout}/{source.name}",
                chunk_tokens=chunk_tokens(sum(shard.tokens for shard in train)),
                train=train,
                holdout=opened.shards(source, "holdout"),
                holdout_thin=source.holdout_thin,
            )
    file, eos = first.path.parent / expected.file, expected.eos
    return Corpora(sources, TokenizerFile(file, expected.sha256, expected.vocabulary, eos.id, eos.token), corpora)
