"""Encoding loses nothing and adds only EOS, for all texts and tokenizers."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.errors import CorpusError, InputError
from corpus.tokens import encode
from corpus.tokens.encode import PIECE, Encoder, cut

GOLDEN = Path(__file__).parents[2] / "golden" / "corpus"
ENCODER = Encoder(GOLDEN / "tokenizer.json")
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)


@pytest.fixture
def changed(tmp_path: Path) -> Callable[..., Path]:
    """Write a variant of the golden tokenizer.json."""

    def write(**changes: object) -> Path:
        stored = json.loads((GOLDEN / "tokenizer.json").read_bytes())
        path = tmp_path / "tokenizer.json"
        path.write_text(json.dumps({**stored, **changes}))
        return path

    return write


def special(number: int, content: str, **changes: bool) -> dict[str, object]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"id": number, "content": content, **flags, **changes}


@given(
    TEXT
    | st.lists(st.sampled_from(["<|endoftext|>", " ", "\n", "\r\n", "é", "😀", "\0", "a", "Ġ", "\u0301"])).map("".join)
)
def test_every_text_round_trips(text: str) -> None:
    tokens = ENCODER.encode([text])[0]
    assert ENCODER.decode(tokens) == text
    assert tokens[-1] == ENCODER.eos_id and ENCODER.eos_id not in tokens[:-1]
    assert tokens.dtype == np.uint16 and tokens.max() < ENCODER.vocabulary


def test_books_round_trip(books: list[str]) -> None:
    texts = [book[:300_000] for book in books[:3]]
    for text, tokens in zip(texts, ENCODER.encode(texts), strict=True):
        assert ENCODER.decode(tokens) == text


@given(st.lists(TEXT, max_size=6))
def test_a_batch_gives_the_same_ids_as_single_texts(texts: list[str]) -> None:
    together = ENCODER.encode(texts)
    assert [each.tolist() for each in together] == [ENCODER.encode([text])[0].tolist() for text in texts]


def test_attributes_of_an_encoder() -> None:
    raw = (GOLDEN / "tokenizer.json").read_bytes()
    assert ENCODER.sha256 == hashlib.sha256(raw).hexdigest()
    assert (ENCODER.vocabulary, ENCODER.eos, ENCODER.eos_id) == (384, "<|endoftext|>", 0)
    assert ENCODER.encode([""])[0].tolist() == [0]


@pytest.mark.parametrize("filler", ["word ", "wörter\nmehr ", ". \n\n", "x", " ", "水", "a\r\n"])
def test_long_texts_are_cut(filler: str) -> None:
    text = filler * (2 * PIECE // len(filler) + PIECE // 3)
    pieces = list(cut(text))
    assert "".join(piece for piece, _ in pieces) == text
    assert all(0 < len(piece) <= PIECE for piece, _ in pieces)
    assert [last for _, last in pieces] == [False] * (len(pieces) - 1) + [True]


def test_a_cut_at_a_seam_changes_no_token(changed: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    text = 'The miller\'s 12345 sacks,  said   he;\n\tand (so)\n\n he went.\nOn...  \n  "Yes" ² x² ' * 40
    gpt2 = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    for path in (GOLDEN / "tokenizer.json", changed(pre_tokenizer=gpt2)):
        encoder = Encoder(path)
        whole = encoder.encode([text])[0].tolist()
        for piece in range(20, 160):
            with monkeypatch.context() as patch:
                patch.setattr(encode, "PIECE", piece)
                patch.setattr(encode, "_LOOK_BACK", piece - 1)
                assert encoder.encode([text])[0].tolist() == whole


def test_ten_million_spaces_are_encoded() -> None:
    """Without pieces the library panics on them, and the time of a call grows with their square."""
    assert ENCODER.roundtrips(" " * 10_050_000)


def test_a_panic_in_the_library_is_an_error(changed: Callable[..., Path]) -> None:
    """The regex engine panics on a pattern that takes exponential time."""
    split = {"type": "Split", "pattern": {"Regex": "(a|a)*$b|(x+x+)+y"}, "behavior": "Isolated", "invert": False}
    encoder = Encoder(changed(pre_tokenizer=split))
    with pytest.raises(CorpusError, match="this tokenizer failed on a text"):
        encoder.encode(["x" * 5000])


def test_post_processor_truncation_and_padding_are_off(changed: Callable[..., Path]) -> None:
    begin = {"SpecialToken": {"id": "<s>", "type_id": 0}}
    text_ = {"Sequence": {"id": "A", "type_id": 0}}
    bos = {
        "type": "TemplateProcessing",
        "single": [begin, text_],
        "pair": [text_],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [384], "tokens": ["<s>"]}},
    }
    path = changed(
        post_processor=bos,
        added_tokens=[special(0, "<|endoftext|>"), special(384, "<s>")],
        truncation={"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0},
        padding={
            "strategy": {"Fixed": 50},
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": 0,
            "pad_type_id": 0,
            "pad_token": "<|endoftext|>",
        },
    )
    text = "The miller counted."
    assert Encoder(path).encode([text])[0].tolist() == ENCODER.encode([text])[0].tolist()
    assert Encoder(path).vocabulary == 385


def test_a_normalizer_that_loses_text_does_not_round_trip(changed: Callable[..., Path]) -> None:
    encoder = Encoder(changed(normalizer={"type": "Lowercase"}))
    assert encoder.roundtrips("the miller") and not encoder.roundtrips("The miller")


def test_eos_is_given_or_found_by_name(changed: Callable[..., Path]) -> None:
    assert Encoder(changed(added_tokens=[special(384, "</s>"), special(385, "<odd>")]), "<odd>").eos_id == 385
    stored = json.loads((GOLDEN / "tokenizer.json").read_bytes())
    stored["model"]["vocab"] = {name: number for name, number in stored["model"]["vocab"].items() if number}
    only = changed(model=stored["model"], added_tokens=[special(384, "</s>"), special(385, "<odd>")])
    assert Encoder(only).eos == "</s>"
    with pytest.raises(InputError, match=r"no token '<EOS>' to end documents; .*: </s>, <odd>"):
        Encoder(only, "<EOS>")
    with pytest.raises(InputError, match=r"none of <\|endoftext\|>.* special tokens: <odd>"):
        Encoder(changed(model=stored["model"], added_tokens=[special(385, "<odd>")]))


def test_a_text_that_becomes_eos_is_refused(changed: Callable[..., Path]) -> None:
    """An added token that is not marked special is found in any text."""
    with pytest.raises(InputError, match="would become the special token '</s>'"):
        Encoder(changed(added_tokens=[special(384, "</s>", special=False)]), "</s>")


def test_many_ids_need_uint32(changed: Callable[..., Path]) -> None:
    stored = json.loads((GOLDEN / "tokenizer.json").read_bytes())
    vocabulary = {**stored["model"]["vocab"], **{f"unused {n}": n for n in range(384, 65_537)}}
    encoder = Encoder(changed(model={**stored["model"], "vocab": vocabulary}))
    assert encoder.vocabulary == 65_537 and encoder.encode(["a"])[0].dtype == np.uint32


def test_broken_files_are_refused(tmp_path: Path) -> None:
    raw, path = (GOLDEN / "tokenizer.json").read_bytes(), tmp_path / "tokenizer.json"
    with pytest.raises(InputError, match="cannot read this tokenizer: No such file"):
        Encoder(path)
    with pytest.raises(InputError, match="cannot read this tokenizer: Is a directory"):
        Encoder(tmp_path)
    wrong = [
        b"",
        b"{}",
        b"[" * 100_000,
        b"\xff\xfe",
        raw[: len(raw) // 2],
        raw.replace(b'"BPE"', b'"XYZ"'),
        b'{"model":{"type":"BPE"}}',
    ]
    for broken in (*wrong, raw.replace(b'"merges":[', b'"merges":[["zz","qq"],')):
        path.write_bytes(broken)
        with pytest.raises(InputError, match="not a Hugging Face tokenizer"):
            Encoder(path)


def test_size_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode, "MAX_FILE_BYTES", 100)
    with pytest.raises(InputError, match="over 100 bytes"):
        Encoder(GOLDEN / "tokenizer.json")
