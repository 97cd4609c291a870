import hashlib
import math

import pytest

from corpus.dedup.decision import held_out

IDS = [hashlib.sha256(str(number).encode()).hexdigest()[:32] for number in range(20_000)]


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
def test_the_holdout_has_the_requested_share(share: float) -> None:
    found = sum(held_out(identity, 1, share) for identity in IDS)
    assert abs(found - share * len(IDS)) < 4 * math.sqrt(len(IDS) * share * (1 - share))


def test_a_larger_holdout_contains_the_smaller() -> None:
    assert all(held_out(identity, 1, 0.1) for identity in IDS if held_out(identity, 1, 0.01))
    assert not any(held_out(identity, 1, 0) for identity in IDS[:100])
    assert all(held_out(identity, 1, 1) for identity in IDS[:100])


def test_another_seed_gives_another_holdout() -> None:
    assert [held_out(i, 1, 0.5) for i in IDS[:100]] != [held_out(i, 2, 0.5) for i in IDS[:100]]
