"""Settings of the tokenizer in a recipe."""

from typing import Self

from pydantic import model_validator

from corpus.settings import Strict
from corpus.tokens.train_bpe import Train


class Tokenizer(Strict):
    """A given tokenizer.json, or one trained on the corpus (the default)."""

    file: str | None = None  # a Hugging Face tokenizer.json, relative to the recipe's folder
    train: Train | None = None
    eos: str | None = None  # token at the end of each document; None: found by the usual names

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.file is not None and self.train is not None:
            raise ValueError("give `file` or `train`, not both")
        if self.file is None and self.eos is not None:
            raise ValueError("`eos` is for a given `file`; a trained tokenizer has its own")
        return self
