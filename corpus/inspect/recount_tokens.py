"""Token runs and token shards of a source, counted again.

Legend: D documents, D1 = D + 1, N tokens of all documents, 16 bytes of an id.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corpus.inspect.recount_counting import Ids, file_of, guarded, hexadecimal, ledger_problems
from corpus.inspect.recount_text import Texts
from corpus.store.corpus_manifest import Manifest, ShardEntry, SourceEntry, length_quantiles
from corpus.store.finished_build import Build, BuiltJob
from corpus.store.ledger import Ledger
from corpus.store.token_shards import SPLITS, TokenShard, open_token_shard
from corpus.tokens.runs import KEYS, TokenRun, order_key


@dataclass
class _Index:
    """The text shards' documents, sorted by id."""

    ids_D: Ids
    holdout_D: NDArray[np.bool_]
    bytes_D: NDArray[np.int64]
    languages: list[str | None]

    @classmethod
    def of(cls, texts: Texts) -> "_Index":
        ids_D = texts.ids_D
        order = np.argsort(ids_D, kind="stable")
        holdout_D = np.array([split == "holdout" for split in texts.splits], np.bool_)
        languages = [texts.languages[row] for row in order.tolist()]
        return cls(ids_D[order], holdout_D[order], np.array(texts.sizes, np.int64)[order], languages)

    def rows(self, ids: Ids) -> NDArray[np.int64]:
        """The row of each id, or -1."""
        if len(self.ids_D) == 0:
            return np.full(len(ids), -1)
        places = np.minimum(np.searchsorted(self.ids_D, ids), len(self.ids_D) - 1)
        return np.where(self.ids_D[places] == ids, places, -1)


def count_tokens(build: Build, manifest: Manifest, texts: Texts) -> Iterator[str]:
    """Problems of the jobs tokenize and mix of a source, and of what manifest.json says of its shards."""
    source = next((each for each in manifest.sources if each.name == texts.source), None)
    if source is None:
        yield f"manifest.json: lacks the source {texts.source}"
        return
    yield from _runs(build, texts)
    mix = build.job("mix", source.name)
    index, taken = _Index.of(texts), [np.empty(0, "S16")]
    ledgers = [Ledger() for _ in mix.tasks]
    for task, ledger in enumerate(ledgers):
        folder = mix.folder.relative_to(build.folder)
        written = {str(folder / product.name) for product in mix.tasks[task].products}
        for shard in (each for each in source.shards if each.file in written):
            written.remove(shard.file)
            yield from guarded(build, build.folder / shard.file, _shard(build, manifest, source, shard, index, taken))
            size = shard.bytes
            ledger.add(source.name, "kept", shard.split, records=shard.documents, input_bytes=size, text_bytes=size)
        for file in sorted(written):
            yield f"manifest.json: lacks {file}"
    yield from guarded(build, mix.folder, _left(build, mix, manifest.seed, index, np.concatenate(taken), ledgers))


def _runs(build: Build, texts: Texts) -> Iterator[str]:
    """Each run holds the documents of its text shard."""
    job, first = build.job("tokenize", texts.source), 0
    for task, count in enumerate(texts.by_task):
        path = file_of(job, task, "run", "arrow")
        rows = slice(first, first + count)
        first += count
        yield from guarded(build, path, _run(build, texts, task, rows))


def _run(build: Build, texts: Texts, task: int, rows: slice) -> Iterator[str]:
    job = build.job("tokenize", texts.source)
    path = file_of(job, task, "run", "arrow")
    found: list[tuple[bytes, str, int]] = []
    ledger = Ledger()
    for batch in TokenRun(path).rows(0, KEYS):
        splits = [SPLITS[split] for split in batch.splits_D.tolist()]
        ids = [each.tobytes().rstrip(b"\0") for each in batch.ids_D16]
        found += zip(ids, splits, batch.bytes_D.tolist(), strict=True)
        for split, size in zip(splits, batch.bytes_D.tolist(), strict=True):
            ledger.add(texts.source, "kept", split, input_bytes=size, text_bytes=size)
    expected = zip(texts.ids_D[rows].tolist(), texts.splits[rows], texts.sizes[rows], strict=True)
    if sorted(found) != sorted(expected):
        yield f"{path.relative_to(build.folder)}: not the documents of its text shard"
    yield from ledger_problems(build, job, task, ledger)


