"""Token runs are sorted whatever the order of adding, and read by key range."""

import hashlib
import json
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.document import keyed_hash
from corpus.errors import CorpusError
from corpus.tokens import runs
from corpus.tokens.run_set import RunSet
from corpus.tokens.runs import BINS, KEYS, RunHeader, RunRows, RunWriter, TokenRun, order_key, schema

HEADER = RunHeader("web", "ab" * 32, 500, 7)
Added = tuple[str, str, str, int, list[int]]


def documents(count: int, salt: int = 0) -> list[Added]:
    found: list[Added] = []
    for number in range(count):
        name = hashlib.md5(f"{salt} {number}".encode()).hexdigest()
        split, language = ("holdout" if number % 5 == 0 else "train"), ("en", "de", "und")[number % 3]
        found.append((name, split, language, number * 3, [*range(1, 1 + number * 7 % 23), 0]))
    return found


def run(path: Path, added: list[Added], header: RunHeader = HEADER) -> Path:
    writer = RunWriter(header)
    for name, split, language, size, tokens in added:
        writer.add(name, split, language, size, np.array(tokens, np.uint16))  # type: ignore[arg-type]
    writer.write(path)
    return path


def listed(opened: TokenRun, low: int = 0, high: int = KEYS) -> list[Added]:
    found: list[Added] = []
    for rows in opened.rows(low, high):
        for row in range(len(rows.keys_D)):
            tokens = rows.tokens_N[rows.offsets_D1[row] : rows.offsets_D1[row + 1]].tolist()
            split, language = ("train", "holdout")[rows.splits_D[row]], opened.languages[rows.languages_D[row]]
            found.append((rows.ids_D16[row].tobytes().hex(), split, language, int(rows.bytes_D[row]), tokens))
    return found


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "BATCH_TOKENS", 60)


def test_rows_are_read_in_order(tmp_path: Path) -> None:
    added = documents(60)
    opened = TokenRun(run(tmp_path / "a", added))
    assert opened.header == HEADER
    assert listed(opened) == sorted(added, key=lambda each: (keyed_hash(7, "order", each[0]), each[0]))
    assert pa.ipc.open_file(str(tmp_path / "a")).num_record_batches > 5


def test_order_of_adding_does_not_matter(tmp_path: Path) -> None:
    added = documents(40)
    mixed = random.Random(1).sample(added, len(added))
    assert run(tmp_path / "a", added).read_bytes() == run(tmp_path / "b", mixed).read_bytes()


def test_equal_keys_are_in_the_order_of_their_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "order_key", lambda seed, name: 5)
    found = listed(TokenRun(run(tmp_path / "a", documents(20))))
    assert [each[0] for each in found] == sorted(each[0] for each in documents(20))


@given(st.integers(0, KEYS), st.integers(0, KEYS))
def test_a_key_range(tmp_path_factory: pytest.TempPathFactory, low: int, high: int) -> None:
    path = tmp_path_factory.getbasetemp() / "range.arrow"
    added = documents(50)
    opened = TokenRun(path if path.exists() else run(path, added))
    expected = sorted(each for each in added if low <= order_key(7, each[0]) < high)
    assert sorted(listed(opened, low, high)) == expected


def test_bounds_of_a_range(tmp_path: Path) -> None:
    """A range includes its first key and excludes its last."""
    added = documents(12)
    opened = TokenRun(run(tmp_path / "a", added))
    for name, *_ in added:
        key = order_key(7, name)
        assert [each[0] for each in listed(opened, key, key + 1)] == [name]
        assert name not in [each[0] for each in listed(opened, 0, key)]


def test_bins_count_each_split(tmp_path: Path) -> None:
    added = documents(200)
    bins = TokenRun(run(tmp_path / "a", added)).bins
    assert bins.rows_SB.shape == bins.tokens_SB.shape == (2, BINS)
    for number, split in enumerate(("train", "holdout")):
        own = [each for each in added if each[1] == split]
        assert bins.rows_SB[number].sum() == len(own)
        assert bins.tokens_SB[number].sum() == sum(len(each[4]) for each in own)
        bin_ = order_key(7, own[3][0]) * BINS // KEYS
        in_bin = [each for each in own if order_key(7, each[0]) * BINS // KEYS == bin_]
        assert bins.rows_SB[number, bin_] == len(in_bin)
        assert bins.tokens_SB[number, bin_] == sum(len(each[4]) for each in in_bin)


def test_rows_are_views_of_the_file(tmp_path: Path) -> None:
    (rows,) = TokenRun(run(tmp_path / "a", documents(3))).rows(0, KEYS)
    assert all(not getattr(rows, name).flags.writeable for name in RunRows._fields)


def test_an_empty_run(tmp_path: Path) -> None:
    opened = TokenRun(run(tmp_path / "a", []))
    assert listed(opened) == [] and opened.languages == [] and opened.bins.rows_SB.sum() == 0


def test_count_documents(tmp_path: Path) -> None:
    added = documents(50)
    paths = [run(tmp_path / "a", added[:20]), run(tmp_path / "b", added[20:])]
    own = [each for each in added if each[1] == "train" and order_key(7, each[0]) < KEYS // 3]
    assert RunSet(paths).count_documents("train", (0, KEYS // 3)) == (len(own), sum(each[3] for each in own))


@pytest.mark.parametrize("tokens", [np.array([], np.uint16), np.array([1, 0], np.uint32), np.array([1, 0], np.int64)])
def test_tokens_of_another_type_are_refused(tokens: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected at least EOS, as uint16"):
        RunWriter(HEADER).add("00" * 16, "train", "en", 1, tokens)


def test_files_that_are_not_runs_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a"
    good = pa.ipc.open_file(str(run(tmp_path / "good", documents(4))))
    table = good.read_all()
    metadata = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}

    def refused(why: str, changed: pa.Table = table, **changes: str) -> None:
        kept = {key: value for key, value in {**metadata, **changes}.items() if value}
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, changed.schema.with_metadata(kept)) as writer:
            writer.write_table(changed.combine_chunks())
        with pytest.raises(CorpusError, match=why):
            opened = TokenRun(path)
            assert opened.bins and listed(opened)

    with pytest.raises(CorpusError, match="cannot be read as a token run"):
        TokenRun(path)
    refused("format_version '9'", format_version="9")
    refused("invalid schema metadata", seed="x")
    refused("invalid schema metadata", source="")
    refused("columns are not those", vocabulary="70000")
    refused("its bins", bins="{}")
    refused("its bins", bins="[" * 100_000)
    refused("its bins", bins='{"rows": [["x"]], "tokens": 1}')
    refused("expected counts", bins=json.dumps({"rows": [[1]], "tokens": [[1]]}))
    refused("rows are out of order", table.take([3, 2, 1, 0]).cast(table.schema))
    wrong = table.set_column(2, schema(500).field("split"), pa.array([7] * 4, pa.uint8()))
    refused("rows are out of order, or point outside", wrong)
