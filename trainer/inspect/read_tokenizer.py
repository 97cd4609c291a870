"""A corpus's tokenizer, to write and read text with."""

from typing import TYPE_CHECKING

from corpus.errors import InputError
from trainer.data.corpora import TokenizerFile

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def open_tokenizer(file: TokenizerFile) -> "Tokenizer":
    """The tokenizer, which neither cuts texts nor fills them up. Raises InputError if it is broken."""
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(file.path))
    except Exception as error:  # the library raises nothing narrower
        raise InputError(f"{file.path}: cannot load this tokenizer: {error}; run `corpus verify`") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
