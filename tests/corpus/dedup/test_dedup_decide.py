"""Decisions compared with a quadratic implementation, on small corpora with many collisions."""

import hashlib
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from corpus.dedup.decide import REVISION, DedupColumns, Removals, decide
from corpus.dedup.settings import Dedup, Near
from corpus.dedup.shingles import ShingleSets

BANDS = 2


@dataclass(frozen=True)
class Text:
    """One content: its name (equal for equal texts), its shingles, and its bands."""

    name: int
    shingles: frozenset[int]
    bands: tuple[int, ...] | None


def hashed(texts: list[Text], order: NDArray[np.int64] | None = None) -> DedupColumns:
    """Columns with the texts, ranked as they are listed, in the rows that `order` gives them."""
    content = np.array([[text.name] * 8 for text in texts], dtype=np.uint16).view(np.uint8).reshape(-1, 16)
    bands = np.array([text.bands or (0,) * BANDS for text in texts], dtype=np.uint64).reshape(-1, BANDS)
    has_bands = np.array([text.bands is not None for text in texts], dtype=np.bool_)
    order = np.arange(len(texts)) if order is None else order
    rows = np.argsort(order)  # rank of each row
    return DedupColumns(order, content[rows], bands[rows], has_bands[rows])


def sets(texts: list[Text]) -> ShingleSets:
    size = np.array([len(text.shingles) for text in texts], dtype=np.int64)
    hashes = np.array([each for text in texts for each in sorted(text.shingles)], dtype=np.uint64)
    return ShingleSets(hashes, np.cumsum(size) - size, size)


def run(texts: list[Text], near: Near | None, exact: bool = True, order: NDArray[np.int64] | None = None) -> Removals:
    load = lambda ranks: sets([texts[rank] for rank in ranks])  # noqa: E731
    return decide(hashed(texts, order), load, Dedup(exact=exact, near=near))


Removal = tuple[int, int, int, int, bool]


def rows(decisions: Removals) -> list[Removal]:
    columns = (decisions.removed, decisions.survivor, decisions.intersection, decisions.union, decisions.near)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def reference(texts: list[Text], near: Near | None, exact: bool) -> list[Removal]:
    """The rules of docs/design.md in one loop."""
    kept: list[int] = []
    first: dict[int, int] = {}
    removals: dict[int, Removal] = {}
    for rank, text in enumerate(texts):
        earlier = first.setdefault(text.name, rank) if exact else rank
        if earlier != rank:
            of_first = removals.get(earlier)
            removals[rank] = (rank, *of_first[1:]) if of_first else (rank, earlier, 1, 1, False)
            continue
        if near and text.bands:
            shared: Counter[int] = Counter()
            for band in range(BANDS):
                bucket = [k for k in kept if (b := texts[k].bands) and b[band] == text.bands[band]]
                shared.update(bucket[: near.bucket_cap])
            most_bands_first = sorted(shared, key=lambda other: (-shared[other], other))
            for other in sorted(most_bands_first[: near.document_cap]):
                both, either = text.shingles & texts[other].shingles, text.shingles | texts[other].shingles
                if len(both) / len(either) >= near.at_least:
                    removals[rank] = (rank, other, len(both), len(either), True)
                    break
        if rank not in removals:
            kept.append(rank)
    return [removals[rank] for rank in sorted(removals)]


SETS = st.frozensets(st.integers(0, 9), min_size=1)
PLACES = st.one_of(st.none(), st.tuples(*[st.integers(0, 3)] * BANDS))


@st.composite
def corpora(draw: st.DrawFn) -> list[Text]:
    contents = draw(st.lists(st.tuples(SETS, PLACES), min_size=1, max_size=12))
    texts = [Text(name, shingles, bands) for name, (shingles, bands) in enumerate(contents)]
    return draw(st.lists(st.sampled_from(texts), max_size=24))


NEARS = st.builds(
    Near,
    at_least=st.sampled_from([0.2, 0.5, 0.8, 1.0]),
    bucket_cap=st.sampled_from([1, 2, 3, 1000]),
    document_cap=st.sampled_from([1, 2, 3, 1000]),
) | st.just(None)


@given(corpora(), NEARS, st.booleans())
@settings(max_examples=300)
def test_decisions_equal_the_quadratic_implementation(texts: list[Text], near: Near | None, exact: bool) -> None:
    assert rows(run(texts, near, exact)) == reference(texts, near, exact)


