"""Sums of input bytes over tasks, and the bound on what may be lost."""

import pytest

from corpus.errors import CorpusError
from pipelines.input_account import CleanFacts, ReadRange, check_spans, exceeds, losses_of


def facts(*ranges: ReadRange) -> CleanFacts:
    return CleanFacts(ranges=ranges, signals=())


def part(start: int, end: int, lost: dict[str, int] | None = None) -> ReadRange:
    return ReadRange(file="a", start=start, end=end, records=1, lost=lost or {})


@pytest.mark.parametrize("percent", range(1, 100))
def test_a_share_counts_as_it_is_written(percent: int) -> None:
    assert not exceeds(percent, 100, percent / 100)
    assert exceeds(percent + 1, 100, percent / 100)


def test_ranges_add_up_to_the_size_of_the_file() -> None:
    check_spans([facts(part(0, 5)), facts(part(5, 9))], {"a": 9})
    for ranges, problem in (((part(0, 5),), "up to byte 5 of 9"), ((part(0, 5), part(6, 9)), "bytes 5..6")):
        with pytest.raises(CorpusError, match=problem):
            check_spans([facts(*ranges)], {"a": 9})


def test_losses_of_a_file_are_summed_over_its_parts() -> None:
    (loss,) = losses_of([facts(part(0, 5, {"bad_gzip": 2})), facts(part(5, 9, {"bad_gzip": 1, "truncated": 1}))])
    assert (loss.file, loss.input_bytes, loss.lost_bytes, loss.reasons) == ("a", 9, 4, ("bad_gzip", "truncated"))
