"""Text to token ids: any Hugging Face tokenizer.json, as long as it ends documents and keeps what stands in them."""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from corpus.errors import CorpusError, InputError
from corpus.store.token_shards import Tokens, token_dtype

if TYPE_CHECKING:
    from tokenizers import Tokenizer

REVISION = 1  # raised whenever the same text gives other ids
LIBRARIES = ("tokenizers",)
EOS_NAMES = ("<|endoftext|>", "</s>", "<|end_of_text|>", "<eos>", "<｜end▁of▁sentence｜>")
MAX_FILE_BYTES = 200_000_000

# The library spends some 200 bytes a token until a call returns, and its regex engine gives up (and panics) after ten
# million steps in one match, which as many spaces in a row reach. So no call sees more characters than this: longer
# texts are cut, and what is cut depends on the text alone.
PIECE = 250_000
_LOOK_BACK = 4_096
# Where words are split by a pattern like GPT-2's or GPT-4's, a cut here changes no token: behind a single line end, or
# before the space behind a word. Only where there is none near the bound is a text cut at the bound itself.
_SEAM = re.compile(r"(?<=\S\n)(?=\S)|(?<=\S)(?= )")


class Encoder:
    """A tokenizer that turns each document into its tokens and EOS, with nothing else added or lost."""

    def __init__(self, path: Path, eos: str | None = None) -> None:
        """Loads tokenizer.json; `eos` is the text of the token that ends a document (default: the usual names).

        Raises InputError if the file is missing, broken, has no EOS, or reads EOS out of a document's text.
        """
        # Many processes encode side by side; a thread pool in each would only get in the way.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        raw = _read(path)
        self.sha256 = hashlib.sha256(raw).hexdigest()
        self._path, self._tokenizer = path, _load(path, raw)
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._tokenizer.encode_special_tokens = True  # as ordinary text
        ids = self._tokenizer.get_vocab(with_added_tokens=True).values()
        self.vocabulary = max(ids, default=-1) + 1  # every id lies below it
        self.eos, self.eos_id = self._find_eos(eos)
        self.dtype = token_dtype(self.vocabulary)
        self._refuse_special_text()

    def encode(self, texts: Iterable[str]) -> list[Tokens]:
        """The ids of each text, EOS last. Texts hold no lone surrogates, as nothing read from UTF-8 does."""
        found: list[Tokens] = []
        parts: list[NDArray[np.uint32]] = []
        for ids, last in self._pieces(texts):
            parts.append(ids)
            if last:
                parts.append(np.array([self.eos_id], np.uint32))
                found.append(np.concatenate(parts).astype(self.dtype))
                parts = []
        return found

    def decode(self, tokens: Tokens) -> str:
        """The text of a document's tokens, less its EOS."""
        text: str = self._tokenizer.decode(tokens[:-1].tolist(), skip_special_tokens=False)
        return text

    def roundtrips(self, text: str) -> bool:
        """Whether the text comes back exactly: normalizers may lose some, and so may a vocabulary without bytes."""
        return self.decode(self.encode([text])[0]) == text

    def _pieces(self, texts: Iterable[str]) -> Iterator[tuple[NDArray[np.uint32], bool]]:
        """The ids of all pieces in order, and whether each is its text's last; a call to the library takes few."""
        batch: list[str] = []
        last: list[bool] = []
        size = 0
        for text in texts:
            for piece, ends in cut(text):
                if batch and size + len(piece) > PIECE:
                    yield from zip(self._ids(batch), last, strict=True)
                    batch, last, size = [], [], 0
                batch.append(piece)
                last.append(ends)
                size += len(piece)
        yield from zip(self._ids(batch), last, strict=True)

    def _ids(self, batch: list[str]) -> list[NDArray[np.uint32]]:
        try:
            encodings = self._tokenizer.encode_batch_fast(batch, add_special_tokens=False)
        except BaseException as error:
            # A panic in the library derives from BaseException and cannot be imported.
            if isinstance(error, Exception) or type(error).__name__ != "PanicException":
                raise
            raise CorpusError(f"{self._path}: this tokenizer failed on a text: {error}") from None
        return [np.array(encoding.ids, np.uint32) for encoding in encodings]

    def _special_tokens(self) -> dict[str, int]:
        added = self._tokenizer.get_added_tokens_decoder().items()
        return {token.content: number for number, token in added if token.special}

    def _find_eos(self, wanted: str | None) -> tuple[str, int]:
        for name in EOS_NAMES if wanted is None else (wanted,):
            number = self._tokenizer.token_to_id(name)
            if number is not None:
                return name, number
        special = ", ".join(sorted(self._special_tokens())[:50]) or "none"
        asked = f"no token {wanted!r}" if wanted is not None else f"none of {', '.join(EOS_NAMES)}"
        raise InputError(
            f"{self._path}: {asked} to end documents with; set `eos` to one of its special tokens: {special}"
        )

    def _refuse_special_text(self) -> None:
        """EOS is EOS at the end of a document only, whatever the document says."""
        special = {self.eos: self.eos_id, **self._special_tokens()}
        unknown = getattr(self._tokenizer.model, "unk_token", None)
        names = sorted(special)
        for name, ids in zip(names, self._ids([f"a {name} b{name}" for name in names]), strict=True):
            read = {other for other in names if special[other] in ids.tolist()} - {unknown}
            if read:
                raise InputError(
                    f"{self._path}: the text {name!r} in a document would be read as the special token "
                    f"{sorted(read)[0]!r}; mark it `special` in added_tokens, and keep it out of the merges"
                )


def cut(text: str) -> Iterator[tuple[str, bool]]:
    """A text in pieces of at most PIECE characters, and whether each is the last."""
    start = 0
    while len(text) - start > PIECE:
        bound = start + PIECE
        seams = [seam.start() for seam in _SEAM.finditer(text, bound - _LOOK_BACK, bound + 1)]  # + 1: it looks ahead
        end = seams[-1] if seams else bound
        yield text[start:end], False
        start = end
    yield text[start:], True


def _read(path: Path) -> bytes:
    try:
        raw = path.read_bytes() if path.stat().st_size <= MAX_FILE_BYTES else None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{path}: cannot read this tokenizer: {why}; expected a Hugging Face tokenizer.json") from None
    if raw is None:
        raise InputError(f"{path}: over {MAX_FILE_BYTES} bytes; expected a Hugging Face tokenizer.json")
    return raw


def _load(path: Path, raw: bytes) -> "Tokenizer":
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_str(raw.decode())
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # the library panics on some broken files
        why = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: not a Hugging Face tokenizer.json: {why}") from None
