"""Text generation: sampling, decoding and the end of the text."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from corpus.errors import InputError
from tests.end_to_end.training import fit_here, write_config
from trainer.data.corpora import TokenizerFile
from trainer.errors import TrainerError
from trainer.inspect import eval_run
from trainer.inspect.generate import Sampling, generate, open_tokenizer, safe_text
from trainer.model.llama.model import LlamaModel
from trainer.model.llama.settings import LlamaConfig
from trainer.model.transformer import initialize

PATH = Path(__file__).parents[2] / "golden" / "corpus" / "tokenizer.json"
EOS, VOCABULARY = 0, 384
FILE = TokenizerFile(PATH, "", VOCABULARY, EOS, "<|endoftext|>")
MULTILINGUAL = "Der Müller\tzählt:\n水车慢慢地转, الأكياس 😀👩‍🌾 e\u0301!"


class Spelling(torch.nn.Module):
    """Predicts the tokens of one text, then EOS, and records its inputs."""

    def __init__(self, script: Sequence[int]) -> None:
        super().__init__()
        self.script, self.seen = [*script, EOS], list[list[int]]()

    def forward(self, tokens_BT: torch.Tensor, mask: object) -> torch.Tensor:
        assert mask is None
        logits_BTV = torch.zeros(*tokens_BT.shape, VOCABULARY)
        logits_BTV[:, -1, self.script[len(self.seen)]] = 9.0
        self.seen.append(tokens_BT[0].tolist())
        return logits_BTV


class Fixed(torch.nn.Module):
    """Returns the same logits for every token."""

    def __init__(self, logits_V: torch.Tensor) -> None:
        super().__init__()
        self.logits_V = torch.nn.Parameter(logits_V)

    def forward(self, tokens_BT: torch.Tensor, mask: object) -> torch.Tensor:
        return self.logits_V.expand(*tokens_BT.shape, -1)


@pytest.fixture
def tokenizer() -> Tokenizer:
    return open_tokenizer(FILE)


def pieces(
    model: torch.nn.Module,
    prompt: str = "",
    *,
    tokens: int = 200,
    temperature: float = 0.0,
    top_k: int | None = None,
    seed: int = 1,
    context_tokens: int = 2048,
    agree: Callable[[int], int] = lambda token: token,
) -> list[str]:
    """Return the pieces that `generate` yields; greedy by default."""
    sampling = Sampling(tokens, temperature, top_k, seed)
    return list(generate(model, FILE, prompt, sampling, context_tokens, agree=agree))


def ids_of(tokenizer: Tokenizer, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False).ids)


@pytest.mark.parametrize("prompt", ["", "Once", "水"])
def test_generates_a_text_and_stops_at_eos(tokenizer: Tokenizer, prompt: str) -> None:
    """Fails if each token is decoded alone, at the first character of two bytes."""
    script = ids_of(tokenizer, MULTILINGUAL)
    found = pieces(Spelling(script), prompt)
    assert "".join(found) == MULTILINGUAL
    assert len(script) > len(found) > len(MULTILINGUAL) // 3  # as it comes, but no half characters
    assert not any("\ufffd" in piece for piece in found)


def test_stops_after_the_limit_of_tokens(tokenizer: Tokenizer) -> None:
    script = ids_of(tokenizer, "abc 水")
    model = Spelling(script)
    assert "".join(pieces(model, tokens=len(script) - 1)) == "abc \ufffd"  # a character cut short
    assert len(model.seen) == len(script) - 1


def test_invalid_bytes_come_as_u_fffd(tokenizer: Tokenizer) -> None:
    (first, *_, last) = ids_of(tokenizer, "水")
    letter = ids_of(tokenizer, "a")
    assert "".join(pieces(Spelling([last, *letter, first, *letter]))) == "\ufffda\ufffda"


def test_control_characters_come_as_u_fffd(tokenizer: Tokenizer) -> None:
    script = ids_of(tokenizer, "a\x1b[31mb\x07\x00\r\n\tc\x9b\x7f\u202ed")
    assert "".join(pieces(Spelling(script))) == "a\ufffd[31mb\ufffd\ufffd\ufffd\n\tc\ufffd\ufffd\ufffdd"
    assert safe_text("e\u0301 👩‍🌾\n") == "e\u0301 👩‍🌾\n"


def test_a_prompt_is_read_as_text_after_eos(tokenizer: Tokenizer) -> None:
    model = Spelling(ids_of(tokenizer, "x"))
    pieces(model, "a <|endoftext|> b")
    assert model.seen[0][0] == EOS and EOS not in model.seen[0][1:]
    assert tokenizer.decode(model.seen[0][1:], skip_special_tokens=False) == "a <|endoftext|> b"
    assert model.seen[1] == [*model.seen[0], model.script[0]]


def test_the_window_slides(tokenizer: Tokenizer) -> None:
    script, prompt = ids_of(tokenizer, "bcdefgh"), "a b c d e f"
    model = Spelling(script)
    assert "".join(pieces(model, prompt, context_tokens=4)) == "bcdefgh"
    whole = [EOS, *ids_of(tokenizer, prompt), *script]
    start = len(whole) - len(script)
    assert model.seen == [whole[: start + at][-4:] for at in range(len(script) + 1)]


def test_the_same_seed_draws_the_same_text() -> None:
    model = LlamaModel(LlamaConfig(1, 16, 2, 2, 8, 16, VOCABULARY, 10_000.0, 1e-5, False))
    initialize(model, seed=1, initializer_range=0.3)
    first = pieces(model, "The", tokens=30, temperature=1.0)
    torch.rand(7)  # nothing else draws from the same numbers
    assert pieces(model, "The", tokens=30, temperature=1.0) == first
    assert pieces(model, "The", tokens=30, temperature=1.0, seed=2) != first
    assert model.training


def test_samples_by_temperature_from_the_top_k(tokenizer: Tokenizer) -> None:
    letters = {letter: ids_of(tokenizer, letter)[0] for letter in "abc"}
    logits_V = torch.full((VOCABULARY,), -30.0)
    for letter, share in (("a", 0.6), ("b", 0.3), ("c", 0.1)):
        logits_V[letters[letter]] = math.log(share)
    model = Fixed(logits_V)

    def shares(temperature: float, top_k: int | None) -> list[float]:
        text = "".join(pieces(model, tokens=600, temperature=temperature, top_k=top_k, context_tokens=1))
        assert len(text) == 600 and set(text) <= set("abc")
        return [text.count(letter) / 600 for letter in "abc"]

    assert shares(1.0, None) == pytest.approx([0.6, 0.3, 0.1], abs=0.08)  # four standard deviations
    assert shares(1.0, 2) == pytest.approx([2 / 3, 1 / 3, 0], abs=0.08) and shares(1.0, 2)[2] == 0
    assert shares(0.5, None) == pytest.approx([36 / 46, 9 / 46, 1 / 46], abs=0.08)
    assert shares(1e-300, None) == shares(0.0, None) == shares(5.0, 1) == [1, 0, 0]


def test_the_agreed_token_is_used_and_can_end_the_text(tokenizer: Tokenizer) -> None:
    drawn, (x,) = ids_of(tokenizer, "abc"), ids_of(tokenizer, "x")
    heard: list[int] = []

    def agree(token: int) -> int:
        heard.append(token)
        return EOS if len(heard) == 3 else x

    model = Spelling(drawn)
    assert "".join(pieces(model, agree=agree)) == "xx"
    assert heard == drawn and model.seen == [[EOS], [EOS, x], [EOS, x, x]]

    heard = []
    model = Spelling([])  # this process alone would end at once
    model.script = [EOS] * 3
    assert "".join(pieces(model, agree=agree)) == "xx"
    assert heard == [EOS] * 3


def test_compiled_blocks_are_not_compiled_for_each_length() -> None:
    graphs = []

    def backend(graph: torch.fx.GraphModule, _: list[torch.Tensor]) -> Callable[..., object]:
        graphs.append(graph)
        return graph.forward

    model = LlamaModel(LlamaConfig(2, 16, 2, 2, 8, 16, VOCABULARY, 10_000.0, 1e-5, False))
    initialize(model, seed=1, initializer_range=0.3)
    for block in model.blocks:
        block.compile(backend=backend, dynamic=False)
    text = generate(model, FILE, "The", Sampling(9, 1.0, None, 1), 2048)
    assert next(text) and not graphs
    model(torch.zeros(1, 5, dtype=torch.int64), None)
    assert len(graphs) == 1, "between two tokens, as before"
    assert list(text) and len(graphs) == 1
    model(torch.zeros(1, 6, dtype=torch.int64), None)
    assert len(graphs) == 2, "afterwards, as before"


def test_logits_that_are_not_finite_are_an_error() -> None:
    with pytest.raises(TrainerError, match="not finite"):
        pieces(Fixed(torch.full((VOCABULARY,), math.nan)))


def test_settings_out_of_range_are_refused_before_sampling() -> None:
    model = Spelling([])
    wrong = r"temperature -1.*tokens 0.*top_k 0.*context_tokens 0.*seed -1"
    with pytest.raises(InputError, match=wrong):
        pieces(model, tokens=0, temperature=-1, top_k=0, seed=-1, context_tokens=0)
    with pytest.raises(InputError, match="temperature nan"):
        pieces(model, temperature=math.nan)
    with pytest.raises(InputError, match="not UTF-8"):
        pieces(model, "a\udcff")
    with pytest.raises(InputError, match="250001 characters"):
        pieces(model, " " * 250_001)
    assert model.seen == []


def test_a_broken_tokenizer_gives_one_message(tmp_path: Path) -> None:
    for text in ("", "{}", json.dumps({"model": {"type": "none"}})):
        (tmp_path / "tokenizer.json").write_text(text)
        with pytest.raises(InputError, match="cannot load this tokenizer"):
            open_tokenizer(TokenizerFile(tmp_path / "tokenizer.json", "", 1, 0, "x"))
    with pytest.raises(InputError, match="cannot load this tokenizer"):
        open_tokenizer(TokenizerFile(tmp_path / "missing.json", "", 1, 0, "x"))


def test_prompts_are_continued_with_the_context_of_the_phase(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails if a constant, or the first phase's sequence length, limits the context during training."""
    contexts: list[int] = []

    def generated(model: object, file: object, prompt: str, sampling: object, context: int, agree: object) -> list[str]:
        contexts.append(context)
        return [prompt]

    monkeypatch.setattr(eval_run, "generate", generated)
    fit_here(write_config(tmp_path, evaluate={"tokens_per_source": 1, "prompts": ["The"]}))
    assert contexts == [32, 32, 64], "before training, and after each of two phases"
