"""Plan of a training run: tokens read, FLOPs, memory, time and cost, computed before a GPU is rented."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from corpus.errors import CorpusError, InputError
from corpus.settings import Json, nearest
from trainer.config import CheckpointSettings, Training
from trainer.data.corpora import Corpora
from trainer.data.curriculum import Curriculum, PhasePlan
from trainer.data.learning_rate import RateSchedule
from trainer.data.stream import ShardMaps, document_starts
from trainer.engine.micro_batch import USABLE_SHARE, MicroBatches, choose_micro_batches, computation
from trainer.inspect.contexts import Contexts, contexts, problems
from trainer.model import cost
from trainer.model.family import ModelConfig, Parameters
from trainer.model.memory import Memory


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """Tokens that a phase reads of one source."""

    name: str
    share_asked: float | None  # None: in proportion to the manifests' training tokens
    share: float  # actual share, in whole sequences
    tokens: int
    cursor_tokens: int  # read at the end of the phase, including earlier phases
    epochs: float | None  # the same in epochs; None without a corpus


@dataclass(frozen=True, slots=True)
class PhaseCost:
    """Tokens, FLOPs and memory of a phase. Skipped steps count like the others."""

    name: str
    steps: int
    tokens: int
    sequence_tokens: int
    batch_sequences: int
    micro_batch_sequences: int
    rate_start: float
    rate_peak: float
    rate_end: float
    schedule: RateSchedule
    max_epochs: float
    sources: tuple[SourcePlan, ...]
    flops_6nd: float
    flops: float  # including attention
    memory: Memory
    contexts: Mapping[str, Contexts] | None  # of each source; None without a corpus
    context_problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SourceTotal:
    """A source over the whole curriculum."""

    name: str
    tokens: int
    needed_tokens: int  # the least that keeps each phase within its max_epochs
    held_tokens: int | None  # training tokens in the corpora; None without a corpus


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """Results of `trainer plan`. Totals are over all phases."""

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
    tokens: int
    tokens_per_parameter: float  # compare to Chinchilla's 20: all parameters count, as in Hoffmann et al. 2022
    flops_6nd: float
    flops: float  # including attention
    device_memory_bytes: int  # that the largest phase takes
    usable_memory_bytes: int | None  # of a device; None if its memory is unknown
    fits: bool
    memory_text: str  # the same in words, with settings that would help
    checkpoint_bytes: int  # of one
    checkpoints: int  # most on disk at a time, with the one being written
    device_hours: float  # from `flops`, at `mfu` of the peak
    days: float  # on all devices
    price: float | None

    def to_json(self) -> dict[str, Json]:
        """Return all figures, with units in the names."""
        parts = self.parameters
        counts = {"total": parts.total, "non_embedding": parts.non_embedding, "multiplied": parts.multiplied}
        return {
            **asdict(self),
            "parameters": asdict(parts) | counts,
            "chinchilla_tokens_per_parameter": cost.CHINCHILLA_TOKENS,
        }


def make_plan(training: Training, curriculum: Curriculum, corpora: Corpora, from_corpora: bool = True) -> TrainingPlan:
    """Compute the plan of a resolved curriculum. Raises InputError if the cluster cannot run it.

    Without `from_corpora`, only the vocabulary of `corpora` counts, and not how many tokens they hold.
    """
    cluster, vocabulary = training.cluster, corpora.tokenizer.vocabulary
    peak = cost.peak_flops(cluster.accelerator)
    if peak is None:
        suggestion = nearest(cluster.accelerator, list(cost.PEAK_FLOPS))
        raise InputError(f"cluster.accelerator: unknown accelerator `{cluster.accelerator}`{suggestion}")
    config = training.model.resolve(vocabulary)
    parameters = config.count_parameters()
    held = {name: source.train_tokens for name, source in corpora.sources.items()} if from_corpora else {}
    for phase in curriculum.phases:
        if phase.batch_sequences % cluster.devices:
            raise InputError(
                f"phase `{phase.name}`: a batch of {phase.batch_sequences} sequences cannot be shared evenly by "
                f"{cluster.devices} devices; change batch_tokens or cluster.devices"
            )
    micro = _micro_batches(training, curriculum, config)
    # First each phase, then the totals.
    phases = tuple(_phase_cost(training, phase, config, held, micro, corpora) for phase in curriculum.phases)
    tokens, flops = sum(phase.tokens for phase in phases), sum(phase.flops for phase in phases)
    device_hours = cost.device_hours(flops, peak, cluster.mfu)
    return TrainingPlan(
        name=training.name,
        vocabulary=vocabulary,
        from_corpora=from_corpora,
        parameters=parameters,
        phases=phases,
        sources=_source_totals(phases, held),
        peak_flops=peak,
        **cluster.model_dump(),
        tokens=tokens,
        tokens_per_parameter=tokens / parameters.total,
        flops_6nd=sum(phase.flops_6nd for phase in phases),
        flops=flops,
        device_memory_bytes=micro.peak_bytes,
        usable_memory_bytes=micro.usable_bytes,
        fits=micro.fits,
        memory_text=micro.describe(),
        checkpoint_bytes=cost.CHECKPOINT_BYTES * parameters.total,
        checkpoints=_most_checkpoints(training.checkpoint, curriculum),
        device_hours=device_hours,
        days=device_hours / cluster.devices / 24,
        price=None if cluster.price_per_hour is None else device_hours * cluster.price_per_hour,
    )


def _most_checkpoints(settings: CheckpointSettings, curriculum: Curriculum) -> int:
    kept_by_steps = curriculum.steps // settings.keep_every_steps if settings.keep_every_steps else 0
    return len(curriculum.phases) + settings.keep + kept_by_steps + 1


def _micro_batches(training: Training, curriculum: Curriculum, config: ModelConfig) -> MicroBatches:
    cluster, bf16 = training.cluster, training.parallel.precision != "fp32"
    memory = cost.memory_bytes(cluster.accelerator)
    usable = None if memory is None else int(memory * USABLE_SHARE)
    how = computation(training, cluster.devices, bf16=bf16, on_cpu=False)
    return choose_micro_batches(training, curriculum, config, how, usable)


def _phase_cost(
    training: Training,
    phase: PhasePlan,
    config: ModelConfig,
    held: Mapping[str, int],
    micro: MicroBatches,
    corpora: Corpora,
) -> PhaseCost:
    settings = training.curriculum[phase.index]
    measured, context_problems = _contexts(phase, corpora)
    tokens, total_share = phase.steps * phase.batch_tokens, sum(phase.shares.values())
    asked = settings.shares
    before, after = phase.tokens_read(phase.first_step - 1), phase.tokens_read(phase.last_step)
    sources = [
        SourcePlan(
            name=name,
            share_asked=None if asked is None else asked.get(name, asked.get(name.rpartition("/")[2])),
            share=share / total_share,
            tokens=after[name] - before[name],
            cursor_tokens=after[name],
            epochs=after[name] / held[name] if held.get(name) else None,
        )
        for name, share in phase.shares.items()
    ]
    return PhaseCost(
        name=phase.name,
        steps=phase.steps,
        tokens=tokens,
        sequence_tokens=phase.sequence_tokens,
        batch_sequences=phase.batch_sequences,
        micro_batch_sequences=micro.sequences[phase.index],
        rate_start=phase.schedule.start,
        rate_peak=phase.schedule.peak,
        rate_end=phase.schedule.rate(phase.steps - 1),
        schedule=phase.schedule,
        max_epochs=settings.max_epochs,
        sources=tuple(sources),
        flops_6nd=float(cost.flops_per_token(config) * tokens),
        flops=float(cost.flops_per_token(config, phase.sequence_tokens) * tokens),
        memory=micro.memory[phase.index],
        contexts=measured,
        context_problems=tuple(context_problems),
    )


def _contexts(phase: PhasePlan, corpora: Corpora) -> tuple[dict[str, Contexts] | None, list[str]]:
    """Return the contexts of a phase and their problems; without shards, only that they are unknown."""
    is_larger = any(order.layout != corpora.sources[name].layout for name, order in phase.orders.items())
    if corpora.are_imagined or is_larger:  # than the corpora: planned for one that would be large enough
        return None, []
    maps = ShardMaps()
    try:
        found = contexts(phase, {name: document_starts(corpora.sources[name], maps) for name in phase.orders})
    except CorpusError as error:
        return None, [f"phase `{phase.name}`: its contexts are unknown: {error}"]
    return found, problems(phase, found)


def _source_totals(phases: Sequence[PhaseCost], held: Mapping[str, int]) -> tuple[SourceTotal, ...]:
    tokens: dict[str, int] = {}
    needed: dict[str, int] = {}
    for phase in phases:
        for source in phase.sources:
            tokens[source.name] = source.cursor_tokens
            least = max(1, int(source.cursor_tokens / phase.max_epochs))
            while int(least * phase.max_epochs) < source.cursor_tokens:  # the same rounding as in `resolve`
                least += 1
            needed[source.name] = max(least, needed.get(source.name, 0))
    return tuple(SourceTotal(name, tokens[name], needed[name], held.get(name)) for name in sorted(tokens))
