"""Read a fastText model of the kind of lid.176.ftz: supervised, quantized and pruned, labels in a Huffman tree.

The layout is that which fastText 0.9.2 writes, little-endian; https://github.com/facebookresearch/fastText has it.
"""

import struct
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from corpus.quality.kernels.language_label import LanguageArrays

_MAGIC, _VERSION = 793712314, 12
_HIERARCHICAL_SOFTMAX, _SUPERVISED = 1, 3
_CENTROIDS = 256  # of each part of a row
_NO_COUNT = 10**15  # of a node of the tree that has no children yet: more than any label's
_END_OF_LINE = b"</s>"


class _Vocabulary(NamedTuple):
    words: list[bytes]
    labels: list[str]
    label_counts: list[int]
    rows_of_buckets: NDArray[np.int32]  # pairs: a bucket of n-grams, its row after the words'


class _Fields:
    """The fields of a file, one after another."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, form: str) -> list[int]:
        """Return numbers by a format of `struct`."""
        numbers = struct.unpack_from("<" + form, self._data, self._at)
        self._at += struct.calcsize("<" + form)
        return list(numbers)

    def array(self, dtype: DTypeLike, count: int) -> NDArray[np.generic]:
        """Return a copy of an array. Raises ValueError if the file ends before."""
        values: NDArray[np.generic] = np.frombuffer(self._data, dtype, count, self._at).copy()
        self._at += values.nbytes
        return values

    def text(self) -> bytes:
        """Return the bytes up to a zero byte. Raises ValueError if there is none."""
        end = self._data.index(b"\0", self._at)
        found = self._data[self._at : end]
        self._at = end + 1
        return found


def read_model(data: bytes) -> tuple[LanguageArrays, list[str]]:
    """Return a model's numbers and its labels. Raises ValueError if it is damaged or of another kind."""
    fields = _Fields(data)
    try:
        if fields.take("2i") != [_MAGIC, _VERSION]:
            raise ValueError(f"it does not begin as version {_VERSION} does")
        dimensions, _, _, _, _, word_ngrams, loss, kind, buckets, least, longest, _ = fields.take("12i")
        fields.take("d")
        if (word_ngrams, loss, kind) != (1, _HIERARCHICAL_SOFTMAX, _SUPERVISED):
            raise ValueError("it is not supervised by single words with a hierarchical softmax")
        vocabulary = _vocabulary(fields)
        rows_RD = _quantized_rows(fields, dimensions)
        if fields.take("?") != [0]:
            raise ValueError("its labels are quantized")
        labels, columns = fields.take("2q")
        if labels != len(vocabulary.labels) or columns != dimensions:
            raise ValueError("its labels do not match its vocabulary")
        output = fields.array("<f4", labels * columns).reshape(labels, columns)
    except struct.error:
        raise ValueError("it ends too early") from None
    words = vocabulary.words
    bits, ranks, order = _bucket_table(vocabulary.rows_of_buckets, buckets)
    if len(rows_RD) != len(words) + len(order):
        raise ValueError("its rows do not match its vocabulary")
    arrays = LanguageArrays(
        rows_RD=np.concatenate([rows_RD[: len(words)], rows_RD[len(words) + order]]),
        word_slots_S=_word_slots(words),
        word_starts=np.cumsum([0, *map(len, words)], dtype=np.int32),
        word_bytes=np.frombuffer(b"".join(words), np.uint8),
        bucket_bits_B=bits,
        bucket_ranks_B=ranks,
        nodes_ND=output[: labels - 1].astype(np.float32),
        children=_huffman_tree(vocabulary.label_counts),
        buckets=buckets,
        least_ngram=least,
        longest_ngram=longest,
        end_row=words.index(_END_OF_LINE),
    )
    return arrays, vocabulary.labels


def _vocabulary(fields: _Fields) -> _Vocabulary:
    size, *_ = fields.take("3i")
    _, pruned = fields.take("2q")
    words, labels, counts = list[bytes](), list[str](), list[int]()
    for _ in range(size):
        entry = fields.text()
        count, is_label = fields.take("qb")
        if is_label:
            labels.append(entry.decode())
            counts.append(count)
        else:
            words.append(entry)
    if pruned <= 0 or not labels:
        raise ValueError("it is not pruned, or has no labels")
    return _Vocabulary(words, labels, counts, fields.array("<i4", 2 * pruned).reshape(pruned, 2).astype(np.int32))


