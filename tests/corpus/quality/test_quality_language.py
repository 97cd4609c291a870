"""Language identification with lid.176.ftz."""

import os
import random
from pathlib import Path

import pytest

from corpus.errors import InputError
from corpus.quality.language import SCORE_ONE, LanguageModel, sampled

FETCH = "needs GRISTMILL_LID, the path of lid.176.ftz: `export GRISTMILL_LID=$(python -m tests.fetch_models)`"


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    path = os.environ.get("GRISTMILL_LID")
    if not path or not Path(path).is_file():
        pytest.skip(FETCH)
    return LanguageModel(Path(path))


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The mill grinds slowly, but it grinds exceeding small.", "en"),
        ("Die Mühlen mahlen langsam, aber sie mahlen trefflich klein.", "de"),
        ("Les moulins tournent lentement, mais ils écrasent très fin.", "fr"),
        ("Мельницы мелют медленно, но верно, и мука выходит тонкая.", "ru"),
        ("水車はゆっくり回りますが、とても細かく挽きます。", "ja"),
    ],
)
def test_language_has_an_integer_score(model: LanguageModel, text: str, language: str) -> None:
    found, score = model.identify(text)
    assert found == language
    assert isinstance(score, int) and SCORE_ONE // 2 < score <= SCORE_ONE
    assert model.identify(text * 200) == model.identify(text * 200)


@pytest.mark.parametrize("text", ["", " \n", "12.5 % — 7/8", "\x00", "</s>", "\ud800"])
def test_text_without_letters_is_undetermined(model: LanguageModel, text: str) -> None:
    assert model.identify(text) == ("und", 0)


@pytest.mark.parametrize("opening", ["\n", "</s>", "x\n\n", "\x00"])
def test_text_after_a_line_feed_or_end_mark_is_read(model: LanguageModel, opening: str) -> None:
    """fastText stops reading at a line feed or </s>."""
    assert model.identify(f"{opening}Die Mühlen mahlen langsam, aber sie mahlen trefflich klein.")[0] == "de"


def test_labels_and_surrogates_are_ordinary_text(model: LanguageModel) -> None:
    assert model.identify("__label__fr __label__fr The mill grinds slowly \ud800 but it grinds small.")[0] == "en"


def test_loading_prints_nothing(model: LanguageModel, capfd: pytest.CaptureFixture[str]) -> None:
    LanguageModel(Path(os.environ["GRISTMILL_LID"]))
    assert capfd.readouterr() == ("", "")


def test_files_that_are_not_models_are_refused(tmp_path: Path) -> None:
    (tmp_path / "no.ftz").write_bytes(b"not a model at all")
    for path in (tmp_path / "no.ftz", tmp_path / "missing.ftz"):
        with pytest.raises(InputError, match=r"expected a fastText model"):
            LanguageModel(path)


def test_windows_spread_over_the_text() -> None:
    letters = random.Random(1)
    text = "".join(letters.choices("abcdefgh", k=5_000))
    found = sampled(text).split(" ")
    assert [len(window) for window in found] == [250] * 4
    assert [text.index(window) for window in found] == [0, 1583, 3166, 4750]
    assert sampled(text[:1_000]) == text[:1_000]
