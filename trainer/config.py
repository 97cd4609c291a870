"""train.yaml: what is trained, on which corpora, and in which order. Strict; every mistake is reported at once.

Paths in it are seen from the current folder, where `corpus build` puts its builds.
"""

import hashlib
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from corpus import settings
from corpus.errors import InputError
from corpus.settings import Path_, Quantity, Share, Strict

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=60)]
Positive = Annotated[int, Field(ge=1)]
Real = Annotated[float, Field(strict=False)]  # 1e-3 and 1 alike
Rate = Annotated[Real, Field(ge=0, le=10)]
Steps = Annotated[str, BeforeValidator(lambda value: str(value) if type(value) is int else value)]  # 1200 or 1200-1209
CANDIDATES = (Path("train.yaml"), Path("recipes/train.yaml"))


class ModelSettings(Strict):
    """Model settings, named as in Hugging Face's config.json. The vocabulary is that of the corpora."""

    num_hidden_layers: Positive
    hidden_size: Positive
    num_attention_heads: Positive
    num_key_value_heads: Positive | None = None  # null: num_attention_heads
    head_dim: Positive | None = None  # null: hidden_size / num_attention_heads
    intermediate_size: Positive
    rope_theta: Annotated[Real, Field(gt=1)] = 500_000.0  # Source: Llama 3 (arXiv 2407.21783), table 3
    rms_norm_eps: Annotated[Real, Field(gt=0, lt=1)] = 1e-5
    tie_word_embeddings: bool = False
    initializer_range: Annotated[Real, Field(gt=0, lt=1)] = 0.02


class Optimizer(Strict):
    """AdamW. Matrices decay; the norms' gains do not, nor does an embedding table that is not the head too."""

    beta1: Annotated[Real, Field(ge=0, lt=1)] = 0.9
    beta2: Annotated[Real, Field(ge=0, lt=1)] = 0.95
    epsilon: Annotated[Real, Field(gt=0, lt=1)] = 1e-8
    weight_decay: Annotated[Real, Field(ge=0, le=1)] = 0.1
    clip_norm: Annotated[Real, Field(gt=0)] | None = 1.0


class LearningRate(Strict):
    """Of one phase: a straight warm-up to `peak`, flat, then a decay to `end`. Shares are of the phase's steps.

    It begins where the phase before it ended. The first, and one with `jump: true`, begins at its peak or warms up
    from 0.
    """

    peak: Rate | None = None  # null: the rate at which the phase before it ended
    warmup: Share = 0.0
    decay: Share = 0.0
    end: Rate | None = None  # of the decay, and required with one
    shape: Literal["cosine", "linear"] = "cosine"  # of the decay
    jump: bool = False


class Phase(Strict):
    """A stretch of training in which sequence length, batch and shares stay the same."""

    name: Name
    tokens: Annotated[Quantity, Field(ge=1)]
    sequence_tokens: Annotated[Quantity, Field(ge=2)]
    batch_tokens: Annotated[Quantity, Field(ge=2)]  # of the whole batch, over all devices
    shares: dict[str, Share] | None = None  # null: as the manifests' training tokens
    max_epochs: Annotated[Real, Field(gt=0)] = 1.0  # how often a source may have been read when this phase ends
    learning_rate: LearningRate
    skip: tuple[Steps, ...] = ()  # steps to pass over, such as 1200 or 1200-1209, counted over the whole curriculum


class Parallel(Strict):
    """How the work is laid out. Nothing in it changes which tokens are read."""

    micro_batch_sequences: Positive | None = None  # a device takes at once; null: its whole part of the batch
    precision: Literal["auto", "bf16", "fp32"] = "auto"  # auto: bf16 where the hardware multiplies it natively
    compile: Literal["auto"] | bool = "auto"  # auto: on a GPU
    reshard_after_forward: bool = True  # free a block's gathered weights until its backward pass
    deterministic: bool = False  # on a GPU: bit-equal reruns, slower


class Checkpoint(Strict):
    """When the run can be resumed from. The end of each phase is always saved, and always kept."""

    every_steps: Positive | None = None
    keep: Positive = 2  # of those within a phase
    background: bool = True  # write while training goes on


class Evaluate(Strict):
    """Bits per byte on each source's holdout: before the first step and after each phase, and in between if asked."""

    every_steps: Positive | None = None
    sequence_tokens: Annotated[Quantity, Field(ge=2)] | None = None  # null: the first phase's
    batch_sequences: Positive = 16
    tokens_per_source: Annotated[Quantity, Field(ge=1)] | None = None  # from the holdout's start; null: all
    prompts: tuple[Annotated[str, Field(max_length=2000)], ...] = ()  # to write on from each time, for the page


class Cluster(Strict):
    """What `trainer plan` reckons with."""

    accelerator: str = "H100"  # a name of `trainer.model.cost.PEAK_FLOPS`
    devices: Positive = 1
    mfu: Annotated[Share, Field(gt=0)] = 0.4
    price_per_hour: Annotated[Real, Field(ge=0)] | None = None  # of one device, in the currency of your choice