@given(corpora(), NEARS)
def test_survivors_stay_and_match_at_or_above_the_threshold(texts: list[Text], near: Near | None) -> None:
    decisions = run(texts, near)
    removed = set(decisions.removed.tolist())
    for rank, survivor, shared, union, is_near in rows(decisions):
        one, other = texts[rank], texts[survivor]
        assert survivor not in removed and survivor < rank
        if is_near:
            assert near and shared / union >= near.at_least and one.name != other.name
            assert (shared, union) == (len(one.shingles & other.shingles), len(one.shingles | other.shingles))
        else:
            assert one.name == other.name and shared == union == 1


@given(corpora(), corpora(), NEARS)
def test_documents_added_later_change_no_earlier_decision(old: list[Text], new: list[Text], near: Near | None) -> None:
    renamed = [Text(text.name + 100, text.shingles, text.bands) for text in new]
    joint = rows(run(old + renamed, near))
    alone = rows(run(old, near))
    assert [row for row in joint if row[0] < len(old)] == alone


@given(corpora(), st.data(), NEARS)
def test_new_documents_against_the_kept_old_ones_are_decided_as_in_a_joint_run(
    texts: list[Text], data: st.DataObject, near: Near | None
) -> None:
    cut = data.draw(st.integers(0, len(texts)))
    gone = set(run(texts[:cut], near).removed.tolist())
    stayed = [rank for rank in range(len(texts)) if rank >= cut or rank not in gone]  # the old index, then the new
    joint = {row[0]: row[1:4] for row in rows(run(texts, near)) if row[0] >= cut}
    later = rows(run([texts[rank] for rank in stayed], near))
    assert {stayed[rank]: (stayed[survivor], *rest[:2]) for rank, survivor, *rest in later} == joint


@given(corpora(), NEARS, st.permutations(range(BANDS)))
def test_the_order_of_rows_and_of_bands_has_no_effect(texts: list[Text], near: Near | None, order: list[int]) -> None:
    swapped = [Text(t.name, t.shingles, t.bands and tuple(t.bands[band] for band in order)) for t in texts]
    shuffled = np.random.default_rng(1).permutation(len(texts))
    assert rows(run(swapped, near, order=shuffled)) == rows(run(texts, near))


def text(name: int, *shingles: int, bands: tuple[int, ...] | None = (7, 7)) -> Text:
    return Text(name, frozenset(shingles), bands)


def test_a_chain_of_near_duplicates_keeps_the_far_end() -> None:
    """A ~ B ~ C, but not A ~ C: B goes in favor of A, and C stays because B is gone."""
    a, b, c = text(0, *range(10)), text(1, *range(1, 11)), text(2, *range(2, 12))
    assert rows(run([a, b, c], Near(at_least=0.8))) == [(1, 0, 9, 11, True)]
    assert rows(run([b, a, c], Near(at_least=0.8))) == [(1, 0, 9, 11, True), (2, 0, 9, 11, True)]


def test_the_threshold_itself_is_enough() -> None:
    four_of_five = [text(0, 1, 2, 3, 4, 5), text(1, 1, 2, 3, 4)]
    assert rows(run(four_of_five, Near(at_least=0.8))) == [(1, 0, 4, 5, True)]
    assert rows(run(four_of_five, Near(at_least=0.8001))) == []


def test_a_copy_of_a_removed_document_has_the_same_survivor() -> None:
    found = run([text(0, 1, 2, 3, 4, 5), text(1, 1, 2, 3, 4), text(1, 1, 2, 3, 4), text(0, 1, 2, 3, 4, 5)], Near())
    assert rows(found) == [(1, 0, 4, 5, True), (2, 0, 4, 5, True), (3, 0, 1, 1, False)]
    assert (found.counts.near, found.counts.exact) == (2, 1)
    assert found.counts.compared == 1  # copies are not compared


def test_only_documents_that_share_a_band_are_compared_or_loaded() -> None:
    texts = [text(0, 1, bands=(1, 2)), text(1, 1, bands=(2, 1)), text(2, 1, bands=None), text(3, 1, bands=None)]
    found = decide(hashed(texts), lambda ranks: pytest.fail(f"loaded {ranks}"), Dedup())
    assert rows(found) == [] and found.counts.candidates == 0


def test_the_first_in_policy_order_survives_whatever_band_it_shares() -> None:
    first, second = text(0, *range(10), bands=(1, 2)), text(1, *range(2, 12), bands=(3, 4))
    both = text(2, *range(1, 11), bands=(3, 2))
    assert rows(run([first, second, both], Near(at_least=0.8))) == [(2, 0, 9, 11, True)]