def _shard(
    build: Build, manifest: Manifest, source: SourceEntry, stated: ShardEntry, index: _Index, taken: list[Ids]
) -> Iterator[str]:
    """What the manifest says of a shard; `taken` gets the ids of its documents."""
    shard = open_token_shard(build.folder / stated.file)
    ids = np.ascontiguousarray(shard.ids_D16).reshape(-1).view("S16")
    taken.append(ids)
    rows = index.rows(ids)
    for problem in [*_counts(shard, stated), *_header(build, shard, manifest, source, stated), *_eos(shard, manifest)]:
        yield f"{stated.file}: {problem}"
    if (rows < 0).any():
        yield f"{stated.file}: {hexadecimal(ids[np.argmin(rows)])} is in no text shard of {source.name}"
        return
    stray = index.holdout_D[rows] != (stated.split == "holdout")
    if stray.any():
        other = "train" if stated.split == "holdout" else "holdout"
        example = hexadecimal(ids[np.argmax(stray)])
        yield f"{stated.file}: {int(stray.sum())} {other} documents in a {stated.split} shard, such as {example}"
    if (index.bytes_D[rows] != shard.bytes_D).any():
        yield f"{stated.file}: bytes are not those of the texts"
    if Counter(index.languages[row] or "und" for row in rows.tolist()) != Counter(stated.languages):
        yield f"manifest.json: {stated.file}: languages are not those of its documents"


def _counts(shard: TokenShard, stated: ShardEntry) -> Iterator[str]:
    found = (len(shard), len(shard.tokens_N), int(shard.bytes_D.sum()))
    if found != (stated.documents, stated.tokens, stated.bytes):
        said = f"{stated.documents} documents, {stated.tokens} tokens, {stated.bytes} bytes"
        yield f"manifest.json says {said}; it holds {found[0]}, {found[1]} and {found[2]}"
    if length_quantiles(np.diff(shard.offsets_D1).tolist()) != stated.length_quantiles:
        yield "its length quantiles are not those in manifest.json"


def _header(
    build: Build, shard: TokenShard, manifest: Manifest, source: SourceEntry, stated: ShardEntry
) -> Iterator[str]:
    said, recipe = shard.header, build.job("mix", source.name).file.fingerprint
    if (said.source, said.split) != (source.name, stated.split):
        yield f"says that it is {said.source} {said.split}; manifest.json has it as {source.name} {stated.split}"
    if said.tokenizer != manifest.tokenizer.sha256 or said.recipe != recipe:
        yield "was made with another tokenizer, or by another recipe, than the rest of the build"
    if shard.tokens_N.dtype.name != manifest.tokenizer.dtype:
        yield f"tokens are {shard.tokens_N.dtype.name}; manifest.json says {manifest.tokenizer.dtype}"


def _eos(shard: TokenShard, manifest: Manifest) -> Iterator[str]:
    eos = manifest.tokenizer.eos.id
    if (shard.tokens_N[shard.offsets_D1[1:] - 1] != eos).any():
        yield f"a document does not end in EOS ({eos})"
    if int((shard.tokens_N == eos).sum()) != len(shard):
        yield f"EOS ({eos}) stands inside a document"
    if len(shard.tokens_N) and int(shard.tokens_N.max()) >= manifest.tokenizer.vocabulary:
        yield f"a token lies beyond the vocabulary of {manifest.tokenizer.vocabulary}"


def _left(build: Build, mix: BuiltJob, seed: int, index: _Index, taken: Ids, ledgers: list[Ledger]) -> Iterator[str]:
    """No document stands in two shards, all of the holdout stands in one, and what was left out is booked as such."""
    again = np.sort(taken)
    again = again[1:][again[1:] == again[:-1]]
    if len(again) and len(np.unique(index.ids_D)) == len(index.ids_D):  # else dedup was told to leave copies
        yield f"token shards of {mix.source}: {hexadecimal(again[0])} stands there twice"
    left = ~np.isin(index.ids_D, taken)
    if missing := int((index.holdout_D & left).sum()):
        yield f"token shards of {mix.source}: {missing} documents of the holdout are in none"
    for row in np.flatnonzero(left & ~index.holdout_D).tolist():
        key = order_key(seed, hexadecimal(index.ids_D[row]))
        partition = ((key + 1) * len(ledgers) - 1) // KEYS  # the last that begins at or before the key
        ledgers[partition].add(mix.source, "skipped", "over_quota", input_bytes=int(index.bytes_D[row]))
    for task, ledger in enumerate(ledgers):
        yield from ledger_problems(build, mix, task, ledger)