def _quantized_rows(fields: _Fields, dimensions: int) -> NDArray[np.float32]:
    """Return rows that are stored as bytes: the number of a centroid for each part, and that of the row's norm."""
    quantized, has_norms = fields.take("2?")
    rows, columns, size = fields.take("2qi")
    codes = fields.array(np.uint8, size)
    width, parts, part_width, last_width = fields.take("4i")
    sizes = [part_width] * (parts - 1) + [last_width]
    if not quantized or not has_norms or not columns == width == dimensions == sum(sizes) or size != rows * parts:
        raise ValueError("its rows are not quantized as expected")
    centroids, codes = fields.array("<f4", width * _CENTROIDS).astype(np.float32), codes.reshape(rows, parts)
    starts = np.cumsum([0, *sizes]) * _CENTROIDS
    of_parts = [centroids[starts[part] : starts[part + 1]].reshape(_CENTROIDS, -1) for part in range(parts)]
    rows_RD = np.concatenate([of_part[codes[:, part]] for part, of_part in enumerate(of_parts)], axis=1)
    norm_codes = fields.array(np.uint8, rows)
    if fields.take("4i") != [1, 1, 1, 1]:
        raise ValueError("its norms are not quantized as expected")
    norms = fields.array("<f4", _CENTROIDS).astype(np.float32)
    rows_RD *= norms[norm_codes][:, np.newaxis]
    return rows_RD


def _bucket_table(
    rows_of_buckets: NDArray[np.int32], buckets: int
) -> tuple[NDArray[np.uint64], NDArray[np.int32], NDArray[np.int32]]:
    """Return one bit for each bucket, the ones before each 64 bits, and the rows by ascending bucket."""
    pairs = rows_of_buckets[np.argsort(rows_of_buckets[:, 0])]
    if pairs[0, 0] < 0 or pairs[-1, 0] >= buckets or (np.diff(pairs[:, 0]) == 0).any():
        raise ValueError("its n-grams are not in its buckets")
    if not np.array_equal(np.sort(pairs[:, 1]), np.arange(len(pairs))):
        raise ValueError("its n-grams do not match its rows")
    flags = np.zeros((buckets + 63) // 64 * 64, np.uint8)
    flags[pairs[:, 0]] = 1
    bits = np.packbits(flags, bitorder="little").view("<u8").astype(np.uint64)
    ones = flags.reshape(-1, 64).sum(axis=1, dtype=np.int32)
    return bits, (np.cumsum(ones) - ones).astype(np.int32), pairs[:, 1]


def _word_slots(words: list[bytes]) -> NDArray[np.int32]:
    """Return a hash table with linear probing, by FNV-1a over signed bytes."""
    slots = np.full(1 << (4 * len(words)).bit_length(), -1, np.int32)
    for number, word in enumerate(words):
        code = 2166136261
        for byte in word:
            code = (code ^ (byte if byte < 128 else byte | 0xFFFFFF00)) * 16777619 & 0xFFFFFFFF
        slot = code & (len(slots) - 1)
        while slots[slot] >= 0:
            slot = (slot + 1) & (len(slots) - 1)
        slots[slot] = number
    return slots


def _huffman_tree(counts: list[int]) -> NDArray[np.int32]:
    """Return the children of each node: first the labels, which have none, then the others, the root last.

    Labels stand by falling count, so the two rarest nodes are always the last label left or the first inner one.
    """
    labels = len(counts)
    counts = counts + [_NO_COUNT] * (labels - 1)
    children = np.full((2 * labels - 1, 2), -1, np.int32)
    leaf, inner = labels - 1, labels
    for node in range(labels, 2 * labels - 1):
        for side in range(2):
            if leaf >= 0 and counts[leaf] < counts[inner]:
                children[node, side], leaf = leaf, leaf - 1
            else:
                children[node, side], inner = inner, inner + 1
        counts[node] = sum(counts[child] for child in children[node])
    return children
