"""Merging takes the shortest prefix with the quota, and gives the same shards however runs divide the documents."""

import hashlib
import json
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corpus.errors import CorpusError
from corpus.store.token_shards import ROW_BYTES, SPLITS, write_token_shard
from corpus.tokens import merge as merging
from corpus.tokens import run_set
from corpus.tokens import runs as token_runs
from corpus.tokens.merge import EVERYTHING, NOTHING, Cut, MergedShard, merge, threshold
from corpus.tokens.run_set import BinTokens, RunIndex, RunSet
from corpus.tokens.runs import KEYS, RunHeader, RunWriter
from corpus.tokens.token_quotas import partition_keys

ALL = (0, KEYS)
HEADER = RunHeader("web", "ab" * 32, 500, 7)


class Doc(NamedTuple):
    key: int
    name: str
    split: str
    language: str
    tokens: int


@pytest.fixture(autouse=True)
def few_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few different keys: equal ones, both ends of the key space, and many documents in one bin."""

    def key(seed: int, name: str) -> int:
        number = int(name[:4], 16)
        return (0, KEYS - 1, KEYS // 2, KEYS // 2 + 1, (number % 5) << 61, number << 48)[number % 6]

    monkeypatch.setattr(token_runs, "order_key", key)
    monkeypatch.setattr(token_runs, "BATCH_TOKENS", 50)


def documents(count: int) -> list[Doc]:
    found = []
    for number in range(count):
        name = hashlib.md5(str(number).encode()).hexdigest()
        split, language = ("holdout" if number % 4 == 0 else "train"), ("en", "de", "el")[number % 3]
        found.append(Doc(token_runs.order_key(7, name), name, split, language, 1 + number * 5 % 17))
    return sorted(found)


def written(folder: Path, found: list[Doc], places: list[int], header: RunHeader = HEADER) -> list[Path]:
    """Write document i to the run `places[i]`."""
    writers = [RunWriter(header) for _ in range(max(places, default=0) + 1)]
    for doc, place in zip(found, places, strict=True):
        tokens = np.array([*range(1, doc.tokens), 0], np.uint16)
        writers[place].add(doc.name, doc.split, doc.language, doc.tokens * 2, tokens)  # type: ignore[arg-type]
    paths = [folder / f"run-{number}.arrow" for number in range(len(writers))]
    for writer, path in zip(writers, paths, strict=True):
        writer.write(path)
    return paths


def names(merged: list[MergedShard]) -> list[str]:
    return [row.tobytes().hex() for each in merged for row in each.shard.ids_D16]


def same(folder: Path, merged: list[MergedShard]) -> list[bytes]:
    for number, each in enumerate(merged):
        write_token_shard(folder / f"{number}.arrow", each.shard)
    return [(folder / f"{number}.arrow").read_bytes() for number in range(len(merged))]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(
    places=st.lists(st.integers(0, 5), min_size=40, max_size=40),
    split=st.sampled_from(SPLITS),
    shard_bytes=st.sampled_from([1, 120, 400, 10_000]),
    window=st.sampled_from([1, 30, 100, 10**6]),
    quota=st.integers(0, 300),
)
def test_shards_do_not_depend_on_how_runs_divide_the_documents(
    tmp_path_factory: pytest.TempPathFactory, places: list[int], split: str, shard_bytes: int, window: int, quota: int
) -> None:
    folder, found = tmp_path_factory.mktemp("merge"), documents(40)
    results = []
    for spread in (places, [0] * len(found)):
        paths = written(folder, found, spread)
        with pytest.MonkeyPatch.context() as patch:
            if spread is places:
                patch.setattr(merging, "WINDOW_TOKENS", window)
            cut = threshold(RunSet(paths), quota)
            merged = list(merge(RunSet(paths), "cd" * 32, split, ALL, cut, shard_bytes))  # type: ignore[arg-type]
        results.append((cut, same(folder, merged), [each.languages for each in merged]))
        own = [doc.name for doc in found if doc.split == split and (doc.key, bytes.fromhex(doc.name)) < cut]
        assert names(merged) == own
    assert results[0] == results[1]


def test_contents_of_a_shard(tmp_path: Path) -> None:
    found = documents(30)
    runs = RunSet(written(tmp_path, found, [n % 3 for n in range(30)]))
    (merged,) = merge(runs, "cd" * 32, "train", ALL, EVERYTHING, 10**6)
    train = [doc for doc in found if doc.split == "train"]
    shard = merged.shard
    assert shard.header == ("ab" * 32, "cd" * 32, "web", "train")
    assert shard.bytes_D.tolist() == [doc.tokens * 2 for doc in train]
    for row, doc in enumerate(train):
        tokens = shard.tokens_N[shard.offsets_D1[row] : shard.offsets_D1[row + 1]].tolist()
        assert tokens == [*range(1, doc.tokens), 0]
    assert merged.languages == {code: [doc.language for doc in train].count(code) for code in ("de", "el", "en")}
    assert list(merged.languages) == ["de", "el", "en"]


@pytest.mark.parametrize("shard_bytes", [1, ROW_BYTES * 3, 200, 500])
def test_shards_are_as_full_as_allowed(tmp_path: Path, shard_bytes: int) -> None:
    found = [doc for doc in documents(60) if doc.split == "train"]
    paths = written(tmp_path, found, [n % 4 for n in range(len(found))])
    merged = list(merge(RunSet(paths), "cd" * 32, "train", ALL, EVERYTHING, shard_bytes))
    sizes = [[int(n) * 2 + ROW_BYTES for n in np.diff(each.shard.offsets_D1)] for each in merged]
    assert sum(map(len, sizes)) == len(found)
    for shard, following in pairwise(sizes):
        assert sum(shard) <= shard_bytes or len(shard) == 1
        assert sum(shard) + following[0] > shard_bytes


def test_partitions_joined_are_the_whole_order(tmp_path: Path) -> None:
    found = documents(80)
    paths = written(tmp_path, found, [n % 3 for n in range(80)])
    cut = threshold(RunSet(paths), 200)
    whole = names(list(merge(RunSet(paths), "cd" * 32, "train", ALL, cut, 300)))
    assert 0 < len(whole) < 60
    for partitions in (1, 2, 7, 64):
        keys = [partition_keys(number, partitions) for number in range(partitions)]
        parts = [names(list(merge(RunSet(paths), "cd" * 32, "train", each, cut, 300))) for each in keys]
        assert [name for part in parts for name in part] == whole


def test_threshold_ends_the_shortest_prefix(tmp_path: Path) -> None:
    found = documents(60)
    train = [doc for doc in found if doc.split == "train"]
    paths = written(tmp_path, found, [n % 3 for n in range(60)])
    total = sum(doc.tokens for doc in train)
    assert threshold(RunSet(paths), 0) == NOTHING and threshold(RunSet(paths), total + 1) == EVERYTHING
    for quota in range(1, total + 1):
        cut = threshold(RunSet(paths), quota)
        taken = [doc.tokens for doc in train if (doc.key, bytes.fromhex(doc.name)) < cut]
        assert sum(taken) >= quota > sum(taken[:-1])


def test_nothing_and_empty_runs(tmp_path: Path) -> None:
    paths = written(tmp_path, documents(10), [2] * 10)
    assert list(merge(RunSet(paths), "cd" * 32, "train", ALL, NOTHING, 100)) == []
    assert list(merge(RunSet(paths[:2]), "cd" * 32, "train", ALL, EVERYTHING, 100)) == []
    assert threshold(RunSet(paths[:2]), 1) == EVERYTHING
    with pytest.raises(ValueError, match="at least one run"):
        threshold(RunSet([]), 1)


def test_runs_of_another_source_seed_or_tokenizer_are_refused(tmp_path: Path) -> None:
    (own,) = written(tmp_path, documents(4), [0] * 4)
    for number, other in enumerate(
        [HEADER._replace(seed=8), HEADER._replace(source="x"), HEADER._replace(tokenizer="")]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        (strange,) = written(folder, documents(4), [0] * 4, other)
        with pytest.raises(CorpusError, match="expected RunHeader"):
            threshold(RunSet([own, strange]), 1)


def test_headers_with_more_tokens_than_the_rows_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_many(writer: RunWriter) -> str:
        return json.dumps({"rows": [[9] * 1024] * 2, "tokens": [[9] * 1024] * 2})

    monkeypatch.setattr(RunWriter, "_bins", too_many)
    paths = written(tmp_path, documents(20), [0] * 20)
    with pytest.raises(CorpusError, match="fewer tokens than their headers state"):
        threshold(RunSet(paths), 1000)


def test_key_ranges_cover_the_keys_once_and_stay_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging, "WINDOW_TOKENS", 100)
    draw = np.random.default_rng(1)
    tokens_B = draw.integers(0, 60, 1024) * draw.choice([0, 1, 50], 1024)
    for low, high in ((0, KEYS), (KEYS // 3, KEYS // 2), (5, 6), (7, 7)):
        windows = list(merging._key_ranges(tokens_B, low, high))
        edges = [low, *(end for _, end in windows)]
        assert [start for start, _ in windows] == edges[:-1] and edges[-1] == (high if windows else low)
        assert all(start < end for start, end in windows)
        if (low, high) == (0, KEYS):
            share = [_tokens_within(tokens_B, start, end) for start, end in windows]
            assert max(share) <= 101
    assert len(list(merging._key_ranges(np.full(1024, 10), 0, KEYS))) == 103  # ten bins each


def _tokens_within(tokens_B: np.ndarray, start: int, end: int) -> float:
    """Tokens in a key range, if keys are even in each bin."""
    edges = np.arange(1025, dtype=float) * 2.0**54
    inside = np.clip(np.minimum(edges[1:], float(end)) - np.maximum(edges[:-1], float(start)), 0, None)
    return float((tokens_B * inside / 2.0**54).sum())


def opened(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the list to which each opening of a run adds the number of runs that are mapped then."""
    maps: list[int] = []

    class Counted(token_runs.TokenRun):
        def __init__(self, path: Path) -> None:
            maps.append(Path("/proc/self/maps").read_text().count("run-"))
            super().__init__(path)

    if not Path("/proc/self/maps").exists():
        pytest.skip("counts maps in /proc")
    run_set._open_run.cache_clear()
    monkeypatch.setattr(run_set, "TokenRun", Counted)
    return maps


