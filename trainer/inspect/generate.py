"""Text generation, one token at a time. The prompt is the beginning of a document.

There is no key/value cache: each token runs the model over all tokens before it, up to `context_tokens`. Beyond that
the window slides, and the oldest tokens are dropped. This shows what a model has learned; it is not meant for serving.

Legend: T tokens so far, V vocabulary, K tokens that may be drawn.
"""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from tokenizers import Tokenizer

from corpus.errors import InputError
from trainer.data.corpora import TokenizerFile
from trainer.engine.distributed import from_first, start
from trainer.engine.resume import load_trained
from trainer.engine.run_setup import read_setup
from trainer.errors import TrainerError

MAX_PROMPT_CHARACTERS = 250_000  # the tokenizer's regex engine fails on much longer texts
_LEAD_TOKENS = 4  # tokens of the prompt decoded with the first new one: some decoders join words by their context
# Control characters and marks of direction. Joiners stay, which are part of words and emoji.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class Sampling(NamedTuple):
    """Settings of text generation."""

    tokens: int  # limit on new tokens
    temperature: float  # 0: always the likeliest token
    top_k: int | None  # sample from this many of the likeliest tokens; None: from all
    seed: int


def print_generated(
    config: Path | None, assignments: Sequence[str], prompt: str, sampling: Sampling, checkpoint: int | None
) -> None:
    """Run `trainer generate`: print the prompt and the text after it, as it is generated."""
    setup = read_setup(config, assignments)
    with start() as distributed:
        console = Console(markup=False, highlight=False, soft_wrap=True, quiet=distributed.rank > 0)
        model, state = load_trained(setup, distributed, checkpoint)
        context_tokens = state.phase_settings["sequence_tokens"]
        assert isinstance(context_tokens, int)
        agree = partial(from_first, distributed)
        texts = generate(model, setup.corpora.tokenizer, prompt, sampling, context_tokens, agree)
        console.print(prompt, end="", style="bold")
        for text in texts:
            console.print(text, end="")
        console.print()


def generate(
    model: torch.nn.Module,
    file: TokenizerFile,
    prompt: str,
    sampling: Sampling,
    context_tokens: int,
    agree: Callable[[int], int] = lambda token: token,
) -> Iterator[str]:
    """Yield the text after the prompt as it is generated, up to EOS or the limit.

    Special tokens in the prompt are read as text. The same seed draws the same text from the same logits. Unsafe
    characters come as U+FFFD. Several processes generate together: `agree` returns the token that the first one drew.
    Raises InputError if a setting is out of range, and TrainerError if the logits are not finite.
    """
    _check(prompt, sampling, context_tokens)
    tokenizer = open_tokenizer(file)
    tokenizer.encode_special_tokens = True
    prompt_ids = tokenizer.encode(prompt, add_special_tokens=False).ids
    ids, generator = [file.eos_id, *prompt_ids], torch.Generator().manual_seed(sampling.seed)

    def new_tokens() -> Iterator[int]:
        device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
        was_training = model.training
        model.eval()
        try:
            for _ in range(sampling.tokens):
                tokens_BT = torch.tensor([ids[-context_tokens:]], device=device)
                # Each pass is one token longer: compiled blocks would be compiled again for each.
                with torch.no_grad(), torch.compiler.set_stance("force_eager"):
                    logits_V = model(tokens_BT, None)[0, -1]
                # Rounding can differ between processes. Without one choice for all, they would diverge and hang.
                token = agree(_draw(logits_V, sampling, generator))
                if token == file.eos_id:
                    return
                ids.append(token)
                yield token
        finally:
            model.train(was_training)

    return _decode(tokenizer, prompt_ids[-_LEAD_TOKENS:], new_tokens())


def open_tokenizer(file: TokenizerFile) -> Tokenizer:
    """Return the tokenizer, which neither cuts texts nor fills them up. Raises InputError if it is broken."""
    try:
        tokenizer = Tokenizer.from_file(str(file.path))
    except Exception as error:  # the library raises nothing narrower
        raise InputError(f"{file.path}: cannot load this tokenizer: {error}; run `corpus verify`") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def safe_text(text: str) -> str:
    """Replace characters that could control a terminal by U+FFFD; line ends and tabs stay."""
    return _UNSAFE.sub("\ufffd", text)


def _draw(logits_V: torch.Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    """Draw a token on the CPU, so that all devices draw the same."""
    logits_V = logits_V.detach().to("cpu", torch.float64)
    if not bool(torch.isfinite(logits_V).all()):
        raise TrainerError("the model's logits are not finite: its weights are damaged; load an earlier checkpoint")
    if sampling.temperature == 0:
        return int(logits_V.argmax())
    logits_K, ids_K = logits_V.topk(min(sampling.top_k or len(logits_V), len(logits_V)))
    probabilities_K = ((logits_K - logits_K[0]) / sampling.temperature).softmax(dim=0)
    return int(ids_K[torch.multinomial(probabilities_K, 1, generator=generator)])


def _decode(tokenizer: Tokenizer, lead: list[int], tokens: Iterator[int]) -> Iterator[str]:
    """Yield the text of tokens. A final U+FFFD may be the start of a longer character, so it waits for more bytes."""
    ids = list(lead)
    yielded = len(tokenizer.decode(ids, skip_special_tokens=False))
    text = ""
    for token in tokens:
        ids.append(token)
        text = tokenizer.decode(ids, skip_special_tokens=False)
        complete = text.rstrip("\ufffd")
        if len(complete) > yielded:
            yield safe_text(complete[yielded:])
            yielded = len(complete)
    if len(text) > yielded:
        yield safe_text(text[yielded:])


def _check(prompt: str, sampling: Sampling, context_tokens: int) -> None:
    problems = []
    if len(prompt) > MAX_PROMPT_CHARACTERS:
        problems.append(f"the prompt has {len(prompt)} characters; expected at most {MAX_PROMPT_CHARACTERS}")
    if any("\ud800" <= character <= "\udfff" for character in prompt):
        problems.append("the prompt is not UTF-8")
    if not (sampling.temperature >= 0 and math.isfinite(sampling.temperature)):
        problems.append(f"temperature {sampling.temperature}: expected 0 (the likeliest token) or more, such as 0.8")
    for name, value in {"tokens": sampling.tokens, "top_k": sampling.top_k, "context_tokens": context_tokens}.items():
        if value is not None and value < 1:
            problems.append(f"{name} {value}: expected 1 or more")
    if not 0 <= sampling.seed < 2**63:
        problems.append(f"seed {sampling.seed}: expected 0 to 2^63 - 1")
    if problems:
        raise InputError("cannot generate: " + "; ".join(problems))
