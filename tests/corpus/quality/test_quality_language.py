"""Language identification with lid.176.ftz, compared with fastText's own answer."""

import contextlib
import io
import os
import random
from collections.abc import Callable
from pathlib import Path

import fasttext
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.errors import InputError
from corpus.quality.language import SCORE_ONE, LanguageModel

Identify = Callable[[str], tuple[str, int]]

PIECES = [
    "the mill", "Müller", "mühle", "мельница", "水車", "한국어", "ไทย", "\u0301", "🙂", "\x00", "\u2028", "\xa0",
    "\t\v\f\r\n", "</s>", "a</s>b", "__label__", "__label__en", "x__label__", "<", ">", "e", "12.5 %", "\ud800",
    " " * 9, "word" * 99, "水" * 300,
]  # fmt: skip
texts = st.lists(st.one_of(st.sampled_from(PIECES), st.sampled_from(PIECES), st.text(max_size=9)), max_size=40).flatmap(
    lambda pieces: st.sampled_from(["", " ", "\n"]).map(lambda between: between.join(pieces))
)

FETCH = "needs GRISTMILL_LID, the path of lid.176.ftz: `export GRISTMILL_LID=$(python -m tests.fetch_models)`"


@pytest.fixture(scope="module")
def path() -> Path:
    path = os.environ.get("GRISTMILL_LID")
    if not path or not Path(path).is_file():
        pytest.skip(FETCH)
    return Path(path)


@pytest.fixture(scope="module")
def model(path: Path) -> LanguageModel:
    return LanguageModel(path)


@pytest.fixture(scope="module")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a model of our own, of other sizes than lid.176: 7 languages of made-up words."""
    folder, draw = tmp_path_factory.mktemp("fasttext"), random.Random(1)
    letters = ["abcdefgh", "éàüöß", "жщюяд", "水車本語", "กขคง", "abств", "ηθικλ"]
    with (folder / "lines.txt").open("w", encoding="utf-8") as file:
        for number, alphabet in enumerate(letters):
            words = ["".join(draw.choices(alphabet, k=draw.randint(1, 6))) for _ in range(40)]
            for _ in range(30 + 10 * number):
                file.write(f"__label__l{number} {' '.join(draw.choices(words, k=20))}\n")
    learned = fasttext.train_supervised(
        str(folder / "lines.txt"), loss="hs", dim=7, minn=1, maxn=3, bucket=3000, epoch=40, thread=1, verbose=0
    )
    learned.save_model(str(folder / "dense.bin"))
    learned.quantize(qnorm=True, cutoff=300, dsub=3, thread=1, verbose=False)
    learned.save_model(str(folder / "small.ftz"))
    return folder / "small.ftz"


def reference(path: Path) -> Identify:
    """Return fastText's own function for one line; it does not take lone surrogates and stops at </s>."""
    with contextlib.redirect_stderr(io.StringIO()):  # it warns about an old change of its interface
        loaded = fasttext.load_model(str(path)).f  # the outer `predict` fails with numpy 2

    def identify(text: str) -> tuple[str, int]:
        line = text.replace("\n", " ").replace("</s>", " ").encode("utf-8", "replace").decode()
        best = loaded.predict(f"{line}\n", 1, 0.0, "strict") if any(map(str.isalpha, line)) else []
        return (
            (best[0][1].removeprefix("__label__"), min(SCORE_ONE, round(best[0][0] * SCORE_ONE)))
            if best
            else ("und", 0)
        )

    return identify


def assert_agree(ours: Identify, expected: Identify, texts: list[str]) -> None:
    """Check that languages are equal, and so are scores, up to the rounding of the other's compiler."""
    for text in texts:
        (language, score), (known, known_score) = ours(text), expected(text)
        assert language == known and abs(score - known_score) <= 1, text


def test_real_documents_get_the_answer_of_fasttext(path: Path, model: LanguageModel, documents: list[str]) -> None:
    mixed = [" ".join(documents[at : at + 3]) for at in range(0, len(documents), 100)]
    assert_agree(model.identify, reference(path), [*documents, *mixed])


def test_any_text_gets_the_answer_of_fasttext(path: Path, model: LanguageModel) -> None:
    expected = reference(path)

    @settings(max_examples=300, deadline=None)
    @given(texts)
    def check(text: str) -> None:
        assert_agree(model.identify, expected, [text])

    check()


def test_other_model_gives_the_answer_of_fasttext(small_model: Path) -> None:
    ours, expected, draw = LanguageModel(small_model).identify, reference(small_model), random.Random(2)
    letters = ["abcdefgh", "éàüöß", "жщюяд", "水車本語", "กขคง", "abств", "ηθικλ", "aé水η<>"]
    texts = ["".join(draw.choices(alphabet + "  ", k=draw.randint(1, 60))) for alphabet in letters for _ in range(80)]
    assert_agree(ours, expected, texts)
    assert {ours(text)[0] for text in texts} >= {f"l{number}" for number in range(7)}


def test_end_of_a_long_text_counts(model: LanguageModel) -> None:
    """Four windows of 250 characters would show German alone."""
    german, english = "Die Mühlen mahlen langsam. ", "The mill grinds slowly, but it grinds small. "
    text = german * 10
    for _ in range(3):
        text += english * 60 + german * 20
    assert model.identify(text)[0] == "en"


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


def test_files_that_are_not_models_are_refused(tmp_path: Path, small_model: Path) -> None:
    (tmp_path / "no.ftz").write_bytes(b"not a model at all")
    for path in (tmp_path / "no.ftz", tmp_path / "missing.ftz", small_model.with_name("dense.bin")):
        with pytest.raises(InputError, match=r"expected a fastText model"):
            LanguageModel(path)
    data = small_model.read_bytes()
    for size in range(0, len(data), 97):
        (tmp_path / "cut.ftz").write_bytes(data[:size])
        with pytest.raises(InputError, match=r"expected a fastText model"):
            LanguageModel(tmp_path / "cut.ftz")
