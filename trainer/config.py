"""The training file, train.yaml: the model, the corpora and the curriculum. Strict; every mistake is reported at once.

Paths in it are relative to the current folder, where `corpus build` puts its builds.
"""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny

from corpus import settings, units
from corpus.errors import InputError
from corpus.settings import KeyPath, Quantity, Share, Strict
from corpus.validation import validate
from trainer.model.family import ModelSettings, Positive, Real, validate_model

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=60)]
Rate = Annotated[Real, Field(ge=0, le=10)]
Steps = Annotated[str, BeforeValidator(lambda value: str(value) if type(value) is int else value)]  # 1200 or 1200-1209


def _span(value: float | str) -> float:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # as the settings of a run are written
    for parse in (units.share, units.quantity):
        with suppress(InputError):
            return float(parse(value))
    raise ValueError(f"expected a share of the phase such as 2%, or tokens such as 100M; found {value!r}")


Span = Annotated[float, BeforeValidator(_span)]  # a part of a phase: up to 1 a share of its steps, above 1 tokens
CANDIDATES = (Path("train.yaml"), Path("recipes/train.yaml"))


class OptimizerSettings(Strict):
    """AdamW. Weight decay applies to matrices, except an embedding that is not tied to the head, and not to norms."""

    beta1: Annotated[Real, Field(ge=0, lt=1)] = 0.9
    beta2: Annotated[Real, Field(ge=0, lt=1)] = 0.95
    epsilon: Annotated[Real, Field(gt=0, lt=1)] = 1e-8
    weight_decay: Annotated[Real, Field(ge=0, le=1)] = 0.1
    clip_norm: Annotated[Real, Field(gt=0)] | None = 1.0


class LearningRateSettings(Strict):
    """Learning rate of a phase: linear warm-up to `peak`, constant, then decay to `end`.

    It starts at the rate at which the previous phase ended. The first phase, and a phase with `jump: true`, starts at
    its peak or warms up from 0.
    """

    peak: Rate | None = None  # null: the rate at which the previous phase ended
    warmup: Span = 0.0
    decay: Span = 0.0
    end: Rate | None = None  # required with `decay`
    shape: Literal["cosine", "linear"] = "cosine"  # of the decay
    jump: bool = False


class PhaseSettings(Strict):
    """A part of training with one sequence length, batch size and set of shares."""

    name: Name
    tokens: Annotated[Quantity, Field(ge=1)]
    sequence_tokens: Annotated[Quantity, Field(ge=2)]
    batch_tokens: Annotated[Quantity, Field(ge=2)]  # of the whole batch, over all devices
    whole_documents: bool = False  # pack sequences from whole documents: none is cut unless it is longer
    shares: dict[str, Share] | None = None  # null: in proportion to the training tokens in the manifests
    max_epochs: Annotated[Real, Field(gt=0)] = 1.0  # limit on the epochs of each source at the end of this phase
    learning_rate: LearningRateSettings
    skip: tuple[Steps, ...] = ()  # steps not to train on, such as 1200 or 1200-1209, counted over the whole curriculum


class ParallelSettings(Strict):
    """Distribution over devices. None of it affects which tokens are read."""

    # Per device at a time, in one of two units; both null: the largest that fits the device's memory.
    micro_batch_tokens: Annotated[Quantity, Field(ge=1)] | None = None  # at least one sequence
    micro_batch_sequences: Positive | None = None
    # Activations computed again in the backward pass: of no block, of all, of every n-th; operations: all but products
    recompute: Literal["none", "operations", "full"] | Positive = "none"
    loss_chunk_tokens: Positive | None = None  # tokens with logits in memory at a time; null: as many as 2^26 logits
    precision: Literal["auto", "bf16", "fp32"] = "auto"  # auto: bf16 where the hardware multiplies it natively
    compile: Literal["auto"] | bool = "auto"  # auto: on a GPU
    reshard_after_forward: bool = True  # free a block's gathered weights until its backward pass
    deterministic: bool = False  # on a GPU: bit-equal reruns, slower


class CheckpointSettings(Strict):
    """Times and number of checkpoints. The end of each phase is always saved and kept."""

    every_minutes: Annotated[Real, Field(gt=0)] | None = 20.0  # null: by steps alone
    every_steps: Positive | None = None
    keep: Positive = 2  # the last ones within phases
    keep_every_steps: Positive | None = None  # also saved and kept for good: the first at or after each multiple
    background: bool = True  # write while training continues
    sigusr1: Literal["save", "stop"] = "stop"  # on this signal: save and go on, or save and stop
    sigusr2: Literal["save", "stop"] = "save"


class EvaluateSettings(Strict):
    """Evaluation on each source's holdout: before the first step, after each phase and every `every_steps`."""

    every_steps: Positive | None = None
    sequence_tokens: Annotated[Quantity, Field(ge=2)] | None = None  # null: as in the first phase
    batch_sequences: Positive = 16
    tokens_per_source: Annotated[Quantity, Field(ge=1)] | None = None  # from the start of the holdout; null: all
    prompts: tuple[Annotated[str, Field(max_length=2000)], ...] = ()  # continued at each evaluation, for the run page


class ClusterSettings(Strict):
    """Hardware that `trainer plan` computes time and cost for."""

    accelerator: str = "H100"  # a name in `trainer.model.cost.PEAK_FLOPS`
    devices: Positive = 1
    mfu: Annotated[Share, Field(gt=0)] = 0.4
    price_per_hour: Annotated[Real, Field(ge=0)] | None = None  # of one device, in any currency


