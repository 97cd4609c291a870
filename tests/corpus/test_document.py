"""Normalization of every text before it is measured."""

import pytest

from corpus.document import plain_text


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("a\r\nb\r\n", "a\nb\n"),
        ("a\rb", "a\nb"),
        ("a\r\r\nb", "a\n\nb"),
        ("a\n\tb", "a\n\tb"),
        ("a\ud800b", "a\ufffdb"),
    ],
)
def test_line_ends_and_lone_surrogates_are_normalized(text: str, plain: str) -> None:
    assert plain_text(text) == plain