class Training(Strict):
    """A train.yaml, checked in itself; `trainer.data.curriculum` checks it against the corpora."""

    format_version: Literal[1]
    name: Name
    out: str | None = None  # the run folder; null: runs/<name>
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 1
    corpora: Annotated[dict[Name, str], Field(min_length=1)]  # name: a build's folder
    model: ModelSettings
    optimizer: Optimizer = Optimizer()
    curriculum: Annotated[tuple[Phase, ...], Field(min_length=1)]
    parallel: Parallel = Parallel()
    checkpoint: Checkpoint = Checkpoint()
    evaluate: Evaluate = Evaluate()
    cluster: Cluster = Cluster()
    tensorboard: bool = False

    @property
    def folder(self) -> Path:
        """The run folder."""
        return Path(self.out) if self.out else Path("runs") / self.name

    @property
    def digest(self) -> str:
        """SHA-256 over all settings."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


def find_config(path: Path | None) -> Path:
    """The file given, else ./train.yaml, else recipes/train.yaml. Raises InputError that lists what else is there."""
    if path is not None:
        return path
    for candidate in CANDIDATES:
        if candidate.is_file():
            return candidate
    others = sorted(str(each) for each in (*Path().glob("train*.yaml"), *Path("recipes").glob("train*.yaml")))
    here = f"; here are: {', '.join(others)}" if others else ""
    raise InputError(f"no {CANDIDATES[0]} and no {CANDIDATES[1]}; name a file with --config{here}")


def read_training(path: Path, assignments: Sequence[str] = ()) -> Training:
    """Reads, overrides and checks a train.yaml. Raises InputError that lists every mistake with its line."""
    document = settings.override(settings.read_yaml(path, what="training file"), assignments)
    return settings.validate(Training, document, _further)


def skipped_steps(written: Sequence[str]) -> tuple[range, ...]:
    """The steps that `skip` names. Raises ValueError on anything but `N` and `N-M`."""
    found = []
    for text in written:
        first, dash, last = text.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or (dash and int(last) < int(first)):
            raise ValueError(f"expected a step such as 1200, or steps such as 1200-1209; found {text!r}")
        found.append(range(int(first), int(last if dash else first) + 1))
    return tuple(found)


def _further(training: Training) -> list[tuple[Path_, str]]:
    """What no single field can show."""
    problems = _model_problems(training.model)
    if training.out is not None and not training.out.strip():
        problems.append((("out",), "`out` is empty; name a folder, or leave it away"))
    names = [phase.name for phase in training.curriculum]
    for index, phase in enumerate(training.curriculum):
        place: Path_ = ("curriculum", index)
        if phase.name in names[:index]:
            problems.append(((*place, "name"), f"two phases are named `{phase.name}`"))
        if phase.name.isdecimal():
            problems.append(((*place, "name"), f"phase `{phase.name}`: a name of digits would be taken for a number"))
        problems += [((*place, key), f"phase `{phase.name}`: {text}") for key, text in _phase_problems(phase)]
    return problems


def _model_problems(model: ModelSettings) -> list[tuple[Path_, str]]:
    problems: list[tuple[Path_, str]] = []
    heads, kv_heads = model.num_attention_heads, model.num_key_value_heads
    if model.head_dim is None and model.hidden_size % heads:
        told = f"hidden_size {model.hidden_size} is not divisible by num_attention_heads {heads}"
        problems.append((("model", "num_attention_heads"), f"{told}; change one, or set head_dim"))
    head_dim = model.head_dim or model.hidden_size // heads
    if head_dim % 2 or head_dim == 0:
        told = f"head_dim is {head_dim}; rotary embeddings need an even number of at least 2"
        problems.append((("model", "head_dim" if model.head_dim else "num_attention_heads"), told))
    if kv_heads is not None and heads % kv_heads:
        told = f"num_attention_heads {heads} is not divisible by num_key_value_heads {kv_heads}; change one"
        problems.append((("model", "num_key_value_heads"), told))
    return problems


def _phase_problems(phase: Phase) -> list[tuple[str, str]]:
    problems: list[tuple[str, str]] = []
    if phase.batch_tokens % phase.sequence_tokens:
        nearest = max(1, round(phase.batch_tokens / phase.sequence_tokens)) * phase.sequence_tokens
        told = f"batch_tokens {phase.batch_tokens} is no multiple of sequence_tokens {phase.sequence_tokens}"
        problems.append(("batch_tokens", f"{told}; the nearest is {nearest}"))
    elif phase.tokens < phase.batch_tokens:
        problems.append(("tokens", f"{phase.tokens} tokens are less than one batch of {phase.batch_tokens}"))
    if phase.shares is not None:
        total = sum(Fraction(str(share)) for share in phase.shares.values())
        if total != 1:
            problems.append(("shares", f"the shares sum to {float(total):g}; they must sum to 1"))
    rate = phase.learning_rate
    if rate.warmup + rate.decay > 1:
        told = f"warm-up {rate.warmup:.0%} and decay {rate.decay:.0%} are more than the phase"
        problems.append(("learning_rate", told))
    if rate.end is not None and not rate.decay:
        problems.append(("learning_rate", "`end` is given, but no `decay` leads there; add one, such as `decay: 20%`"))
    if rate.decay and rate.end is None:
        problems.append(("learning_rate", "`decay` is given, but not where it leads; add `end: 0`, say"))
    try:
        skipped_steps(phase.skip)
    except ValueError as error:
        problems.append(("skip", str(error)))
    return problems