def test_a_limited_number_of_runs_is_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of open files and maps does not depend on the number of runs."""
    maps = opened(monkeypatch)
    monkeypatch.setattr(run_set, "_open_run", lru_cache(maxsize=2)(run_set._open_run.__wrapped__))
    paths = written(tmp_path, documents(60), [n % 20 for n in range(60)])
    assert len(list(merge(RunSet(paths), "cd" * 32, "train", ALL, Cut(KEYS, b""), 300))) > 3
    assert len(maps) > 30 and max(maps) <= 4


def test_a_process_opens_each_run_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Verified to fail if each window, or each task, opens the runs again."""
    monkeypatch.setattr(merging, "WINDOW_TOKENS", 30)
    paths, maps = written(tmp_path, documents(60), [n % 20 for n in range(60)]), opened(monkeypatch)
    for _ in range(2):
        runs = RunSet(paths)
        cut = threshold(runs, 200)
        for split in SPLITS:
            assert list(merge(runs, "cd" * 32, split, ALL, cut, 300))
    assert len(maps) == 20
    written(tmp_path, documents(60), [n % 19 for n in range(60)])  # other bytes under the names of 19 of them
    assert list(merge(RunSet(paths[:19]), "cd" * 32, "train", ALL, EVERYTHING, 300))
    assert len(maps) == 39


def test_an_index_gives_the_same_shards_and_opens_only_runs_with_documents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Verified to fail if the bit of a bin is taken for the next one."""
    found = documents(60)
    paths = written(tmp_path, found, [n // 12 for n in range(60)])  # the runs follow each other in the order of keys
    bins = [token_runs.TokenRun(path).bins.tokens_SB for path in paths]
    index = RunIndex.of([BinTokens.of(tokens_SB).counts() for tokens_SB in bins])
    assert index.train_tokens() == sum(doc.tokens for doc in found if doc.split == "train")
    cut, maps = threshold(RunSet(paths), 250), opened(monkeypatch)
    for keys in (partition_keys(number, 8) for number in range(8)):
        for split in SPLITS:
            plain = same(tmp_path, list(merge(RunSet(paths), "cd" * 32, split, keys, cut, 300)))
            maps.clear()
            run_set._open_run.cache_clear()
            indexed = same(tmp_path, list(merge(RunSet(paths, index), "cd" * 32, split, keys, cut, 300)))
            holding = {n // 12 for n, doc in enumerate(found) if keys[0] <= doc.key < keys[1] and doc.split == split}
            assert indexed == plain and len(maps) <= 1 + len(holding)
    assert threshold(RunSet(paths, index), 250) == cut
