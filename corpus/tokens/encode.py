"""Encode text to token ids with any Hugging Face tokenizer.json that has an end-of-document token."""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from corpus.errors import CorpusError, InputError
from corpus.store.token_shards import Tokens, token_dtype
from corpus.tokens.fast_bpe import fast_bpe

if TYPE_CHECKING:
    from tokenizers import Tokenizer

REVISION = 1  # raise whenever a text gives other ids
LIBRARIES = ("gigatoken", "tokenizers")
EOS_NAMES = ("<|endoftext|>", "</s>", "<|end_of_text|>", "<eos>", "<｜end▁of▁sentence｜>")
MAX_FILE_BYTES = 200_000_000

# The library needs about 200 bytes per token until a call returns, and its regex engine panics after ten million steps
# in one match, such as ten million spaces in a row. A call therefore gets at most this many characters. Longer texts
# are cut, at positions that depend on the text alone.
PIECE = 250_000
_LOOK_BACK = 4_096
# A cut after a single line end, or before the space after a word, changes no token if words are split by a pattern like
# GPT-2's or GPT-4's. A text without such a position near the limit is cut at the limit.
_SEAM = re.compile(r"(?<=\S\n)(?=\S)|(?<=\S)(?= )")


class Encoder:
    """A tokenizer that turns a document into its tokens and EOS, and adds nothing else."""

    def __init__(self, path: Path, eos: str | None = None) -> None:
        """Load tokenizer.json. `eos` is the token that ends a document (default: the first of EOS_NAMES that it has).

        Raises InputError if the file is missing, broken, has no EOS, or would find special tokens in ordinary text.
        """
        # Each worker process encodes; a thread pool in each would only slow the others.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        raw = _read(path)
        self.sha256 = hashlib.sha256(raw).hexdigest()
        self._path, self._tokenizer = path, _load(path, raw)
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._tokenizer.encode_special_tokens = True  # in a text they are ordinary text
        ids = self._tokenizer.get_vocab(with_added_tokens=True).values()
        self.vocabulary = max(ids, default=-1) + 1  # all ids are below
        self.eos, self.eos_id = self._find_eos(eos)
        self.dtype = token_dtype(self.vocabulary)
        self._refuse_special_text()
        self._fast = fast_bpe(raw, self._reference_ids)

    def encode(self, texts: Iterable[str]) -> list[Tokens]:
        """Return the ids of each text, EOS last. Texts must not have lone surrogates; text read from UTF-8 has none."""
        encoded: list[Tokens] = []
        parts: list[NDArray[np.uint32]] = []
        for ids, last in self._encode_pieces(texts):
            parts.append(ids)
            if last:
                encoded.append(np.append(np.concatenate(parts), np.uint32(self.eos_id)).astype(self.dtype))
                parts = []
        return encoded

    def decode(self, tokens: Tokens) -> str:
        """Return the text of a document's tokens without EOS."""
        text: str = self._tokenizer.decode(tokens[:-1].tolist(), skip_special_tokens=False)
        return text

    def roundtrips(self, text: str) -> bool:
        """True if decoding gives back the text. A normalizer or a vocabulary without bytes may lose some of it."""
        return self.decode(self.encode([text])[0]) == text

    def _encode_pieces(self, texts: Iterable[str]) -> Iterator[tuple[NDArray[np.uint32], bool]]:
        """Yield the ids of all pieces in order, and True for the last of a text. Calls get at most PIECE characters."""
        batch: list[str] = []
        last: list[bool] = []
        size = 0
        for piece, ends in (piece for text in texts for piece in cut(text)):
            if batch and size + len(piece) > PIECE:
                yield from zip(self._ids(batch), last, strict=True)
                batch, last, size = [], [], 0
            batch.append(piece)
            last.append(ends)
            size += len(piece)
        yield from zip(self._ids(batch), last, strict=True)

    def _ids(self, batch: Sequence[str]) -> list[NDArray[np.uint32]]:
        try:
            return self._fast.encode(batch) if self._fast else self._reference_ids(batch)
        except BaseException as error:
            # A panic of either library is a BaseException whose class cannot be imported.
            if isinstance(error, Exception) or type(error).__name__ != "PanicException":
                raise
            raise CorpusError(f"{self._path}: this tokenizer failed on a text: {error}") from None

    def _reference_ids(self, batch: Sequence[str]) -> list[NDArray[np.uint32]]:
        """Return the ids by `tokenizers`, which reads every tokenizer.json."""
        encodings = self._tokenizer.encode_batch_fast(list(batch), add_special_tokens=False)
        return [np.array(encoding.ids, np.uint32) for encoding in encodings]

    def _special_tokens(self) -> dict[str, int]:
        added = self._tokenizer.get_added_tokens_decoder().items()
        return {token.content: number for number, token in added if token.special}

    def _find_eos(self, name: str | None) -> tuple[str, int]:
        for candidate in EOS_NAMES if name is None else (name,):
            number = self._tokenizer.token_to_id(candidate)
            if number is not None:
                return candidate, number
        special = ", ".join(sorted(self._special_tokens())[:50]) or "none"
        missing = f"no token {name!r}" if name is not None else f"none of {', '.join(EOS_NAMES)}"
        raise InputError(f"{self._path}: {missing} to end documents; set `eos` to one of its special tokens: {special}")

    def _refuse_special_text(self) -> None:
        """Raise InputError if a document's text could contain a special token such as EOS."""
        special = {self.eos: self.eos_id, **self._special_tokens()}
        unknown = getattr(self._tokenizer.model, "unk_token", None)
        names = sorted(special)
        for name, ids in zip(names, self._reference_ids([f"a {name} b{name}" for name in names]), strict=True):
            tokens = {other for other in names if special[other] in ids.tolist()} - {unknown}
            if tokens:
                raise InputError(
                    f"{self._path}: the text {name!r} in a document would become the special token "
                    f"{sorted(tokens)[0]!r}; mark it `special` in added_tokens, and remove it from the merges"
                )


def cut(text: str) -> Iterator[tuple[str, bool]]:
    """Yield pieces of a text of at most PIECE characters, and True for the last of them."""
    start = 0
    while len(text) - start > PIECE:
        bound = start + PIECE
        seams = [seam.start() for seam in _SEAM.finditer(text, bound - _LOOK_BACK, bound + 1)]  # + 1: the look-ahead
        end = seams[-1] if seams else bound
        yield text[start:end], False
        start = end
    yield text[start:], True


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InputError(f"{path}: over {MAX_FILE_BYTES} bytes; expected a Hugging Face tokenizer.json")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{path}: cannot read this tokenizer: {why}; expected a Hugging Face tokenizer.json") from None


def _load(path: Path, raw: bytes) -> "Tokenizer":
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_str(raw.decode())
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # the library panics on some broken files
        why = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: not a Hugging Face tokenizer.json: {why}") from None
