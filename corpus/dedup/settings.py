"""Settings of deduplication in a recipe."""

from typing import Self

from pydantic import Field, model_validator

from corpus.settings import Share, Strict


class Near(Strict):
    """Near duplicates: MinHash bands propose pairs, and the exact Jaccard similarity of their word n-grams decides.

    The defaults find 92 % of the pairs with similarity 0.80, and more of those above.
    Source: Penedo et al. 2024 (FineWeb), section 3.4 (5-grams, 14 bands of 8); the exact threshold is ours.
    """

    permutations: int = Field(default=112, ge=1, le=4096)
    bands: int = Field(default=14, ge=1, le=256)
    rows: int = Field(default=8, ge=1, le=256)
    ngram_words: int = Field(default=5, ge=1, le=64)
    seed: int = Field(default=1, ge=0, lt=2**32)
    at_least: Share = 0.8  # exact Jaccard similarity
    bucket_cap: int = Field(default=1000, ge=1)  # kept documents of one bucket that a document is compared with
    document_cap: int = Field(default=256, ge=1)  # kept documents of all its buckets; those that share the most bands

    @model_validator(mode="after")
    def _checked(self) -> Self:
        if self.permutations != self.bands * self.rows:
            product = f"{self.bands} bands x {self.rows} rows = {self.bands * self.rows}"
            raise ValueError(f"permutations must be bands x rows: {product}, not {self.permutations}")
        if self.at_least == 0:
            raise ValueError("at_least must be above 0: at 0 all documents that share a band would be duplicates")
        return self


class Dedup(Strict):
    """Duplicates to remove. With `exact: false`, exact copies stay unless they are near duplicates."""

    exact: bool = True
    near: Near | None = Near()  # None: near duplicates stay
