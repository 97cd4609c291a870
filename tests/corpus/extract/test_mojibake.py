"""Mojibake is mended where it is certain, and text that only looks like it is left."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.extract.mojibake import mend


def misread(text: str, encoding: str) -> str:
    """Return the text as one who takes its UTF-8 for windows-1252 or Latin-1 sees it."""
    if encoding == "latin-1":
        return text.encode().decode("latin-1")
    return "".join(bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in text.encode())


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1"])
@pytest.mark.parametrize(
    ("text", "mended"),
    [
        ("It’s a mill – “old” – by the river…", 6),
        ("Une journée d’été", 4),
        ("10 °C, © 2024, ½ l", 3),
        ("€5 → 3 ≤ x", 3),
        ("😀", 1),
        ("Мельница мелет зерно", 18),
        ("水車は川のそば", 7),
        ("Größe und Übermut", 3),
    ],
)
def test_utf8_that_was_misread_is_mended_and_counted(text: str, mended: int, encoding: str) -> None:
    assert mend(f"plain\n{misread(text, encoding)}\n") == (f"plain\n{text}\n", mended)


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "été, Größe, São, Ð, þ, Ã, Â",
        "CAFÉ… voilà » « là », ÉTÉ™, été…” IRMÃ… Ø– Ü“x”, MANHÃ”, Â», «DÉJÀ»",
        "voilà »\xa0: là\xa0», voilà\xa0»",
        "È» É– Ü“",
        "Ð¡ and é",  # perhaps С, but the line has other letters too
        "Ð¡Ð¢Ð¿ and é",
        "Мельница",
        "東京",
    ],
)
def test_text_is_left(text: str) -> None:
    assert mend(text) == (text, 0)


def test_a_certain_character_is_mended_beside_right_ones() -> None:
    assert mend("Itâ€™s in Москва, café") == ("It’s in Москва, café", 1)


@given(st.text(st.sampled_from("ÃÂâ€™é\xa0Ð\x90ðŸ˜ï»¿a\n ")))
def test_lines_stay_and_text_never_grows(text: str) -> None:
    mended, count = mend(text)
    assert mended.count("\n") == text.count("\n") and len(text) - 3 * count <= len(mended) <= len(text)
