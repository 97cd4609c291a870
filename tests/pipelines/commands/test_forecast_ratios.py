"""Ratio estimates of synthetic sources with known content: bias, and how often the 90 % intervals hold."""

import numpy as np
import pytest

from pipelines.commands.forecast.ratios import GROUPS, Interval, SourceSample, choose, jackknife

TRIALS = 60


class SyntheticSource:
    """Records of log-normal size. Small ones are dropped more often, and give more tokens per byte."""

    def __init__(self, count: int, seed: int = 5) -> None:
        draw = np.random.default_rng(seed)
        self.sizes = np.floor(draw.lognormal(8, 1.2, count)) + 1
        kept = draw.random(count) < 1 / (1 + np.exp(-(np.log(self.sizes) - 7)))
        text = np.where(kept, self.sizes * draw.uniform(0.2, 0.6, count), 0)
        tokens = text * self.sizes**-0.05 / 2 * draw.uniform(0.8, 1.2, count)
        self.results = np.column_stack([kept, tokens, text]).astype(float)
        self.train = draw.random(count) >= 0.1
        self.order = draw.permutation(count)

    def sample(self, rows: np.ndarray, *, whole: int = 0, groups: np.ndarray | None = None) -> SourceSample:
        """Sample of these records; if `whole` is given, the others of that many are unknown."""
        sampled = np.isin(np.arange(len(self.sizes)), rows)
        groups = np.cumsum(sampled) % GROUPS if groups is None else groups
        order = self.order[sampled[self.order]] if whole else self.order
        return SourceSample(
            sizes_U=self.sizes[order],
            train_U=self.train[order],
            sampled_U=sampled[order],
            results_U3=self.results[order] * sampled[order][:, None],
            merged_U=np.zeros(len(order), bool),
            groups_U=groups[order],
            records=float(whole or len(self.sizes)),
            weight=float(self.sizes.sum() / self.sizes[sampled].sum()) if whole else 1.0,
            whole_files=bool(whole),
        )


def figures(sample: SourceSample, quota: float, without: int | None = None) -> list[float]:
    """Kept documents, and documents, tokens and text bytes up to the quota."""
    estimate = sample.estimate(without)
    return [estimate.kept, *estimate.take(quota)]


def judge(truth: list[float], samples: list[SourceSample], quota: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean relative error of each figure, and the share of intervals that hold."""
    errors, held = [], []
    for sample in samples:
        values = figures(sample, quota)
        without = zip(*(figures(sample, quota, group) for group in range(GROUPS)), strict=True)
        intervals = [jackknife(value, others) for value, others in zip(values, without, strict=True)]
        errors.append(np.array(values) / truth - 1)
        held.append([low <= real <= high for (_, low, high), real in zip(intervals, truth, strict=True)])
    return np.mean(errors, axis=0), np.mean(held, axis=0)


@pytest.mark.parametrize("count", [1, 40, 150, 400, 500])
def test_distinct_records_are_chosen_at_most_as_many_as_asked(count: int) -> None:
    sizes = np.random.default_rng(1).pareto(1, 400) * 1000
    rows = choose(sizes, count, 0.3)
    assert (len(set(rows.tolist())) == len(rows) and count / 2 <= len(rows) <= count) or len(rows) == 400


def test_large_records_are_chosen_more_often() -> None:
    sizes = np.array([1.0] * 90 + [1000.0] * 10)
    chosen = np.mean([np.isin(np.arange(100), choose(sizes, 10, start)) for start in np.linspace(0, 0.99, 50)], axis=0)
    assert chosen[:90].mean() == pytest.approx(0.05, abs=0.01) and chosen[90:].mean() == pytest.approx(0.55, abs=0.05)


def test_sampled_records_give_estimates_without_bias_and_intervals_that_hold() -> None:
    source = SyntheticSource(1000)
    everything = source.sample(np.arange(1000))
    quota = 0.6 * everything.estimate().take(np.inf)[1]
    draw = np.random.default_rng(2)
    samples = [source.sample(choose(source.sizes, 100, start)) for start in draw.random(TRIALS)]
    bias, held = judge(figures(everything, quota), samples, quota)
    assert np.abs(bias).max() < 0.04, bias
    assert held.min() > 0.85, held


def test_sampled_files_give_estimates_without_bias_and_intervals_that_hold() -> None:
    source = SyntheticSource(4000)
    file_of = np.repeat(np.arange(200), 20)
    source.results[file_of % 7 == 0, 1:] *= 1.5  # files differ by more than chance
    everything = source.sample(np.arange(4000))
    quota = 0.6 * everything.estimate().take(np.inf)[1]
    draw, samples = np.random.default_rng(2), []
    for _ in range(TRIALS):
        files = draw.choice(200, 20, replace=False)
        samples.append(source.sample(np.flatnonzero(np.isin(file_of, files)), whole=4000, groups=file_of % GROUPS))
    bias, held = judge(figures(everything, quota), samples, quota)
    assert np.abs(bias).max() < 0.04, bias
    assert held.min() > 0.85, held


def test_a_source_that_was_read_whole_is_known() -> None:
    source = SyntheticSource(60)
    estimate = source.sample(np.arange(60)).estimate()
    assert estimate.kept == source.results[:, 0].sum() and estimate.merged == 0
    assert estimate.take(np.inf) == pytest.approx((source.results * source.train[:, None]).sum(axis=0))


def test_a_quota_takes_the_shortest_prefix_that_holds_it() -> None:
    sample = SourceSample(
        np.full(4, 100.0), np.array([True, True, True, False]), np.ones(4, bool), np.array([[1.0, 5, 10]] * 4),
        np.zeros(4, bool), np.arange(4), 4.0, 1.0, whole_files=False,
    )  # fmt: skip
    take = sample.estimate().take
    assert take(10) == [2, 10, 20] and take(11) == [3, 15, 30] and take(99) == [3, 15, 30] and take(0) == [0, 0, 0]


def test_a_record_that_stands_for_many_is_divided() -> None:
    source = SyntheticSource(400)
    sample = source.sample(np.arange(100), whole=400, groups=np.arange(400) % GROUPS)
    quota = 0.5 * sample.estimate().take(np.inf)[1]
    assert sample.estimate().take(quota)[1] == pytest.approx(quota)


def test_duplicates_in_a_sample_stand_for_those_outside() -> None:
    """Of 1 in 10 records, one duplicate in 100 pairs shows."""
    source = SyntheticSource(4000)
    rows = np.arange(0, 4000, 10)
    sample = source.sample(rows)
    sample.merged_U[np.flatnonzero(sample.sampled_U & (sample.results_U3[:, 0] > 0))[:3]] = True
    assert sample.estimate().merged == pytest.approx(300, rel=0.2)


def test_a_sample_without_documents_estimates_nothing() -> None:
    sample = SyntheticSource(10).sample(np.zeros(0, int))
    assert sample.estimate().kept == 0 and sample.estimate().take(10) == [0, 0, 0]


def test_an_interval_has_a_margin_for_errors_that_no_sample_shows() -> None:
    assert jackknife(100.0, (100.0,) * GROUPS) == Interval(100.0, 95.0, 105.0)
