"""Statistics of the forecast: which records are sampled, and how many corpora may stand behind what they show.

A record's size, its place in the shuffled order and whether it would be held out are known of each that was read. What
only a sampled one shows (whether it is kept, and how much text and how many tokens come of its bytes) is drawn for the
others: kept with a chance that follows the size (a logistic regression), with text and tokens from a kept donor of
about their size (the hot deck), brought to the sample's ratio of sums. Before each draw the sample itself is resampled
(the bootstrap, n - 1 of n), so that the draws spread as forecasts from other samples would. What a corpus adds up to
is then computed in each; the forecast is the median, and its interval the quantiles.

Source: Särndal, Swensson & Wretman 1992, Model Assisted Survey Sampling, 3.6 (systematic sampling with unequal
chances) and 5.6 (ratio estimation); Rao & Wu 1988, Resampling Inference With Complex Survey Data (n - 1 of n); Andridge
& Little 2010, A Review of Hot Deck Imputation.

Legend: U units (records that may become documents), S sampled ones, 3 coefficients.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

CLASSES = 6  # of size, within which neighbours in the files are sampled evenly
NEIGHBOURS = 4  # donors on either side, in the order of size
SLOPE_PRIOR = 0.5  # precision of the prior on the regression's slopes, in standard deviations of log size
NEUTRAL_PRIOR = 1 / 3  # Source: Kerman 2011, Neutral noninformative and informative conjugate beta and gamma priors
MAX_UNITS = 200_000  # of more, a part is drawn that stands for all
MOST_MERGED = 0.95


def chances(sizes_U: Floats, count: int) -> Floats:
    """With which chance each unit is sampled: half the same for all, half by size; they sum to `count`."""
    weights_U = 0.5 + 0.5 * sizes_U / max(1.0, float(sizes_U.mean())) if len(sizes_U) else sizes_U
    chances_U = np.ones(len(sizes_U))
    open_U = np.full(len(sizes_U), count < len(sizes_U))
    while open_U.any():
        left = count - (len(sizes_U) - int(open_U.sum()))
        chances_U[open_U] = left * weights_U[open_U] / weights_U[open_U].sum()
        over_U = open_U & (chances_U >= 1)
        chances_U[over_U] = 1.0
        if not over_U.any():
            break
        open_U &= ~over_U
    return chances_U


def systematic(sizes_U: Floats, chances_U: Floats, start: float) -> Integers:
    """Which units are sampled, `start` in [0, 1): spread evenly over classes of size and, in these, over the files.

    Units stand as they lie in the files.
    """
    by_size = np.argsort(sizes_U, kind="stable")
    mass_U = np.cumsum(np.sqrt(sizes_U[by_size]) + 1e-9)
    classes_U = np.empty(len(sizes_U), np.int64)
    classes_U[by_size] = np.minimum(CLASSES - 1, (mass_U * CLASSES / mass_U[-1]).astype(np.int64))
    order_U = np.argsort(classes_U, kind="stable")
    reached_U = np.cumsum(chances_U[order_U])
    steps = np.arange(start, float(reached_U[-1]) - 1e-9)
    return np.sort(order_U[np.unique(np.searchsorted(reached_U, steps, side="right").clip(0, len(sizes_U) - 1))])


class Drawn(NamedTuple):
    """A source as it may be, in the order in which mix takes documents; each unit stands for `weight`."""

    text_bytes_U: Floats  # 0 where a unit is not kept
    tokens_U: Floats
    kept_U: Flags  # by clean
    merged_U: Flags
    held_out_U: Flags
    weight: float
    records: float  # of any fate

    def total(self, values_U: Floats | Flags) -> float:
        """A sum over the source."""
        return self.weight * float(values_U.sum())

    @property
    def may_be_taken(self) -> Flags:
        """What mix may take."""
        return self.kept_U & ~self.merged_U & ~self.held_out_U

    def available(self) -> float:
        """Tokens for training."""
        return self.total(self.tokens_U[self.may_be_taken])

    def filled(self, quota: float) -> tuple[float, float, float]:
        """Documents, tokens and bytes of text of the smallest prefix that holds `quota` tokens, or of all."""
        tokens_U, text_U = self.tokens_U[self.may_be_taken], self.text_bytes_U[self.may_be_taken]
        if quota <= 0 or not len(tokens_U):
            return 0.0, 0.0, 0.0
        end = min(int(np.searchsorted(np.cumsum(tokens_U), quota / self.weight)), len(tokens_U) - 1) + 1
        tokens, text = self.weight * float(tokens_U[:end].sum()), self.weight * float(text_U[:end].sum())
        part = min(1.0, quota / tokens) if self.weight > 1 and tokens else 1.0  # a unit that stands for many is divided
        return part * self.weight * end, part * tokens, part * text


@dataclass(frozen=True)
class Sample:
    """What became of the sampled units."""

    sizes_S: Floats  # input bytes
    chances_S: Floats  # with which each was sampled
    kept_S: Flags
    text_bytes_S: Floats  # 0 where not kept
    tokens_S: Floats
    merged_S: Floats  # 0, or for how many duplicates of the whole this one stands: 1 / the chance to meet its survivor
    files_S: Integers  # the number of the file in which each lies

    def merged_share(self, chosen_S: Integers) -> float:
        """The share of kept documents that are duplicates, in the whole."""
        weights_S = 1 / self.chances_S[chosen_S]
        kept = float((weights_S * self.kept_S[chosen_S]).sum())
        return min(MOST_MERGED, float(self.merged_S[chosen_S].sum()) / kept) if kept else 0.0

    def unseen(self, kept: float, draw: np.random.Generator) -> float:
        """How many more duplicates may hide among `kept` documents of the whole: they show only in pairs.

        Source: Poisson counts of pairs with the neutral prior, Gamma(1/3).
        """
        sampled = float(self.kept_S.sum())
        one_stands_for = (kept / sampled) ** 2 - 1 if sampled else 0.0
        return min(MOST_MERGED * kept, draw.gamma(NEUTRAL_PRIOR) * max(0.0, one_stands_for))


class Source(Protocol):
    """Whatever draws."""

    def draw(self, draw: np.random.Generator) -> Drawn:
        """One corpus that the source may be."""


@dataclass(frozen=True)
class KnownRecords:
    """A source whose records were all read, and some of them sampled. U in the order of their shuffle keys."""

    sizes_U: Floats
    held_out_U: Flags
    row_U: Integers  # of the unit in `sample`; -1 where it was not sampled
    sample: Sample
    records: int  # of any fate
    weight: float = 1.0  # how many units each stands for

    def draw(self, draw: np.random.Generator) -> Drawn:
        """The sampled units as they are, and the others as their like."""
        sizes_U, row_U, sample = self.sizes_U, self.row_U, self.sample
        count = len(sample.sizes_S)
        if not count:
            return _nothing(self.records)
        chosen_S = draw.integers(0, count, max(1, count - 1))
        known_U = row_U >= 0
        kept_U = draw.random(len(sizes_U)) < _kept_chance(sample, chosen_S, sizes_U, draw)
        kept_U = np.where(known_U, sample.kept_S[row_U], kept_U)
        text_U, tokens_U = _from_donors(sample, chosen_S, sizes_U, kept_U & ~known_U, draw)
        text_U = np.where(known_U, sample.text_bytes_S[row_U], text_U)
        tokens_U = np.where(known_U, sample.tokens_S[row_U], tokens_U)
        merged_U = draw.random(len(sizes_U)) < sample.merged_share(chosen_S)
        merged_U = kept_U & np.where(known_U, sample.merged_S[row_U] > 0, merged_U)
        return Drawn(text_U, tokens_U, kept_U, merged_U, self.held_out_U, self.weight, self.records)


@dataclass(frozen=True)
class SampledFiles:
    """A source of which some files were sampled, all of each: the whole follows by bytes, file by file."""

    sample: Sample  # with chances of 1: within its file each was taken
    bytes_F: Floats  # of each sampled file
    records_F: Floats
    whole_bytes: float  # of all files
    held_out_share: float

    def draw(self, draw: np.random.Generator) -> Drawn:
        """The sampled files as they are, and others like them up to the bytes of the whole."""
        files, sampled = len(self.bytes_F), float(self.bytes_F.sum())
        if not sampled:
            return _nothing(float(self.records_F.sum()))
        chosen_F = draw.integers(0, files, max(1, files - 1))
        left = max(0.0, self.whole_bytes - sampled)
        times = left / max(1.0, float(self.bytes_F[chosen_F].sum()))
        counts_F = np.bincount(chosen_F, minlength=files) * times
        records = float(self.records_F.sum() + (counts_F * self.records_F).sum())
        counts_S = 1 + counts_F[self.sample.files_S]
        if files == 1:  # nothing tells how files differ: its records stand for others
            rows = draw.integers(0, max(1, len(counts_S)), len(counts_S))
            counts_S = 1 + times * np.bincount(rows, minlength=len(counts_S))
        weight = max(1.0, float(counts_S.sum()) / MAX_UNITS)
        repeats_S = np.floor(counts_S / weight + draw.random(len(counts_S))).astype(np.int64)
        row_U = draw.permutation(np.repeat(np.arange(len(counts_S)), repeats_S))
        sample = self.sample
        kept_U = sample.kept_S[row_U]
        merged_U = kept_U & (draw.random(len(row_U)) < sample.merged_share(row_U))
        held_out_U = draw.random(len(row_U)) < self.held_out_share
        return Drawn(sample.text_bytes_S[row_U], sample.tokens_S[row_U], kept_U, merged_U, held_out_U, weight, records)


def _nothing(records: float) -> Drawn:
    none = np.zeros(0)
    return Drawn(none, none, none > 0, none > 0, none > 0, 1.0, records)


def _kept_chance(sample: Sample, chosen_S: Integers, sizes_U: Floats, draw: np.random.Generator) -> Floats:
    """How likely a unit of each size is kept, by the resampled ones: logistic in the log of the size and its square.

    Beside them stand one kept and one dropped of middle size, with a weight of a third on average: where all of the
    sample were kept, not all of the source need be.
    """
    logs_S = np.log(sample.sizes_S[chosen_S] + 100)
    centre, spread = float(logs_S.mean()), float(logs_S.std()) + 1e-9
    kept_S = np.append(sample.kept_S[chosen_S], [1, 0]).astype(np.float64)
    weights_S = np.append(np.ones(len(chosen_S)), draw.gamma(NEUTRAL_PRIOR, size=2))
    terms_S3 = _terms(np.append((logs_S - centre) / spread, [0, 0]))
    precision_3 = np.array([1e-6, SLOPE_PRIOR, SLOPE_PRIOR])
    share = float((weights_S * kept_S).sum() / weights_S.sum())
    found_3 = np.array([np.log(share / (1 - share)) if 0 < share < 1 else 0.0, 0.0, 0.0])
    for _ in range(8):  # Newton
        chance_S = 1 / (1 + np.exp(-terms_S3 @ found_3))
        slope_3 = terms_S3.T @ (weights_S * (kept_S - chance_S)) - precision_3 * found_3 * [0, 1, 1]
        bend_33 = (terms_S3 * (weights_S * chance_S * (1 - chance_S))[:, None]).T @ terms_S3 + np.diag(precision_3)
        found_3 = found_3 + np.clip(np.linalg.solve(bend_33, slope_3), -2, 2)
    chance_U: Floats = 1 / (1 + np.exp(-_terms((np.log(sizes_U + 100) - centre) / spread) @ found_3))
    return chance_U


def _terms(scaled: Floats) -> Floats:
    bounded = np.clip(scaled, -2.5, 2.5)  # a parabola is not to be believed far from its points
    return np.stack([np.ones_like(bounded), bounded, bounded**2], axis=1)


def _from_donors(
    sample: Sample, chosen_S: Integers, sizes_U: Floats, wanted_U: Flags, draw: np.random.Generator
) -> tuple[Floats, Floats]:
    """Text bytes and tokens of the wanted units; 0 elsewhere."""
    text_U, tokens_U = np.zeros(len(sizes_U)), np.zeros(len(sizes_U))
    donors_S = chosen_S[sample.kept_S[chosen_S] & (sample.sizes_S[chosen_S] > 0)]
    if not len(donors_S):
        donors_S = np.flatnonzero(sample.kept_S & (sample.sizes_S > 0))
    if not len(donors_S) or not wanted_U.any():
        return text_U, tokens_U
    donors_S = donors_S[np.argsort(sample.sizes_S[donors_S], kind="stable")]
    sizes_W = sizes_U[wanted_U]
    place_W = np.searchsorted(sample.sizes_S[donors_S], sizes_W) + draw.integers(-NEIGHBOURS, NEIGHBOURS, len(sizes_W))
    donor_W = donors_S[place_W.clip(0, len(donors_S) - 1)]
    weights_S = 1 / sample.chances_S[donors_S] - 1 + 1e-9  # each donor for those like it that were not sampled
    whole = float((weights_S * sample.sizes_S[donors_S]).sum())
    for target_U, values_S in ((text_U, sample.text_bytes_S), (tokens_U, sample.tokens_S)):
        drawn_W = sizes_W * values_S[donor_W] / sample.sizes_S[donor_W]
        ratio = float((weights_S * values_S[donors_S]).sum()) / whole
        total = float(drawn_W.sum())
        target_U[wanted_U] = drawn_W * (ratio * float(sizes_W.sum()) / total) if total else 0.0
    return text_U, tokens_U
