"""The estimators, on made-up sources whose truth is known: no bias, and intervals that hold as often as they say."""

import numpy as np
import pytest

from pipelines.commands.forecast import estimate
from pipelines.commands.forecast.estimate import Drawn, KnownRecords, Sample, SampledFiles

TRIALS, DRAWS, QUOTA_SHARE = 40, 40, 0.6


class Made:
    """A source: small documents are dropped more often, and give more tokens a byte."""

    def __init__(self, count: int, seed: int = 5) -> None:
        draw = np.random.default_rng(seed)
        self.sizes = np.floor(draw.lognormal(8, 1.2, count)) + 1
        self.kept = draw.random(count) < 1 / (1 + np.exp(-(np.log(self.sizes) - 7)))
        self.text = np.where(self.kept, self.sizes * draw.uniform(0.2, 0.6, count), 0)
        self.tokens = self.text * self.sizes**-0.05 / 2 * draw.uniform(0.8, 1.2, count)
        self.held_out = draw.random(count) < 0.1
        self.order = draw.permutation(count)

    @property
    def drawn(self) -> Drawn:
        """As it is, in shuffled order."""
        by = self.order
        merged = np.zeros(len(by), bool)
        return Drawn(self.text[by], self.tokens[by], self.kept[by], merged, self.held_out[by], 1.0, len(by))

    def sample(self, rows: np.ndarray, chances: np.ndarray, files: np.ndarray | None = None) -> Sample:
        """What sampled units show."""
        files = np.zeros(len(rows), np.int64) if files is None else files
        columns = (self.kept[rows], self.text[rows], self.tokens[rows], np.zeros(len(rows)), files)
        return Sample(self.sizes[rows], chances, *columns)


def numbers(drawn: Drawn, quota: float) -> list[float]:
    """What is forecast."""
    documents, tokens, text = drawn.filled(quota)
    return [drawn.total(drawn.kept_U), drawn.available(), documents, tokens, text]


