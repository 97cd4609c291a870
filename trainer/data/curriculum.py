"""The curriculum: phases checked against the corpora and resolved to steps, integer shares and cursors.

`batch(step) = f(manifests, phase, start cursors, seed, step)`: a PhasePlan holds all of these but the manifests.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from corpus.display.terminal import plain_console, print_line
from corpus.errors import InputError
from corpus.settings import nearest
from corpus.units import human_count
from trainer.config import LearningRateSettings, PhaseSettings, Training, skipped_steps
from trainer.data.corpora import Corpora
from trainer.data.cursor import Cursor, first_cursor
from trainer.data.learning_rate import RateSchedule, rate_schedule
from trainer.data.mixture import MAX_PERIOD, integer_shares, source_order
from trainer.data.reading_order import ReadingOrder, reading_order
from trainer.data.stream import ShardMaps, document_starts

LONG_PACKING = 1_000_000  # documents that take over two seconds


@dataclass(frozen=True, slots=True)
class PhasePlan:
    """A resolved phase. Steps are counted over the whole curriculum, from 1."""

    index: int
    name: str
    first_step: int
    steps: int
    sequence_tokens: int
    batch_sequences: int
    shares: Mapping[str, int]  # of the sources that it reads, sorted by name
    start: Mapping[str, Cursor]  # of all sources
    orders: Mapping[str, ReadingOrder] = field(compare=False)  # of the sources that it reads
    seed: int
    skip: tuple[range, ...]
    schedule: RateSchedule = field(compare=False)
    whole_documents: bool = False

    @property
    def last_step(self) -> int:
        """The last step, inclusive."""
        return self.first_step + self.steps - 1

    @property
    def batch_tokens(self) -> int:
        """Tokens of a whole batch."""
        return self.batch_sequences * self.sequence_tokens

    def cursors(self, step: int) -> dict[str, Cursor]:
        """Return the cursors after `step`; first_step − 1 gives those at the start. Skipped steps count as read."""
        taken = self.sequences(step)
        read = {name: order.cursor(taken[name]) for name, order in self.orders.items() if taken[name]}
        return {**self.start, **read}

    def sequences(self, step: int) -> dict[str, int]:
        """Return the number of sequences of each source from the phase's start up to `step`."""
        steps_done = step - self.first_step + 1
        assert 0 <= steps_done <= self.steps
        taken_K = source_order(tuple(self.shares.values())).taken(steps_done * self.batch_sequences)
        return dict(zip(self.shares, taken_K.tolist(), strict=True))

    def tokens_read(self, step: int) -> dict[str, int]:
        """Return the tokens read of each source up to `step`, earlier phases included."""
        return {name: cursor.tokens_read for name, cursor in self.cursors(step).items()}

    def skips(self, step: int) -> bool:
        """True if the step is skipped: no update is made, and its data counts as read."""
        return any(step in steps for steps in self.skip)


@dataclass(frozen=True, slots=True)
class Curriculum:
    """All phases, in order."""

    phases: tuple[PhasePlan, ...]

    @property
    def steps(self) -> int:
        """Steps of all phases."""
        return self.phases[-1].last_step

    def tokens(self, step: int) -> int:
        """Return the tokens of all batches up to `step`, including skipped ones."""
        return sum(phase.batch_tokens * min(phase.steps, max(0, step - phase.first_step + 1)) for phase in self.phases)

    def phase_of(self, step: int) -> PhasePlan:
        """Return the phase of a step. Raises InputError for steps outside the curriculum."""
        for phase in self.phases:
            if phase.first_step <= step <= phase.last_step:
                return phase
        raise InputError(f"step {step}: the curriculum has steps 1 to {self.steps}")

    def named(self, text: str) -> PhasePlan:
        """Return the phase with this name, or this number counted from 1. Raises InputError if there is none."""
        names = [phase.name for phase in self.phases]
        if text in names:
            return self.phases[names.index(text)]
        if text.isdecimal() and 1 <= int(text) <= len(names):
            return self.phases[int(text) - 1]
        numbered = ", ".join(f"{number} {name}" for number, name in enumerate(names, 1))
        raise InputError(f"--phase {text}: no such phase; the curriculum has {numbered}")


def resolve(training: Training, corpora: Corpora) -> Curriculum:
    """Resolve the phases. Raises InputError that lists everything that does not fit the corpora."""
    cursors = {name: first_cursor(source.train_tokens) for name, source in sorted(corpora.sources.items())}
    phases: list[PhasePlan] = []
    problems: list[str] = []
    rate: float | None = None
    first_step = 1
    for index, phase in enumerate(training.curriculum):
        steps = phase.tokens // phase.batch_tokens  # an incomplete batch is dropped
        shares, mistakes = _shares(phase, corpora)
        # The phase starts at the rate at which the previous one ended.
        try:
            schedule = rate_schedule(phase.learning_rate, steps, rate, phase.batch_tokens)
            rate = schedule.rate(steps - 1)
        except ValueError as error:
            mistakes.append(f"learning_rate: {error}")
            schedule = _fallback(phase.learning_rate, steps, rate)
            rate = schedule.end or None
        orders = _orders(phase, shares, cursors, training.seed, corpora)
        plan = PhasePlan(
            index=index,
            name=phase.name,
            first_step=first_step,
            steps=steps,
            sequence_tokens=phase.sequence_tokens,
            batch_sequences=phase.batch_tokens // phase.sequence_tokens,
            shares=shares,
            start=cursors,
            orders=orders,
            seed=training.seed,
            skip=skipped_steps(phase.skip),
            schedule=schedule,
            whole_documents=phase.whole_documents,
        )
        phases.append(plan)
        first_step += steps
        mistakes += _skip_problems(plan)
        # The next phase starts at the cursors at which this one ends.
        if shares:
            cursors = plan.cursors(plan.last_step)
            mistakes += _epoch_problems(phase, plan)
        problems += [f"phase `{phase.name}`: {text}" for text in mistakes]
    if problems:
        raise InputError(f"the curriculum of `{training.name}` does not fit its corpora\n  " + "\n  ".join(problems))
    return Curriculum(tuple(phases))


