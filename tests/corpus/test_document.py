"""What every text is before it is looked at."""

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
def test_lines_end_alike_and_utf_8_can_hold_it(text: str, plain: str) -> None:
    assert plain_text(text) == plain