def test_a_pair_that_shares_two_bands_is_compared_once() -> None:
    counts = run([text(0, 1), text(1, 2)], Near()).counts
    assert (counts.candidates, counts.compared, counts.false_candidates) == (1, 1, 1)


def test_a_hot_bucket_is_capped_and_counted() -> None:
    """Six different documents in one bucket, then one with the shingles of the third and one of the fifth."""
    unlike = [text(name, 10 * name, bands=(1, name)) for name in range(6)]
    third, fifth = text(6, 20, bands=(1, 100)), text(7, 40, bands=(1, 101))
    found = run([*unlike, third, fifth], Near(bucket_cap=3))
    assert rows(found) == [(6, 2, 1, 1, True)]
    counts = found.counts
    assert counts.hot_buckets == 1
    assert counts.candidates == 0 + 1 + 2 + 3 + 3 + 3 + 3 + 3
    assert counts.not_compared == 0 + 0 + 0 + 0 + 1 + 2 + 0 + 3  # of those that stayed
    assert counts.compared == counts.candidates and counts.false_candidates == counts.compared - 1


def test_comparisons_of_a_document_are_capped_and_counted() -> None:
    """Four unlike documents in two buckets; one is compared with the two that share both of its bands."""
    unlike = [text(0, 1, bands=(1, 9)), text(1, 2, bands=(1, 2)), text(2, 3, bands=(8, 2)), text(3, 4, bands=(1, 2))]
    found = run([*unlike, text(4, 4, bands=(1, 2)), text(5, 3, bands=(1, 2))], Near(document_cap=2))
    assert rows(found) == [(4, 3, 1, 1, True)]  # not 5, which is like 2: 1 and 3 share more bands with it
    assert found.not_compared == {3: 1, 5: 2}
    assert found.counts.not_compared == 3 and found.counts.hot_buckets == 0
    assert found.counts.candidates == found.counts.compared == 0 + 1 + 1 + 2 + 2 + 2
    assert rows(run([*unlike, text(5, 3, bands=(1, 2))], Near(document_cap=3))) == []  # 0 is earlier than 2
    assert rows(run([*unlike, text(5, 3, bands=(1, 2))], Near())) == [(4, 2, 1, 1, True)]


def test_all_shingle_sets_are_loaded_at_once_component_by_component() -> None:
    texts = [text(n, *(range(n % 2, 10 + n % 2)), n + 50, bands=(n % 2, n + 10)) for n in range(8)]
    loads: list[list[int]] = []

    def load(ranks: NDArray[np.int64]) -> ShingleSets:
        loads.append(ranks.tolist())
        return sets([texts[rank] for rank in ranks])

    decide(hashed(texts), load, Dedup(near=Near(at_least=1.0)))
    assert loads == [[0, 2, 4, 6, 1, 3, 5, 7]]


def test_a_document_with_bands_must_have_shingles() -> None:
    with pytest.raises(AssertionError, match="bands but no shingles"):
        run([text(0), text(1)], Near())


def test_progress_counts_each_document_once() -> None:
    texts = [text(number, number, bands=(number // 2, number + 9000)) for number in range(2500)]
    alone = [text(9000 + number, 1, bands=None) for number in range(40)]
    told: list[int] = []
    decide(hashed([*texts, *alone, *alone]), lambda ranks: sets([texts[r] for r in ranks]), Dedup(), told.append)
    assert told == [80, 1000, 1000, 500]


GOLDEN = {  # decide.REVISION: digest of the decisions on one fixed corpus
    1: "44374da2c926d2e13e21c7f0681e903b25829ec5c20a8d8476a39bed0b523878",
    2: "44374da2c926d2e13e21c7f0681e903b25829ec5c20a8d8476a39bed0b523878",  # differs only beyond `document_cap`
}


def test_decisions_change_only_with_their_revision() -> None:
    names = [number * number % 211 for number in range(400)]
    texts = [text(n, *((n * 7 + at) % 60 for at in range(8 + n % 5)), bands=(n % 17, n % 13)) for n in names]
    removals = rows(run(texts, Near(at_least=0.6, bucket_cap=5)))
    assert {near for *_, near in removals} == {True, False} and len({survivor for _, survivor, *_ in removals}) > 20
    found = hashlib.sha256(repr(removals).encode()).hexdigest()
    assert GOLDEN.get(REVISION) == found, f"decisions changed: raise decide.REVISION and add {found!r} to GOLDEN"


def test_nothing_in_nothing_out() -> None:
    assert rows(run([], Near())) == rows(run([], None, exact=False)) == []
