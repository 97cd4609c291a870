"""Ratio estimates of a whole source from a sample of its records.

A sampled record counts as itself, and every other one as the average of the sampled records of about its size. The
intervals come from a jackknife: the estimate without one tenth of the sample at a time. Source: Särndal, Swensson &
Wretman 1992, Model Assisted Survey Sampling, 5.6 and 11.5. Legend: U records that may become documents.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

SIZE_CLASSES = 5  # rules and extractors treat small and large records differently
GROUPS = 10
STUDENT_T = 1.833  # 90 % interval with GROUPS - 1 degrees of freedom
MARGIN = 0.05  # on either side, for errors that no jackknife shows: unseen duplicates, another tokenizer


class Interval(NamedTuple):
    """An estimate with its 90 % interval."""

    value: float
    low: float
    high: float


class SourceEstimate(NamedTuple):
    """Expected content of a source; each record stands for `weight` records."""

    kept: float  # documents that pass the rules
    merged: float  # of these, duplicates
    weight: float
    training_U3: Floats  # documents, tokens and text bytes of each record that are left for training

    def take(self, quota: float) -> list[float]:
        """Return documents, tokens and text bytes of the shortest prefix with `quota` tokens (weighted ones divide)."""
        reached_U = self.weight * np.cumsum(self.training_U3[:, 1])
        if quota <= 0 or not len(reached_U):
            return [0.0, 0.0, 0.0]
        end = min(int(np.searchsorted(reached_U, quota)), len(reached_U) - 1)
        part = min(1.0, quota / max(1.0, float(reached_U[end]))) if self.weight > 1 else 1.0
        return [part * self.weight * float(total) for total in self.training_U3[: end + 1].sum(axis=0)]


@dataclass(frozen=True)
class SourceSample:
    """Records of a source in the order of the shuffle, of which some were processed. Other results are 0."""

    sizes_U: Floats  # input bytes
    train_U: Flags  # False: held out if kept
    sampled_U: Flags
    results_U3: Floats  # documents (0 or 1), tokens, text bytes
    merged_U: Flags  # duplicates
    groups_U: Integers  # of the jackknife
    records: float  # in the whole source, of any outcome
    weight: float  # records of the whole source for each record here
    whole_files: bool  # True if files were sampled, each with all its records

    def input_bytes(self) -> tuple[float, float]:
        """Bytes of all records of the source that may become documents, and of the sampled ones."""
        return max(1.0, float(self.sizes_U.sum())) * self.weight, float(self.sizes_U[self.sampled_U].sum())

    def estimate(self, without: int | None = None) -> SourceEstimate:
        """Estimate the whole source, leaving one jackknife group out of the sample."""
        left_U, count, weight = self.groups_U != without, len(self.sizes_U), self.weight
        seen_U, results_U3 = self.sampled_U & left_U, self.results_U3.copy()
        if not seen_U.any():
            return SourceEstimate(0.0, 0.0, 1.0, np.zeros((0, 3)))
        # Records that were not sampled get the ratios of their size class.
        edges = np.quantile(self.sizes_U[seen_U], np.arange(1, SIZE_CLASSES) / SIZE_CLASSES)
        classes_U = np.searchsorted(edges, self.sizes_U)
        per_U3 = np.column_stack([np.ones(count), self.sizes_U, self.sizes_U])
        inverse_U = 1 / _chances(self.sizes_U)
        for number in np.unique(classes_U[~self.sampled_U]):
            base_U = seen_U & (classes_U == number) if (seen_U & (classes_U == number)).any() else seen_U
            ratios_3 = inverse_U[base_U] @ self.results_U3[base_U] / (inverse_U[base_U] @ per_U3[base_U])
            unknown_U = ~self.sampled_U & (classes_U == number)
            results_U3[unknown_U] = ratios_3 * per_U3[unknown_U]
        # A duplicate shows only if the document that it repeats is in the sample too.
        share = self.merged_U[seen_U].sum() / max(1.0, self.results_U3[seen_U, 0].sum()) * count * weight / seen_U.sum()
        merged_U = np.where(self.sampled_U & (not self.whole_files), self.merged_U, min(0.95, share))
        if self.whole_files:  # other files are not known by record, so each of those left weighs more
            weight *= float(self.sizes_U.sum() / self.sizes_U[left_U].sum())
            results_U3[~left_U] = 0
        training_U3 = results_U3 * (self.train_U * (1 - merged_U))[:, None]
        kept_U = results_U3[:, 0]
        return SourceEstimate(weight * float(kept_U.sum()), weight * float(kept_U @ merged_U), weight, training_U3)


def _chances(sizes: Floats) -> Floats:
    """Chance of each record to be chosen, relative to 1: half is the same for all, half is proportional to size."""
    return 0.5 / len(sizes) + 0.5 * (sizes + 1) / (sizes + 1).sum()  # type: ignore[no-any-return]


def choose(sizes: Floats, count: int, start: float) -> Integers:
    """Return the rows of about `count` records, spread evenly over the files; `start` is from [0, 1)."""
    if count >= len(sizes):
        return np.arange(len(sizes))
    rows = np.searchsorted(np.cumsum(_chances(sizes)), (np.arange(count) + start) / count)
    return np.unique(rows.clip(0, len(sizes) - 1))


def jackknife(estimate: float, without_group: tuple[float, ...]) -> Interval:
    """Return the 90 % interval, from the estimates without each group."""
    variance = (GROUPS - 1) / GROUPS * sum((other - estimate) ** 2 for other in without_group)
    half = STUDENT_T * variance**0.5 + MARGIN * estimate
    return Interval(estimate, max(0.0, estimate - half), estimate + half)