def _orders(
    phase: PhaseSettings, shares: Mapping[str, int], cursors: Mapping[str, Cursor], seed: int, corpora: Corpora
) -> dict[str, ReadingOrder]:
    """Return the order of each source that a phase reads."""
    orders, maps, documents_packed, total = dict[str, ReadingOrder](), ShardMaps(), 0, sum(shares.values())
    for name, share in shares.items():
        source = corpora.sources.get(name)
        if source and source.train:
            epochs = phase.tokens * share / total / source.train_tokens
            # Packing too many epochs would take long before they are refused.
            whole = phase.whole_documents and not corpora.are_imagined and epochs < 2 * phase.max_epochs + 1
            starts = document_starts(source, maps)
            orders[name] = reading_order(
                source.layout, seed, cursors[name], phase.sequence_tokens, starts, whole_documents=whole
            )
            documents_packed += int(epochs * sum(shard.documents for shard in source.train)) if whole else 0
    if documents_packed > LONG_PACKING and os.environ.get("RANK", "0") == "0":
        print_line(
            plain_console(stderr=True),
            f"phase `{phase.name}`: packing some {human_count(documents_packed)} documents, 3 to 4 min for 100 M",
        )
    return orders


def _fallback(settings: LearningRateSettings, steps: int, previous: float | None) -> RateSchedule:
    """Return a schedule in place of an invalid one, so that later phases are still checked."""
    rate = settings.peak or previous or 0.0
    end = rate if settings.end is None else settings.end
    return RateSchedule(rate, rate, end, steps, 0, 1, settings.shape)


def _shares(phase: PhaseSettings, corpora: Corpora) -> tuple[dict[str, int], list[str]]:
    """Return the integer shares of a phase, and the problems of its shares."""
    tokens = {name: source.train_tokens for name, source in corpora.sources.items()}
    if not any(tokens.values()):
        return {}, ["the corpora hold no training tokens; build them with a larger `mix.tokens`"]
    if phase.shares is None:
        shares = {name: Fraction(count, sum(tokens.values())) for name, count in tokens.items()}
    else:
        shares = {_full_name(name, tokens): Fraction(str(share)) for name, share in phase.shares.items()}
    problems = []
    if phase.shares and len(shares) < len(phase.shares):
        problems.append("shares: a source is named twice, with its corpus and without")
    for name, share in shares.items():
        if name not in tokens:
            problems.append(f"shares: no source `{name}`{nearest(name, sorted(tokens))}")
        elif share and not tokens[name]:
            problems.append(f"shares: source `{name}` holds no training tokens")
        if 0 < share < Fraction(1, MAX_PERIOD):
            problems.append(
                f"shares: source `{name}` has {float(share):.3g} of all tokens, and shares below 1/{MAX_PERIOD:,} are "
                "not supported; state `shares`, and omit the source or increase its share"
            )
    return integer_shares(shares), problems


def _full_name(name: str, names: Iterable[str]) -> str:
    """Return the name with its corpus, if one of several corpora alone has such a source."""
    full = [each for each in names if each.endswith(f"/{name}")]
    return full[0] if len(full) == 1 and name not in names else name


def _skip_problems(plan: PhasePlan) -> list[str]:
    inside, problems = range(plan.first_step, plan.last_step + 1), []
    for steps in plan.skip:
        if steps.start not in inside or steps.stop - 1 not in inside:
            text = f"step {steps.start}" if steps.stop - steps.start == 1 else f"steps {steps.start}-{steps.stop - 1}"
            problems.append(f"skip: {text}: this phase has steps {inside.start} to {inside.stop - 1}")
    return problems


def _epoch_problems(phase: PhaseSettings, plan: PhasePlan) -> list[str]:
    """Return the sources that would exceed max_epochs by the end of this phase."""
    problems = []
    before, after = plan.tokens_read(plan.first_step - 1), plan.tokens_read(plan.last_step)
    for name, order in plan.orders.items():
        held = order.layout.tokens
        allowed = int(held * phase.max_epochs)
        if after[name] > allowed:
            fitting = max(0, allowed - before[name])
            problems.append(
                f"source `{name}` holds {human_count(held)} training tokens; by the end of this phase "
                f"{human_count(after[name])} would be read, {after[name] / held:.4g} epochs, and max_epochs is "
                f"{phase.max_epochs:g}; build a larger corpus, raise max_epochs, or reduce this phase's tokens or the "
                f"source's share, so that the phase reads at most {human_count(fitting)} of it"
            )
    return problems
