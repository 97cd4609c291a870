"""`trainer plan`: what a curriculum reads, how long it takes and what it costs, before a GPU is rented."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from corpus.errors import InputError
from corpus.settings import Json, nearest
from trainer.config import Training, find_config, read_training
from trainer.data.corpora import Corpora, TokenizerFile, TokenShardFile, TokenSource, open_corpora
from trainer.data.curriculum import Curriculum, PhasePlan, resolve
from trainer.inspect.plan_tables import print_plan
from trainer.model import cost
from trainer.model.family import ModelConfig, Parameters

VOCABULARY = 32_768  # of `corpus build`'s tokenizers, unless the recipe says otherwise
ENDLESS = 10**6  # how many times over a corpus is thought to be there, to see what would be read of it


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """What a phase reads of one source."""

    name: str
    share_asked: float | None  # None: by the manifests' training tokens
    share: float  # as the phase keeps it, in whole sequences
    tokens: int
    cursor_tokens: int  # read of it when the phase ends, earlier phases included
    epochs: float | None  # the same in epochs; None without a corpus


@dataclass(frozen=True, slots=True)
class PhaseCost:
    """A phase: what it reads, and what that takes. Skipped steps are reckoned like the others."""

    name: str
    steps: int
    tokens: int
    sequence_tokens: int
    batch_sequences: int
    micro_batch_sequences: int
    rate_start: float
    rate_peak: float
    rate_end: float
    max_epochs: float
    sources: tuple[SourcePlan, ...]
    flops_6nd: float
    flops: float  # with attention
    memory: cost.Memory


@dataclass(frozen=True, slots=True)
class SourceTotal:
    """A source over the whole curriculum."""

    name: str
    tokens: int
    needed_tokens: int  # that it must hold, so that no phase ends beyond its max_epochs
    held_tokens: int | None  # that it holds for training; None without a corpus


@dataclass(frozen=True, slots=True)
class Plan:
    """All that `trainer plan` tells."""

    name: str
    vocabulary: int
    from_corpora: bool
    parameters: Parameters
    phases: tuple[PhaseCost, ...]
    sources: tuple[SourceTotal, ...]
    accelerator: str
    peak_flops: float
    devices: int
    mfu: float
    price_per_hour: float | None

    @property
    def tokens(self) -> int:
        """Of all phases."""
        return sum(phase.tokens for phase in self.phases)

    @property
    def flops_6nd(self) -> float:
        """Of all phases, 6ND."""
        return sum(phase.flops_6nd for phase in self.phases)

    @property
    def flops(self) -> float:
        """Of all phases, with attention."""
        return sum(phase.flops for phase in self.phases)

    @property
    def tokens_per_parameter(self) -> float:
        """To be held against Chinchilla's 20; all parameters count, as in Hoffmann et al. 2022."""
        return self.tokens / self.parameters.total

    @property
    def device_hours(self) -> float:
        """At the stated share of the peak, attention counted."""
        return cost.device_hours(self.flops, self.peak_flops, self.mfu)

    @property
    def days(self) -> float:
        """On all devices."""
        return self.device_hours / self.devices / 24

    @property
    def price(self) -> float | None:
        """Device-hours times the price, if there is one."""
        return None if self.price_per_hour is None else self.device_hours * self.price_per_hour

    def to_json(self) -> dict[str, Json]:
        """Every figure, with units in the names."""
        told: dict[str, Json] = json.loads(json.dumps(asdict(self)))
        parts = self.parameters
        counts = {"total": parts.total, "non_embedding": parts.non_embedding, "multiplied": parts.multiplied}
        memory = max(phase.memory.total_bytes for phase in self.phases)
        return told | {
            "parameters": asdict(parts) | counts,
            "tokens": self.tokens,
            "tokens_per_parameter": self.tokens_per_parameter,
            "chinchilla_tokens_per_parameter": cost.CHINCHILLA_TOKENS,
            "flops_6nd": self.flops_6nd,
            "flops": self.flops,
            "device_memory_bytes": memory,
            "device_hours": self.device_hours,
            "days": self.days,
            "price": self.price,
        }


def show_plan(
    config: Path | None,
    assignments: Sequence[str],
    *,
    without_corpus: bool,
    as_json: bool,
    vocabulary: int = VOCABULARY,
) -> None:
    """Prints the plan. `vocabulary` counts only without a corpus; else the corpora's tokenizer has its own.

    Raises InputError, with the numbers, if the corpora cannot feed the curriculum; as tables, what it would read and
    cost is printed first.
    """
    training = read_training(find_config(config), assignments)
    if without_corpus:
        thought = _thought_of(training, vocabulary)
        plan, refusal = make_plan(training, resolve(training, thought), thought.tokenizer.vocabulary, None), None
    else:
        try:
            corpora = open_corpora(training.corpora)
        except InputError as error:
            raise InputError(f"{error}\nto plan before a corpus is built, add --without-corpus") from None
        curriculum, refusal = _resolved(training, corpora)
        plan = make_plan(training, curriculum, corpora.tokenizer.vocabulary, corpora)
    if refusal is None or not as_json:
        print(json.dumps(plan.to_json(), indent=2)) if as_json else print_plan(plan)
    if refusal is not None:
        raise refusal


