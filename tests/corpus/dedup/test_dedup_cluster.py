import hashlib
import math

import numpy as np
import pytest

from corpus.dedup.cluster import held_out, survivors
from corpus.dedup.decide import Documents, decide
from corpus.dedup.settings import Dedup

IDS = [hashlib.sha256(str(number).encode()).hexdigest()[:32] for number in range(20_000)]


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
def test_the_share_is_held_out(share: float) -> None:
    found = sum(held_out(identity, 1, share) for identity in IDS)
    assert abs(found - share * len(IDS)) < 4 * math.sqrt(len(IDS) * share * (1 - share))


def test_a_larger_share_holds_the_smaller() -> None:
    assert all(held_out(identity, 1, 0.1) for identity in IDS if held_out(identity, 1, 0.01))
    assert not any(held_out(identity, 1, 0) for identity in IDS[:100])
    assert all(held_out(identity, 1, 1) for identity in IDS[:100])


def test_another_seed_is_another_holdout() -> None:
    assert [held_out(i, 1, 0.5) for i in IDS[:100]] != [held_out(i, 2, 0.5) for i in IDS[:100]]


def test_each_document_has_one_that_stands_for_it() -> None:
    content = np.array([[1], [2], [1], [1]], dtype=np.uint8).repeat(16, axis=1)
    none = Documents(content, np.zeros((4, 14), dtype=np.uint64), np.zeros(4, dtype=np.bool_))
    found = decide(none, lambda rank: np.zeros(0, dtype=np.uint64), Dedup())
    assert survivors(found, 4).tolist() == [0, 1, 0, 0]
