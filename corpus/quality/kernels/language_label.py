"""fastText's classification of one line of text, step by step in its own order, so that its sums round alike.

A text is the mean of the vectors of its words and of the character n-grams in them. A binary tree, whose nodes hold a
logistic regression each, leads to the label of the highest probability.
Source: Joulin et al. 2016, Bag of Tricks for Efficient Text Classification; Bojanowski et al. 2017, for n-grams.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from corpus.compiled import as_int64, cached_jit, jit_no_alloc

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

_FNV_BASIS, _FNV_PRIME = np.uint32(2166136261), np.uint32(16777619)  # FNV-1a, 32 bits
_SIGN = np.uint32(0xFFFFFF00)  # fastText hashes signed bytes
_LT, _GT, _SPACE, _ZERO = np.uint8(ord("<")), np.uint8(ord(">")), np.uint8(ord(" ")), np.uint8(0)
_LABEL = np.frombuffer(b"__label__", np.uint8)
_1, _2, _4, _56 = np.uint64(1), np.uint64(2), np.uint64(4), np.uint64(56)
_ODD_BITS, _PAIRS = np.uint64(0x5555555555555555), np.uint64(0x3333333333333333)
_NIBBLES, _BYTES = np.uint64(0x0F0F0F0F0F0F0F0F), np.uint64(0x0101010101010101)
_LEAST = np.float32(np.log(1e-5))  # no label of a lower log-probability is given


class LanguageArrays(NamedTuple):
    """A model's numbers. R: rows, D: dimensions, W: words, B: bits in 64-bit integers, N: nodes, S: slots."""

    rows_RD: Floats  # first the words', then those of n-grams by ascending bucket
    word_slots_S: NDArray[np.int32]  # hash table of the words, -1 if empty; S is a power of two
    word_starts: NDArray[np.int32]  # W + 1 positions in `word_bytes`
    word_bytes: Bytes
    bucket_bits_B: NDArray[np.uint64]  # one bit a bucket of n-gram hashes: 1 if it has a row
    bucket_ranks_B: NDArray[np.int32]  # number of ones before each integer
    nodes_ND: Floats  # the regressions, for the nodes after the leaves
    children: NDArray[np.int32]  # two for each leaf and node; those of leaves are -1
    buckets: int
    least_ngram: int  # characters
    longest_ngram: int
    end_row: int  # row of the end of a line


@jit_no_alloc
def _hashed(code: np.uint32, byte: np.uint8) -> np.uint32:
    signed = np.uint32(byte) if byte < 128 else np.uint32(np.uint32(byte) | _SIGN)
    return np.uint32(np.uint32(code ^ signed) * _FNV_PRIME)


@jit_no_alloc
def _is_space(byte: np.uint8) -> bool:
    return bool(9 <= byte <= 13 or byte in (_SPACE, _ZERO))


@jit_no_alloc
def _add(hidden_D: Floats, rows_RD: Floats, row: int) -> None:
    for axis in range(len(hidden_D)):
        hidden_D[axis] += rows_RD[row, axis]


@jit_no_alloc
def _equal(one: Bytes, start: int, other: Bytes, other_start: int, size: int) -> bool:
    at = as_int64(0)
    while at < size and one[start + at] == other[other_start + at]:
        at += 1
    return at == size


@jit_no_alloc
def _word(text: Bytes, start: int, end: int, code: np.uint32, model: LanguageArrays) -> int:
    """Return the number of a word, -1 if the model has none such."""
    last = len(model.word_slots_S) - 1
    slot = as_int64(int(code)) & last
    while model.word_slots_S[slot] >= 0:
        word = as_int64(int(model.word_slots_S[slot]))
        first = model.word_starts[word]
        size = model.word_starts[word + 1] - first
        if size == end - start and _equal(text, start, model.word_bytes, first, size):
            return word
        slot = (slot + 1) & last
    return as_int64(-1)


@jit_no_alloc
def _ones(bits: np.uint64) -> int:
    bits = bits - ((bits >> _1) & _ODD_BITS)
    bits = (bits & _PAIRS) + ((bits >> _2) & _PAIRS)
    bits = (bits + (bits >> _4)) & _NIBBLES
    return as_int64(int((bits * _BYTES) >> _56))


