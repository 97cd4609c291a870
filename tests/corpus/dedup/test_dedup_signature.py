"""Signatures are pinned by digest, because stored bands are compared across releases."""

import hashlib

import numpy as np
import pytest

from corpus.dedup import shingles, signature
from corpus.dedup.settings import Near

TEXTS = (
    "Gristmill grinds raw crawl into tokens, and tokens into a base model. A recipe says what the corpus is.",
    "One. Two! Three?",
    "ÜBER den Wolken muß die Freiheit wohl grenzenlos sein – 1984, naïve cafés; ΟΔΥΣΣΕΥΣ и Война́ и мир",
    "吾輩は猫である。名前はまだ無い。ประเทศไทย ភាសាខ្មែរ 대한민국 ကမ္ဘာ ລາວ",
    "soft\u00adhyphen zero\u200bwidth joi\u200dner under_score don't x\x00y " * 3,
    "word " * 1000,
)
GOLDEN = {  # (SHINGLER_REVISION, signature.REVISION): digest of all signatures
    (1, 1): "8e343667cc99d5f3ebcfbf4c3fab21519dd49ed4028cb1d46bf8d5983016f7ef",
}


def digest() -> str:
    hashed = hashlib.sha256()
    for text in TEXTS:
        for near in (Near(), Near(permutations=6, bands=3, rows=2, ngram_words=2, seed=9)):
            content, bands = signature.text_signature(text, near)
            assert bands is not None
            hashed.update(content + bands.astype("<u8").tobytes())
    return hashed.hexdigest()


def test_signatures_change_only_with_their_revision() -> None:
    revision = (shingles.SHINGLER_REVISION, signature.REVISION)
    found = digest()
    assert GOLDEN.get(revision) == found, (
        f"signatures changed: raise SHINGLER_REVISION or signature.REVISION (now {revision}); add {found!r} to GOLDEN"
    )


def test_the_content_hash_is_half_of_sha_256() -> None:
    assert signature.text_signature("naïve", Near()).content_hash == hashlib.sha256("naïve".encode()).digest()[:16]
    assert signature.content_hash("naïve") == signature.content_hash("naïve".encode())


def test_a_text_without_words_has_no_bands() -> None:
    assert signature.text_signature("… !", Near()).bands is None
    assert signature.text_signature("", Near()).bands is None


def test_a_lone_surrogate_changes_the_content_hash_only() -> None:
    odd, plain = signature.text_signature("left\ud800right", Near()), signature.text_signature("left right", Near())
    assert odd.content_hash != plain.content_hash and np.array_equal(odd.bands, plain.bands)


@pytest.mark.parametrize(
    "other", [Near(seed=2), Near(ngram_words=4), Near(bands=7, rows=16), Near(permutations=56, bands=7)]
)
def test_each_setting_that_changes_bands_changes_the_family(other: Near) -> None:
    text = " ".join(str(number) for number in range(50))
    bands, others = signature.text_signature(text, Near()).bands, signature.text_signature(text, other).bands
    assert bands is not None and others is not None
    assert signature.family(other) != signature.family(Near()) and bands.tolist()[: len(others)] != others.tolist()
    assert signature.family(Near(at_least=0.5, bucket_cap=3)) == signature.family(Near())