def judged(truth: list[float], forecasts: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The mean relative error of each figure, and how often its 90 % interval held."""
    values = np.array([np.median(each, axis=0) for each in forecasts])
    low = np.array([np.quantile(each, 0.05, axis=0) for each in forecasts])
    high = np.array([np.quantile(each, 0.95, axis=0) for each in forecasts])
    inside = (low <= np.array(truth) * 1.0001) & (high >= np.array(truth) * 0.9999)
    return values.mean(axis=0) / truth - 1, inside.mean(axis=0)


@pytest.mark.parametrize("count", [0, 1, 40, 150, 400])
def test_chances_sum_to_the_count_and_stay_below_one(count: int) -> None:
    sizes = np.random.default_rng(1).pareto(1, 400) * 1000
    chances = estimate.chances(sizes, count)
    assert chances.sum() == pytest.approx(count) and (chances <= 1).all() and (chances >= 0).all()


def test_a_unit_is_sampled_as_often_as_its_chance_says() -> None:
    sizes = np.random.default_rng(1).lognormal(8, 1, 80)
    chances = estimate.chances(sizes, 20)
    counts = np.zeros(80)
    for start in np.linspace(0, 1, 500, endpoint=False):
        rows = estimate.systematic(sizes, chances, float(start))
        assert len(rows) == 20 and len(set(rows.tolist())) == 20
        counts[rows] += 1
    assert counts / 500 == pytest.approx(chances, abs=0.01)


def test_known_records_are_forecast_without_bias_and_with_honest_intervals() -> None:
    made = Made(1000)
    quota = QUOTA_SHARE * made.drawn.available()
    chances = estimate.chances(made.sizes, 50)
    forecasts = []
    for trial in range(TRIALS):
        draw = np.random.default_rng(trial)
        rows = estimate.systematic(made.sizes, chances, draw.random())
        row_of = np.full(1000, -1)
        row_of[rows] = np.arange(len(rows))
        by = made.order
        sample = made.sample(rows, chances[rows])
        source = KnownRecords(made.sizes[by], made.held_out[by], row_of[by], sample, 1000)
        forecasts.append(np.array([numbers(source.draw(draw), quota) for _ in range(DRAWS)]))
    bias, held = judged(numbers(made.drawn, quota), forecasts)
    assert np.abs(bias).max() < 0.03, bias
    assert held.min() > 0.75, held


def test_a_source_that_was_sampled_whole_is_known() -> None:
    made = Made(60)
    by = made.order
    source = KnownRecords(made.sizes[by], made.held_out[by], by, made.sample(np.arange(60), np.ones(60)), 70)
    drawn = source.draw(np.random.default_rng(1))
    assert numbers(drawn, 1000) == pytest.approx(numbers(made.drawn, 1000)) and drawn.records == 70


def test_sampled_files_are_forecast_without_bias_and_with_honest_intervals() -> None:
    made = Made(4000)
    file_of = np.repeat(np.arange(200), 20)
    made.text[file_of % 7 == 0] *= 1.5  # files differ, and not just by chance
    made.tokens[file_of % 7 == 0] *= 1.5
    sizes_F = np.bincount(file_of, made.sizes)
    quota = QUOTA_SHARE * made.drawn.available()
    forecasts = []
    for trial in range(TRIALS):
        draw = np.random.default_rng(trial)
        files = draw.choice(200, 20, replace=False)
        rows = np.flatnonzero(np.isin(file_of, files))
        number = {int(file): n for n, file in enumerate(files)}
        sample = made.sample(rows, np.ones(len(rows)), np.array([number[int(file)] for file in file_of[rows]]))
        source = SampledFiles(sample, sizes_F[files], np.full(20, 20.0), float(sizes_F.sum()), 0.1)
        forecasts.append(np.array([numbers(source.draw(draw), quota) for _ in range(DRAWS)]))
    bias, held = judged(numbers(made.drawn, quota), forecasts)
    assert np.abs(bias).max() < 0.03, bias
    assert held.min() > 0.75, held


def test_files_by_their_bytes_stand_for_the_records_of_all() -> None:
    sample = Made(10).sample(np.arange(10), np.ones(10), np.repeat([0, 1], 5))
    source = SampledFiles(sample, np.array([100.0, 100.0]), np.array([7.0, 7.0]), 2000, 0.0)
    drawn = source.draw(np.random.default_rng(1))
    assert drawn.records == pytest.approx(140)
    assert len(drawn.kept_U) * drawn.weight == pytest.approx(100, abs=10)


def test_many_documents_are_stood_for_by_some(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = Made(100).sample(np.arange(100), np.ones(100), np.repeat(np.arange(10), 10))
    source = SampledFiles(sample, np.full(10, 1.0), np.full(10, 10.0), 10_000, 0.0)
    exact = numbers(source.draw(np.random.default_rng(1)), 1e9)
    monkeypatch.setattr(estimate, "MAX_UNITS", 2000)
    drawn = source.draw(np.random.default_rng(1))
    assert len(drawn.kept_U) == pytest.approx(2000, rel=0.1)
    assert numbers(drawn, 1e9)[:2] == pytest.approx(exact[:2], rel=0.15)
    assert drawn.filled(1e5)[1] == pytest.approx(1e5)


def test_duplicates_that_were_seen_stand_for_those_that_were_not() -> None:
    made = Made(4000)
    merged_in_sample = np.zeros(400)
    merged_in_sample[np.flatnonzero(made.kept[:400])[:3]] = 1 / 0.1**2  # three pairs, each met with a chance of 1 %
    rows = np.arange(400)
    sample = made.sample(rows, np.full(400, 0.1))
    sample = Sample(*(getattr(sample, name) for name in ("sizes_S", "chances_S", "kept_S", "text_bytes_S", "tokens_S")),
                    merged_in_sample, sample.files_S)  # fmt: skip
    row_of = np.where(np.arange(4000) < 400, np.arange(4000), -1)
    source = KnownRecords(made.sizes, made.held_out, row_of, sample, 4000)
    merged = np.mean([source.draw(np.random.default_rng(n)).merged_U.sum() for n in range(100)])
    assert merged == pytest.approx(300, rel=0.2)


def test_a_quota_takes_the_smallest_prefix_that_holds_it() -> None:
    some = np.array([True, True, True, False])
    none = np.zeros(4, bool)
    drawn = Drawn(np.full(4, 10.0), np.array([5.0, 5, 5, 5]), some, none, none, 1.0, 4)
    assert drawn.filled(10) == (2, 10, 20) and drawn.filled(11) == (3, 15, 30) and drawn.filled(99) == (3, 15, 30)
    assert drawn.filled(0) == (0, 0, 0)
    assert drawn._replace(held_out_U=np.array([True, False, False, False])).filled(99) == (2, 10, 20)
