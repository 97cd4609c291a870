"""Contexts of a phase: sequences that a seam cuts, padding, and tokens that a token attends to, from a sample."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from itertools import pairwise

import numpy as np

from trainer.data.curriculum import PhasePlan
from trainer.data.cursor import Run
from trainer.data.documents import DocumentStarts

SAMPLE = 200  # sequences of each source
MOST_CUT, LEAST_CONTEXT, MOST_PADDING = 0.02, 0.95, 0.02


@dataclass(frozen=True, slots=True)
class Contexts:
    """Sequences of a phase: all means are over the sample's tokens, all shares between 0 and 1."""

    cut: float  # share of sequences in which a token does not follow its predecessor in the source
    padding: float  # share of tokens
    context: float  # earlier tokens of its document that a token attends to
    uncut: float  # the same in the source's own order, cut every T tokens and nowhere else


def contexts(phase: PhasePlan, documents: Mapping[str, DocumentStarts], sample: int = SAMPLE) -> dict[str, Contexts]:
    """Measure the contexts of each source that a phase reads, in sequences spread over the whole phase."""
    found = {}
    for name, count in phase.sequences(phase.last_step).items():
        if count:
            sequences_N = np.unique(np.linspace(0, count - 1, min(count, sample)).astype(np.int64))
            order = phase.orders[name]
            located = zip(*(each.tolist() for each in order.locate(sequences_N)), strict=True)
            rows = [
                _row(order.runs(*place), phase.sequence_tokens, order.layout.tokens, documents[name])
                for place in located
            ]
            found[name] = mean_contexts(rows)
    return found


def mean_contexts(each: Sequence[Contexts], weights: Sequence[float] | None = None) -> Contexts:
    """Return the means, weighted if `weights` are given."""
    return Contexts(*np.average(np.array(list(map(astuple, each))), axis=0, weights=weights).tolist())


def problems(phase: PhasePlan, found: Mapping[str, Contexts]) -> list[str]:
    """Describe the sources of a phase whose contexts are poor, with a setting that helps."""
    told = []
    for name, each in found.items():
        chunk = phase.orders[name].layout.chunk_tokens
        if each.padding > MOST_PADDING:
            told.append(f"{each.padding:.1%} of the tokens of `{name}` are padding: longer sequences would have less")
        elif (each.cut > MOST_CUT and not phase.whole_documents) or each.context < LEAST_CONTEXT * each.uncut:
            if phase.whole_documents or chunk % phase.sequence_tokens == 0:
                remedy = "earlier phases have left pieces of it; a larger corpus has more to read"
            else:
                remedy = (
                    "set `whole_documents: true`, or make sequence_tokens a power of two of at most "
                    f"{chunk:,}, the size of this source's chunks"
                )
            told.append(
                f"{each.cut:.0%} of the sequences of `{name}` are cut by a seam, and a token attends to "
                f"{each.context:,.0f} earlier ones instead of {each.uncut:,.0f}: {remedy}"
            )
    return [f"phase `{phase.name}`: {text}" for text in told]


def _row(runs: Sequence[Run], width: int, tokens: int, documents: DocumentStarts) -> Contexts:
    """Return the contexts of one sequence of T tokens, as predicted: behind its first column."""
    segments, held, cut = list[int](), 0, False
    for column, start, stop, is_seam in runs:
        start += column == 0
        segments += _lengths(start, stop, documents)
        held += stop - start
        cut |= is_seam and column < width
    begin = runs[0].start // width * width
    uncut = _lengths(begin, min(tokens, begin + width), documents)
    return Contexts(float(cut), 1 - held / width, _mean(segments), _mean(uncut))


def _lengths(start: int, stop: int, documents: DocumentStarts) -> list[int]:
    """Return the lengths of the parts that the starts of documents divide a range into."""
    bounds = [start, *documents.between(start + 1, stop).tolist(), stop]
    return [stop - start for start, stop in pairwise(bounds)]


def _mean(lengths: Sequence[int]) -> float:
    """Return the mean number of earlier tokens in the same part."""
    return sum(length * (length - 1) / 2 for length in lengths) / max(1, sum(lengths))