def make_plan(training: Training, curriculum: Curriculum, vocabulary: int, corpora: Corpora | None) -> Plan:
    """Reckons with a resolved curriculum. Raises InputError for a cluster on which it cannot run."""
    cluster = training.cluster
    peak = cost.peak_flops(cluster.accelerator)
    if peak is None:
        told = f"cluster.accelerator: no peak is known of `{cluster.accelerator}`"
        raise InputError(told + nearest(cluster.accelerator, list(cost.PEAK_FLOPS)))
    model_config = training.model.resolve(vocabulary)
    held = {} if corpora is None else {name: source.train_tokens for name, source in corpora.sources.items()}
    phases = tuple(_phase(training, phase, model_config, held) for phase in curriculum.phases)
    return Plan(
        name=training.name,
        vocabulary=vocabulary,
        from_corpora=corpora is not None,
        parameters=model_config.count_parameters(),
        phases=phases,
        sources=_totals(phases, held),
        accelerator=cluster.accelerator,
        peak_flops=peak,
        devices=cluster.devices,
        mfu=cluster.mfu,
        price_per_hour=cluster.price_per_hour,
    )


def _phase(training: Training, phase: PhasePlan, model_config: ModelConfig, held: Mapping[str, int]) -> PhaseCost:
    written, parallel, devices = training.curriculum[phase.index], training.parallel, training.cluster.devices
    if phase.batch_sequences % devices:
        told = (
            f"phase `{phase.name}`: a batch of {phase.batch_sequences} sequences cannot be shared evenly by {devices}"
        )
        raise InputError(f"{told} devices; change batch_tokens or cluster.devices")
    micro_batch = min(parallel.micro_batch_sequences or phase.batch_sequences, phase.batch_sequences // devices)
    tokens, ends, total = phase.steps * phase.batch_tokens, phase.cursors(phase.last_step), sum(phase.shares.values())
    sources = [
        SourcePlan(
            name=name,
            share_asked=None if written.shares is None else written.shares[name],
            share=share / total,
            tokens=ends[name] - phase.start[name],
            cursor_tokens=ends[name],
            epochs=ends[name] / held[name] if held.get(name) else None,
        )
        for name, share in phase.shares.items()
    ]
    memory = cost.device_memory(
        model_config,
        devices=devices,
        sequence_tokens=phase.sequence_tokens,
        micro_batch_sequences=micro_batch,
        bf16=parallel.precision != "fp32",
        reshard_after_forward=parallel.reshard_after_forward,
    )
    return PhaseCost(
        name=phase.name,
        steps=phase.steps,
        tokens=tokens,
        sequence_tokens=phase.sequence_tokens,
        batch_sequences=phase.batch_sequences,
        micro_batch_sequences=micro_batch,
        rate_start=phase.schedule.start,
        rate_peak=phase.schedule.peak,
        rate_end=phase.schedule.rate(phase.steps - 1),
        max_epochs=written.max_epochs,
        sources=tuple(sources),
        flops_6nd=float(cost.flops_per_token(model_config) * tokens),
        flops=float(cost.flops_per_token(model_config, phase.sequence_tokens) * tokens),
        memory=memory,
    )


def _totals(phases: Sequence[PhaseCost], held: Mapping[str, int]) -> tuple[SourceTotal, ...]:
    tokens: dict[str, int] = {}
    needed: dict[str, int] = {}
    for phase in phases:
        for source in phase.sources:
            tokens[source.name] = source.cursor_tokens
            least = max(1, int(source.cursor_tokens / phase.max_epochs))
            while int(least * phase.max_epochs) < source.cursor_tokens:  # as `resolve` asks
                least += 1
            needed[source.name] = max(least, needed.get(source.name, 0))
    return tuple(SourceTotal(name, tokens[name], needed[name], held.get(name)) for name in sorted(tokens))


def _resolved(training: Training, corpora: Corpora) -> tuple[Curriculum, InputError | None]:
    """The curriculum; where the corpora are too small for it, what it would be if they were not, and the refusal."""
    try:
        return resolve(training, corpora), None
    except InputError as refusal:
        larger = {name: _times(source, ENDLESS) for name, source in corpora.sources.items()}
        try:
            return resolve(training, replace(corpora, sources=larger)), refusal
        except InputError:
            raise refusal from None  # more is wrong than the size


def _times(source: TokenSource, times: int) -> TokenSource:
    return replace(source, train=tuple(replace(shard, tokens=shard.tokens * times) for shard in source.train))


def _thought_of(training: Training, vocabulary: int) -> Corpora:
    """Corpora that hold all that the curriculum names, and more than it reads. Raises InputError if it names none."""
    lacking = [f"phase `{phase.name}`" for phase in training.curriculum if phase.shares is None]
    if lacking:
        told = f"without a corpus every phase must state its `shares`; {', '.join(lacking)} would take"
        raise InputError(
            f"{told} them from the manifests. State them, or build the corpus and plan without --without-corpus"
        )
    if vocabulary < 1:
        raise InputError(f"--vocabulary {vocabulary}: expected the number of tokens of the tokenizer, such as 32768")
    names = {name for phase in training.curriculum for name in phase.shares or {}}
    shards = (TokenShardFile(Path(), tokens=10**12 * ENDLESS, documents=0, tokenizer=""),)
    sources = {
        name: TokenSource(name=name, chunk_tokens=1, train=shards, holdout=(), holdout_thin=False)
        for name in sorted(names)
    }
    return Corpora(sources, TokenizerFile(Path(), "", vocabulary, 0, ""), {})
