"""Text from a model, a token at a time: what follows on a prompt at a document's start.

There is no key/value cache: each token runs the model over all that came before it, up to `context_tokens`; past that
the window slides, and the oldest tokens are forgotten. Enough to see what a model has learned, not to serve it.

Legend: T tokens so far, V vocabulary, K of them that may be drawn.
"""

import math
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext

import torch
from tokenizers import Tokenizer

from corpus.errors import InputError
from trainer.errors import TrainerError

MAX_PROMPT_CHARACTERS = 250_000  # the tokenizer's regex engine gives up on far more
CONTEXT_TOKENS = 2048
_LEAD = 4  # tokens of the prompt before the first new one: some decoders join words by what stands before
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")  # control characters, and of direction


def generate(
    model: torch.nn.Module,
    tokenizer: Tokenizer,
    prompt: str,
    *,
    tokens: int,
    temperature: float,
    top_k: int | None,
    seed: int,
    eos_id: int,
    context_tokens: int = CONTEXT_TOKENS,
    forward_context: Callable[[], AbstractContextManager[object]] = nullcontext,
    agree: Callable[[int], int] = lambda token: token,
) -> Iterator[str]:
    """Yields the text behind the prompt as it comes, at most so many tokens of it; ends at EOS.

    The prompt is text and nothing else: a special token in it is spelled out. Temperature 0 takes the likeliest token.
    The same seed draws the same text from the same logits. What would steer a terminal comes as U+FFFD. Several
    processes generate together, and `agree` gives all of them the token that the first drew. Raises InputError on
    settings out of range, and TrainerError where the logits are not finite.
    """
    _check(prompt, tokens, temperature, top_k, seed, context_tokens)
    tokenizer.encode_special_tokens = True
    written = tokenizer.encode(prompt, add_special_tokens=False).ids
    drawn = _draw(
        model,
        [eos_id, *written],
        tokens=tokens,
        eos_id=eos_id,
        context_tokens=context_tokens,
        forward_context=forward_context,
        sampler=_Sampler(temperature, top_k, seed),
        agree=agree,
    )
    return _as_text(tokenizer, written[-_LEAD:], drawn)


def shown(text: str) -> str:
    """Text that can be printed: what would steer a terminal, line ends and tabs aside, is U+FFFD."""
    return _UNSAFE.sub("\ufffd", text)


class _Sampler:
    """Chooses a token from logits, on the CPU, so that every device draws alike."""

    def __init__(self, temperature: float, top_k: int | None, seed: int) -> None:
        self._temperature, self._top_k = temperature, top_k
        self._generator = torch.Generator().manual_seed(seed)

    def __call__(self, logits_V: torch.Tensor) -> int:
        logits_V = logits_V.detach().to("cpu", torch.float64)
        if not bool(torch.isfinite(logits_V).all()):
            raise TrainerError("the model's logits are not finite: its weights are damaged; load an earlier checkpoint")
        if self._temperature == 0:
            return int(logits_V.argmax())
        logits_K, ids_K = logits_V.topk(min(self._top_k or len(logits_V), len(logits_V)))
        chances_K = ((logits_K - logits_K[0]) / self._temperature).softmax(dim=0)
        return int(ids_K[torch.multinomial(chances_K, 1, generator=self._generator)])


def _draw(
    model: torch.nn.Module,
    ids: list[int],
    *,
    tokens: int,
    eos_id: int,
    context_tokens: int,
    forward_context: Callable[[], AbstractContextManager[object]],
    sampler: _Sampler,
    agree: Callable[[int], int],
) -> Iterator[int]:
    """The tokens behind `ids`, without the EOS that ends them."""
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    was_training = model.training
    model.eval()
    try:
        for _ in range(tokens):
            tokens_BT = torch.tensor([ids[-context_tokens:]], device=device)
            # Each text is a token longer than the last: compiled blocks would be compiled anew for each.
            with torch.no_grad(), forward_context(), torch.compiler.set_stance("force_eager"):
                logits_V = model(tokens_BT, None)[0, -1]
            # A rounding apart, processes would draw different tokens, and one that ends leaves the others waiting.
            token = agree(sampler(logits_V))
            if token == eos_id:
                return
            ids.append(token)
            yield token
    finally:
        model.train(was_training)


def _as_text(tokenizer: Tokenizer, lead: list[int], drawn: Iterator[int]) -> Iterator[str]:
    """The text of tokens as they come. What ends in U+FFFD may be a character's first bytes, and waits for the rest."""
    ids = list(lead)
    given = len(tokenizer.decode(ids, skip_special_tokens=False))
    text = ""
    for token in drawn:
        ids.append(token)
        text = tokenizer.decode(ids, skip_special_tokens=False)
        whole = text.rstrip("\ufffd")
        if len(whole) > given:
            yield shown(whole[given:])
            given = len(whole)
    if len(text) > given:
        yield shown(text[given:])


def _check(prompt: str, tokens: int, temperature: float, top_k: int | None, seed: int, context_tokens: int) -> None:
    problems = []
    if len(prompt) > MAX_PROMPT_CHARACTERS:
        problems.append(f"the prompt has {len(prompt)} characters; at most {MAX_PROMPT_CHARACTERS} are read")
    if any("\ud800" <= character <= "\udfff" for character in prompt):
        problems.append("the prompt is not UTF-8")
    if not (temperature >= 0 and math.isfinite(temperature)):
        problems.append(f"temperature {temperature}: expected 0 (the likeliest token) or more, such as 0.8")
    for name, value in (("tokens", tokens), ("top_k", top_k), ("context_tokens", context_tokens)):
        if value is not None and value < 1:
            problems.append(f"{name} {value}: expected 1 or more")
    if not 0 <= seed < 2**63:
        problems.append(f"seed {seed}: expected 0 to 2^63 - 1")
    if problems:
        raise InputError("cannot generate: " + "; ".join(problems))
