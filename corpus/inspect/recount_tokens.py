"""Recount token runs and token shards: compare them with the text shards, and with their entries in the manifest."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from corpus.inspect.recount import DOCUMENT, Recount, repeated_ids
from corpus.store.corpus_manifest import Manifest, ShardEntry, SourceEntry
from corpus.store.finished_build import BuiltJob
from corpus.store.token_shards import SPLITS, open_token_shard, shard_entry
from corpus.tokens.runs import KEYS, TokenRun, order_key


def recount_tokens(recount: Recount, manifest: Manifest) -> None:
    """Check all token runs and token shards, after `recount` has read the text shards without a problem."""
    for (source, task), text in recount.texts.items():
        path = recount.build.table("tokenize", source, "run")[task]
        with recount.reading(path):
            _token_run(recount, source, task, path, text)
    for entry in manifest.sources:
        _source_shards(recount, manifest, entry, pa.concat_tables(recount.texts.values()))


def _token_run(recount: Recount, source: str, task: int, path: Path, text: pa.Table) -> None:
    """Check that a token run has the documents of its text shard."""
    parts = [
        _documents(rows.ids_D16, np.array(SPLITS)[rows.splits_D], rows.bytes_D) for rows in TokenRun(path).rows(0, KEYS)
    ]
    run = pa.concat_tables([*parts, text.select(DOCUMENT).slice(0, 0)])
    same = run.sort_by("id").to_pydict() == text.select(DOCUMENT).sort_by("id").to_pydict()
    recount.expect(same, path, "not the documents of its text shard")
    sizes = run["text_bytes"]
    recount.book(recount.build.job("tokenize", source), task, source, "kept", run["split"], sizes, sizes)


def _source_shards(recount: Recount, manifest: Manifest, source: SourceEntry, texts: pa.Table) -> None:
    """Check the token shards of a source, that none of them is missing, and that the holdout is complete."""
    mix, listed = recount.build.job("mix", source.name), {shard.file: shard for shard in source.shards}
    texts = texts.filter(pc.equal(texts["source"], source.name))
    taken = [texts.select(DOCUMENT).slice(0, 0)]
    for task, path in ((task, mix.folder / row.name) for task, file in enumerate(mix.tasks) for row in file.products):
        entry = listed.get(recount.name(path))
        recount.expect(entry is not None, path, "missing in manifest.json")
        with recount.reading(path):
            taken += [_token_shard(recount, manifest, mix, task, path, entry, texts)] if entry else []
    ids = pa.concat_tables(taken)
    for id_ in repeated_ids(ids)[:1] if not repeated_ids(texts) else ():  # else dedup was told to keep exact copies
        recount.expect(False, mix.folder, f"{id_} is there twice")
    left = texts.filter(pc.invert(pc.is_in(texts["id"], ids["id"].combine_chunks())))
    held = pc.equal(left["split"], "holdout")
    missing = pc.sum(held).as_py() or 0
    recount.expect(not missing, mix.folder, f"{missing} documents of the holdout are in no shard")
    # A document over quota is booked by the last task whose keys begin at or before its own.
    left = left.filter(pc.invert(held))
    keys = [order_key(manifest.seed, id_) for id_ in left["id"].to_pylist()]
    tasks = pa.array([((key + 1) * len(mix.tasks) - 1) // KEYS for key in keys], pa.int64())
    for task in range(len(mix.tasks)):
        sizes = left["text_bytes"].filter(pc.equal(tasks, task))
        recount.book(mix, task, source.name, "skipped", "over_quota", sizes, 0)


def _token_shard(
    recount: Recount, manifest: Manifest, mix: BuiltJob, task: int, path: Path, stated: ShardEntry, texts: pa.Table
) -> pa.Table:
    """Check a token shard against the manifest and the texts; return its documents."""
    shard, tokenizer = open_token_shard(path), manifest.tokenizer
    header, tokens, eos = shard.header, shard.tokens_N, tokenizer.eos.id
    is_stated = (header.source, header.split) == (mix.source, stated.split)
    recount.expect(
        is_stated,
        path,
        f"says that it is {header.source} {header.split}; manifest.json says {mix.source} {stated.split}",
    )
    is_ours = (header.tokenizer, header.recipe) == (tokenizer.sha256, mix.file.fingerprint)
    recount.expect(is_ours, path, "made with another tokenizer, or by another recipe, than the rest of the build")
    kind = tokens.dtype.name
    recount.expect(kind == tokenizer.dtype, path, f"tokens are {kind}; manifest.json says {tokenizer.dtype}")
    recount.expect(
        bool((tokens[shard.offsets_D1[1:] - 1] == eos).all()), path, f"a document does not end in EOS ({eos})"
    )
    recount.expect(int((tokens == eos).sum()) == len(shard), path, f"EOS ({eos}) is inside a document")
    known = not len(tokens) or int(tokens.max()) < tokenizer.vocabulary
    recount.expect(known, path, f"a token is beyond the vocabulary of {tokenizer.vocabulary}")
    documents = _documents(shard.ids_D16, np.full(len(shard), stated.split), shard.bytes_D)
    recount.book(mix, task, mix.source, "kept", documents["split"], documents["text_bytes"], documents["text_bytes"])
    rows = pc.index_in(documents["id"], texts["id"].combine_chunks())
    for id_ in documents["id"].filter(pc.is_null(rows)).to_pylist()[:1]:
        recount.expect(False, path, f"{id_} is in no text shard of {mix.source}")
    found = texts.take(rows.drop_null())
    stray = pc.sum(pc.not_equal(found["split"], stated.split)).as_py() or 0
    recount.expect(not stray, path, f"{stray} documents of another split in a {stated.split} shard")
    same = rows.null_count or found["text_bytes"].equals(documents["text_bytes"])
    recount.expect(same, path, "bytes are not those of the texts")
    languages = pc.value_counts(pc.fill_null(found["language"], "und")).to_pylist()
    counted = shard_entry(path, stated.file, shard, {row["values"]: row["counts"] for row in languages})
    differ = [name for name in ShardEntry.model_fields if getattr(counted, name) != getattr(stated, name)]
    recount.expect(not differ, path, f"manifest.json says other {', '.join(differ)} than the shard has")
    return documents


def _documents(ids_D16: NDArray[np.uint8], splits_D: NDArray[np.str_], bytes_D: NDArray[np.int64]) -> pa.Table:
    """Return ids, splits and sizes as a table with the columns of DOCUMENT."""
    ids = ids_D16.tobytes().hex()
    arrays = [[ids[start : start + 32] for start in range(0, len(ids), 32)], splits_D.tolist(), bytes_D]
    return pa.table([pa.chunked_array([pa.array(array)]) for array in arrays], DOCUMENT)