@jit_no_alloc
def _add_ngrams(text: Bytes, start: int, end: int, words: int, model: LanguageArrays, hidden_D: Floats) -> int:
    """Add the rows of all n-grams of text[start:end], a word within < and >; return their number."""
    added = as_int64(0)
    for first in range(start, end):
        if text[first] & 0xC0 == 0x80:  # inside a character
            continue
        code, at = _FNV_BASIS, first
        for size in range(1, model.longest_ngram + 1):
            if at >= end:
                break
            code = _hashed(code, text[at])
            at += 1
            while at < end and text[at] & 0xC0 == 0x80:
                code = _hashed(code, text[at])
                at += 1
            if size < model.least_ngram or (size == 1 and (first == start or at == end)):
                continue
            bucket = np.uint32(code % np.uint32(model.buckets))
            bits, bit = model.bucket_bits_B[bucket >> np.uint32(6)], np.uint64(bucket & np.uint32(63))
            if (bits >> bit) & _1:
                rank = model.bucket_ranks_B[bucket >> np.uint32(6)] + _ones(bits & ((_1 << bit) - _1))
                _add(hidden_D, model.rows_RD, words + rank)
                added += 1
    return added


@jit_no_alloc
def _log(probability: np.float32) -> np.float32:
    return np.float32(np.log(np.float64(probability) + 1e-5))


@jit_no_alloc
def _mean(text: Bytes, model: LanguageArrays, hidden_D: Floats) -> None:
    """Fill `hidden_D` with the mean of the rows of all words and n-grams."""
    words, count, at = len(model.word_starts) - 1, as_int64(1), as_int64(0)
    while at < len(text):
        if _is_space(text[at]):
            at += 1
            continue
        start, code = at, _FNV_BASIS
        while not _is_space(text[at]):
            code = _hashed(code, text[at])
            at += 1
        if at - start >= len(_LABEL) and _equal(text, start, _LABEL, as_int64(0), len(_LABEL)):
            continue  # fastText reads no text that looks like a label
        word = _word(text, start, at, code, model)
        if word >= 0:
            _add(hidden_D, model.rows_RD, word)
            count += 1
        text[start - 1], text[at] = _LT, _GT
        count += _add_ngrams(text, start - 1, at + 1, words, model, hidden_D)
        text[at] = _SPACE
    _add(hidden_D, model.rows_RD, model.end_row)
    scale = np.float32(1.0 / count)
    for axis in range(len(hidden_D)):
        hidden_D[axis] *= scale


@cached_jit
def best_label(text: Bytes, model: LanguageArrays) -> tuple[int, float]:
    """Return the number of the likeliest label of a text, -1 if there is none, and its probability.

    Each byte that separates words is a space, line feeds too. `text` begins and ends with one; it is overwritten.
    """
    hidden_D = np.zeros(model.rows_RD.shape[1], np.float32)
    _mean(text, model, hidden_D)
    # Search the tree for the best leaf, depth first, and leave out what is worse than the best so far.
    labels = len(model.nodes_ND) + 1
    stack, scores = np.empty(2 * labels, np.int32), np.empty(2 * labels, np.float32)
    stack[0], scores[0], depth = 2 * labels - 2, np.float32(0), 1
    best, best_score = as_int64(-1), _LEAST
    while depth:
        depth -= 1
        node, score = as_int64(int(stack[depth])), scores[depth]
        if score < best_score:
            continue
        if node < labels:
            if best < 0 or score > best_score:
                best, best_score = node, score
            continue
        value = np.float32(0)
        for axis in range(len(hidden_D)):
            value += model.nodes_ND[node - labels, axis] * hidden_D[axis]
        right = np.float32(1.0 / np.float64(np.float32(1) + np.float32(np.exp(-np.float64(value)))))
        stack[depth], scores[depth] = model.children[node, 1], score + _log(right)
        left = np.float32(1.0 - np.float64(right))
        stack[depth + 1], scores[depth + 1] = model.children[node, 0], score + _log(left)
        depth += 2
    return best, np.exp(np.float64(best_score))
