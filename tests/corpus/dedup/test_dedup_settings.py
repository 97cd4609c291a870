import pytest

from corpus.dedup.settings import Dedup, Near
from corpus.errors import InputError
from corpus.settings import parse_yaml
from corpus.validation import validate


def read(text: str) -> Dedup:
    return validate(Dedup, parse_yaml(text, name="recipe.yaml", what="recipe"))


def test_defaults() -> None:
    near = Dedup().near
    assert near == Near(permutations=112, bands=14, rows=8, ngram_words=5, seed=1, at_least=0.8, bucket_cap=1000)
    assert Dedup().exact


def test_exact_and_near_can_be_switched_off() -> None:
    assert read("exact: false\nnear: null") == Dedup(exact=False, near=None)


def test_a_threshold_may_be_a_percentage() -> None:
    assert read("near: {at_least: 75%}").near == Near(at_least=0.75)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("near: {permutations: 100}", "14 bands x 8 rows = 112, not 100"),
        ("near: {bands: 20}", "20 bands x 8 rows = 160, not 112"),
        ("near: {at_least: 0}", "at_least must be above 0"),
        ("near: {at_least: 1.5}", "share between 0 and 1"),
        ("near: {bucket_cap: 0}", "near.bucket_cap"),
        ("near: {seed: 4294967296}", "near.seed"),
        ("near: {treshold: 0.8}", "`near.treshold` is not a setting"),
    ],
)
def test_mistakes_are_reported_with_their_line(text: str, words: str) -> None:
    with pytest.raises(InputError) as error:
        read(text)
    assert words in str(error.value) and "line 1" in str(error.value)
