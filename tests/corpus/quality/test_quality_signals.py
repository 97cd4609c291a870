"""Compiled signals compared with their definitions, on hostile text, and pinned to their revision."""

import hashlib
import json
import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.quality.kernels.measure import measure
from corpus.quality.signals import REVISION, SIGNALS
from tests.corpus.quality import slow_signals

SHARP = "'\"’.,:;!?-–—/+*^=<>~#@$%&()[]…·²°§|_\\\n\r\t \xa0\u2028\x1c"
LETTERS = "abeCUSkmnstAÉßжЖ中あअ🙂☃Ââ€™\ufffd"
runs = st.text(st.sampled_from(SHARP + LETTERS + "0159"), max_size=12)
known = st.sampled_from(
    [*sorted(slow_signals.STOP_WORDS), *slow_signals.CUT, *slow_signals.UNITS, "5km", "a.b@c.org/x", "..."]
)
texts = st.lists(st.one_of(known, known, runs, st.sampled_from([" ", "\n", "\n\n", "- ", "• "])), max_size=60).map(
    "".join
)
anything = st.text(st.characters(exclude_categories=["Cn", "Cs"]), max_size=200)


@settings(max_examples=200, deadline=None)
@given(st.one_of(texts, anything, st.lists(st.sampled_from("a b, c. d\n"), max_size=200).map(" ".join)))
def test_signals_equal_their_definitions(text: str) -> None:
    assert measure(text) == slow_signals.measure(text)


def test_signals_of_real_documents_equal_their_definitions(documents: list[str]) -> None:
    for text in documents[::25]:
        assert measure(text) == slow_signals.measure(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("I don't, can't and shan't.", ["I", "do", "n't", ",", "ca", "n't", "and", "sha", "n't", "."]),
        ("Mr. Smith (5km, $7) e.g. J. R.", ["Mr.", "Smith", "(", "5", "km", ",", "$", "7", ")", "e.g.", "J.", "R."]),
        ("well-known and/or 10am--nine", ["well", "-", "known", "and/or", "10", "am", "--", "nine"]),
        ("a-b a--b a---b a----b", ["a", "-", "b", "a", "--", "b", "a", "---", "b", "a----b"]),
        ("a—b a——b 1-2 1+-2 1–2", ["a", "—", "b", "a", "——", "b", "1", "-", "2", "1", "+", "-2", "1–2"]),
        ("see https://a.org/b?c=d, a_b@c.de!", ["see", "https://a.org/b?c=d", ",", "a_b@c.de", "!"]),
        ("NATO. U.S. end... so…", ["NATO", ".", "U.S.", "end", "...", "so", "…"]),
    ],
)
def test_words_are_split_as_in_spacy(text: str, words: list[str]) -> None:
    assert slow_signals.words(text) == words
    assert measure(text)["words"] == len(words)


def test_words_with_the_bits_of_a_stop_word_are_not_counted() -> None:
    """The kernel packs a word into one number, in which U+7468 with e would equal `the`."""
    assert measure("\u7468e \0be \x70\u0468e bee")["stop_words"] == 0
    assert measure("the be to of and that have with, the be")["stop_words"] == 8
    assert measure("The be")["stop_words"] == 1


def test_empty_text_counts_nothing() -> None:
    assert measure("") == dict.fromkeys(SIGNALS, 0)


@pytest.mark.parametrize(
    ("text", "replacements", "mojibake"),
    [
        ("a\ufffd\ufffd, Ã© and â€™", 2, 2),
        ("ðŸ˜€, Ð\x90, É…, voilà\xa0»", 0, 4),
        ("été, São, â€", 0, 0),
        ("ÃÂ©Â", 0, 1),
    ],
)
def test_damage_of_encodings_is_counted(text: str, replacements: int, mojibake: int) -> None:
    found = measure(text)
    assert (found["replacement_characters"], found["mojibake"]) == (replacements, mojibake)


@given(st.text(st.characters(), max_size=100))
def test_any_text_is_measured(text: str) -> None:
    assert measure(text)["characters"] == len(text)


def test_a_lone_surrogate_is_one_character() -> None:
    assert measure("a\ud800b")["characters"] == 3


@pytest.mark.parametrize(
    "run", ["!", "a", "a ", "a.", ".", "@.", "-", "'s", "\n", "x\n\n", "1+", "é,", "don't ", "0 1 2 3 4 5 6 7 8 9 "]
)
def test_hostile_repetition_is_measured_in_linear_time(run: str) -> None:
    """Quadratic work would take hours."""
    text = run * (1_000_000 // len(run))
    found = measure(text)
    assert found["characters"] == len(text)
    assert found["words"] is not None and found["words"] <= len(text)


# Raised together with corpus.quality.signals.REVISION.
EXPECTED = {2: "cfdbb7fcbebad5ef5ed2c70cdcf15dfc127576482d63af943d9fbbd349b940f3"}


OPENING = "the mill grinds slowly but it grinds exceeding small and that is why we wait"


def fixed_texts() -> list[str]:
    words = [*OPENING.split(), "(5km)", "don't"]
    mixed = [" ".join(words[(i * i + k) % len(words)] for i in range(40 + k)) for k in range(40)]
    lines = ["\n".join(mixed[k : k + 4]) + "\n\n" + mixed[k] for k in range(0, 40, 4)]
    hard = [*slow_signals.CUT, "".join(chr(code) for code in range(1, 0x500)), SHARP * 9, "# a...\r\n- b…\n\n\n• c"]
    return [*mixed, *lines, *hard, "日本語のテキスト。改行\n" * 5, "Ελληνικά, русский и עברית " * 5]


def test_output_changes_only_with_the_revision() -> None:
    found = json.dumps([list(measure(text).items()) for text in fixed_texts()])
    digest = hashlib.sha256(found.encode()).hexdigest()
    assert EXPECTED.get(REVISION) == digest, (
        f"the signals of our fixed texts have changed, so documents must be measured again: raise REVISION in "
        f"corpus/quality/signals.py, and set EXPECTED here to {{REVISION: {digest!r}}}"
    )


def test_signals_do_not_depend_on_the_process() -> None:
    """Each process has its own salt for its hash tables."""
    code = "from corpus.quality.kernels.measure import measure; print(measure('the the mill, it grinds. ' * 9))"
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(measure("the the mill, it grinds. " * 9))


def test_importing_signal_names_does_not_import_numba() -> None:
    code = "import sys; from corpus.quality import catalog, signals; catalog.rule_sets(); print('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