class Training(Strict):
    """A training file, valid by itself; `trainer.data.curriculum` checks it against the corpora."""

    format_version: Literal[1]
    name: Name
    out: str | None = None  # run folder; null: runs/<name>
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 1
    corpora: Annotated[dict[Name, str], Field(min_length=1)]  # folders of builds, by name
    model: Annotated[SerializeAsAny[ModelSettings], BeforeValidator(validate_model)]
    optimizer: OptimizerSettings = OptimizerSettings()
    curriculum: Annotated[tuple[PhaseSettings, ...], Field(min_length=1)]
    parallel: ParallelSettings = ParallelSettings()
    checkpoint: CheckpointSettings = CheckpointSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    cluster: ClusterSettings = ClusterSettings()
    tensorboard: bool = False

    @property
    def folder(self) -> Path:
        """The run folder."""
        return Path(self.out) if self.out else Path("runs") / self.name

    @property
    def digest(self) -> str:
        """SHA-256 of all settings."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


def find_config(path: Path | None) -> Path:
    """Return `path`, else ./train.yaml, else recipes/train.yaml. Raises InputError that lists similar files."""
    if path is not None:
        return path
    for candidate in CANDIDATES:
        if candidate.is_file():
            return candidate
    similar = sorted(str(path) for path in (*Path().glob("train*.yaml"), *Path("recipes").glob("train*.yaml")))
    listed = f"; found: {', '.join(similar)}" if similar else ""
    raise InputError(f"no {CANDIDATES[0]} and no {CANDIDATES[1]}; name a training file with --config{listed}")


def read_training(path: Path, assignments: Sequence[str] = ()) -> Training:
    """Read a training file, apply `key.path=value` overrides and validate it.

    Raises InputError that lists every mistake with its line.
    """
    document = settings.override(settings.read_yaml(path, what="training file"), assignments)
    return validate(Training, document, _contradictions)


def skipped_steps(skip: Sequence[str]) -> tuple[range, ...]:
    """Parse the `skip` of a phase. Raises ValueError on anything but `N` and `N-M`."""
    ranges = []
    for text in skip:
        first, dash, last = text.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or (dash and int(last) < int(first)):
            raise ValueError(f"expected a step such as 1200, or steps such as 1200-1209; found {text!r}")
        ranges.append(range(int(first), int(last if dash else first) + 1))
    return tuple(ranges)


def _contradictions(training: Training) -> list[tuple[KeyPath, str]]:
    """Return mistakes that involve several settings, each with the path of one of them."""
    problems: list[tuple[KeyPath, str]] = [(("model", name), text) for name, text in training.model.problems()]
    if training.out is not None and not training.out.strip():
        problems.append((("out",), "`out` is empty; name a folder, or remove it"))
    parallel = training.parallel
    if parallel.micro_batch_tokens is not None and parallel.micro_batch_sequences is not None:
        message = "`micro_batch_tokens` and `micro_batch_sequences` state the same; remove one"
        problems.append((("parallel", "micro_batch_sequences"), message))
    names = [phase.name for phase in training.curriculum]
    for index, phase in enumerate(training.curriculum):
        path: KeyPath = ("curriculum", index)
        if phase.name in names[:index]:
            problems.append(((*path, "name"), f"two phases are named `{phase.name}`"))
        if phase.name.isdecimal():
            problems.append(((*path, "name"), f"phase `{phase.name}`: a name of digits would be read as a number"))
        problems += [((*path, key), f"phase `{phase.name}`: {text}") for key, text in _phase_problems(phase)]
    return problems


def _phase_problems(phase: PhaseSettings) -> list[tuple[str, str]]:
    problems: list[tuple[str, str]] = []
    # Sizes.
    if phase.batch_tokens % phase.sequence_tokens:
        nearest = max(1, round(phase.batch_tokens / phase.sequence_tokens)) * phase.sequence_tokens
        message = f"batch_tokens {phase.batch_tokens} is not a multiple of sequence_tokens {phase.sequence_tokens}"
        problems.append(("batch_tokens", f"{message}; the nearest is {nearest}"))
    elif phase.tokens < phase.batch_tokens:
        problems.append(("tokens", f"{phase.tokens} tokens are less than one batch of {phase.batch_tokens}"))
    # Shares, summed as written: 0.1 + 0.2 + 0.7 is not 1 in floats.
    if phase.shares is not None:
        total = sum(Fraction(str(share)) for share in phase.shares.values())
        if total != 1:
            problems.append(("shares", f"the shares sum to {float(total):g}; they must sum to 1"))
    # Learning rate.
    rate = phase.learning_rate
    spans = {"warmup": rate.warmup, "decay": rate.decay}
    for name, span in spans.items():
        if 1 < span < phase.batch_tokens:
            message = f"a {name} of {span:.0f} tokens is less than one batch of {phase.batch_tokens}"
            problems.append(("learning_rate", f"{message}; write shares with a percent sign"))
    warmup, decay = (span if span <= 1 else span / phase.tokens for span in spans.values())
    if warmup + decay > 1:
        problems.append(("learning_rate", f"warmup {warmup:.0%} and decay {decay:.0%} are longer than the phase"))
    if rate.end is not None and not rate.decay:
        problems.append(("learning_rate", "`end` without `decay`; add one, such as `decay: 20%`"))
    if rate.decay and rate.end is None:
        problems.append(("learning_rate", "`decay` without `end`; add one, such as `end: 0`"))
    try:
        skipped_steps(phase.skip)
    except ValueError as error:
        problems.append(("skip", str(error)))
    return problems
