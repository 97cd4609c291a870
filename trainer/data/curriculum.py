"""The curriculum: phases checked against the corpora, and resolved to steps, integer shares and cursors.

`batch(step) = f(manifests, phase, start cursors, seed, step)`; a PhasePlan is all of the right-hand side but the
manifests. A cursor is how many tokens of a source's stream have been read since the curriculum began.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from corpus.errors import InputError
from corpus.settings import nearest
from corpus.units import human_count
from trainer.config import LearningRateSettings, PhaseSettings, Training, skipped_steps
from trainer.data.corpora import Corpora
from trainer.data.learning_rate import RateSchedule, schedule
from trainer.data.mixture import MAX_PERIOD, integer_shares, order


@dataclass(frozen=True, slots=True)
class PhasePlan:
    """A phase, resolved. Steps are counted over the whole curriculum, from 1; after step N, N have been done."""

    index: int
    name: str
    first_step: int
    steps: int
    sequence_tokens: int
    batch_sequences: int
    shares: Mapping[str, int]  # of the sources that it reads, in the order of their names
    start: Mapping[str, int]  # cursors of all sources when it begins
    seed: int
    skip: tuple[range, ...]
    schedule: RateSchedule = field(compare=False)

    @property
    def last_step(self) -> int:
        """Its last step, which is in it."""
        return self.first_step + self.steps - 1

    @property
    def batch_tokens(self) -> int:
        """Tokens of a whole batch."""
        return self.batch_sequences * self.sequence_tokens

    def cursors(self, step: int) -> dict[str, int]:
        """The cursors after `step` (first_step − 1: at the phase's start). Skipped steps count as read."""
        done = step - self.first_step + 1
        assert 0 <= done <= self.steps
        taken = order(tuple(self.shares.values())).taken(done * self.batch_sequences)
        read = dict(zip(self.shares, (taken * self.sequence_tokens).tolist(), strict=True))
        return {name: cursor + read.get(name, 0) for name, cursor in self.start.items()}

    def skips(self, step: int) -> bool:
        """Whether the step is passed over, without reading or learning anything."""
        return any(step in steps for steps in self.skip)


@dataclass(frozen=True, slots=True)
class Curriculum:
    """All phases, in order."""

    phases: tuple[PhasePlan, ...]

    @property
    def steps(self) -> int:
        """Of all phases."""
        return self.phases[-1].last_step

    def tokens(self, step: int) -> int:
        """Tokens of all batches up to `step`, skipped ones with them."""
        return sum(phase.batch_tokens * min(phase.steps, max(0, step - phase.first_step + 1)) for phase in self.phases)

    def phase_of(self, step: int) -> PhasePlan:
        """The phase in which the step lies. Raises InputError beyond the last."""
        for phase in self.phases:
            if phase.first_step <= step <= phase.last_step:
                return phase
        raise InputError(f"step {step}: the curriculum has steps 1 to {self.steps}")

    def named(self, written: str) -> PhasePlan:
        """The phase of that name, or number counted from 1. Raises InputError if there is none."""
        names = [phase.name for phase in self.phases]
        if written in names:
            return self.phases[names.index(written)]
        if written.isdecimal() and 1 <= int(written) <= len(names):
            return self.phases[int(written) - 1]
        numbered = ", ".join(f"{number} {name}" for number, name in enumerate(names, 1))
        raise InputError(f"--phase {written}: no such phase; the curriculum has {numbered}")


def steps_of(phase: PhaseSettings) -> int:
    """Whole batches that fit in the phase's tokens."""
    return phase.tokens // phase.batch_tokens


def resolve(training: Training, corpora: Corpora) -> Curriculum:
    """Checks the phases against the corpora. Raises InputError with all that the corpora cannot feed."""
    cursors = dict.fromkeys(sorted(corpora.sources), 0)
    phases: list[PhasePlan] = []
    problems: list[str] = []
    rate: float | None = None
    done = 0
    for index, phase in enumerate(training.curriculum):
        shares, unknown = _shares(phase, corpora)
        problems += [f"phase `{phase.name}`: {text}" for text in unknown]
        steps = steps_of(phase)
        try:
            planned = schedule(phase.learning_rate, steps, rate)
            rate = planned.rate(steps - 1)
        except ValueError as error:
            problems.append(f"phase `{phase.name}`: learning_rate: {error}")
            planned = _flat(phase.learning_rate, steps, rate)
            rate = planned.end or None
        plan = PhasePlan(
            index=index,
            name=phase.name,
            first_step=done + 1,
            steps=steps,
            sequence_tokens=phase.sequence_tokens,
            batch_sequences=phase.batch_tokens // phase.sequence_tokens,
            shares=shares,
            start=cursors,
            seed=training.seed,
            skip=skipped_steps(phase.skip),
            schedule=planned,
        )
        problems += [f"phase `{phase.name}`: {text}" for text in _skip_problems(plan)]
        phases.append(plan)
        done += steps
        if shares:
            cursors = plan.cursors(plan.last_step)
            problems += _overdrawn(phase, plan, corpora, cursors)
    if problems:
        raise InputError(f"the curriculum of `{training.name}` does not fit its corpora\n  " + "\n  ".join(problems))
    return Curriculum(tuple(phases))


def _flat(written: LearningRateSettings, steps: int, before: float | None) -> RateSchedule:
    """In place of a schedule that cannot be, so that what follows is checked as well."""
    rate = written.peak or before or 0.0
    end = rate if written.end is None else written.end
    return RateSchedule(rate, rate, end, steps, 0, 1, written.shape)


def _shares(phase: PhaseSettings, corpora: Corpora) -> tuple[dict[str, int], list[str]]:
    """Integer shares, and what is wrong with those written."""
    there = {name: source.train_tokens for name, source in corpora.sources.items()}
    if not any(there.values()):
        return {}, ["the corpora hold no training tokens; build them with a larger `mix.tokens`"]
    shares = {name: tokens / sum(there.values()) for name, tokens in there.items()}
    shares = shares if phase.shares is None else phase.shares
    problems = [f"shares: no source `{name}`{nearest(name, sorted(there))}" for name in shares if name not in there]
    problems += [
        f"shares: source `{name}` holds no training tokens"
        for name, share in shares.items()
        if share and there.get(name) == 0
    ]
    problems += [
        f"shares: source `{name}` has {share:.3g} of all tokens, and less than 1/{MAX_PERIOD:,} cannot be kept; state "
        "`shares`, and leave it away there or give it more"
        for name, share in shares.items()
        if 0 < share < 1 / MAX_PERIOD
    ]
    return integer_shares(shares), problems


def _skip_problems(plan: PhasePlan) -> list[str]:
    inside, problems = range(plan.first_step, plan.last_step + 1), []
    for steps in plan.skip:
        if steps.start not in inside or steps.stop - 1 not in inside:
            found = f"step {steps.start}" if len(steps) == 1 else f"steps {steps.start}-{steps.stop - 1}"
            problems.append(f"skip: {found}: this phase has steps {inside.start} to {inside.stop - 1}")
    return problems


def _overdrawn(phase: PhaseSettings, plan: PhasePlan, corpora: Corpora, cursors: Mapping[str, int]) -> list[str]:
    """Sources of which more is asked, up to the end of this phase, than max_epochs allows."""
    problems = []
    for name in plan.shares:
        holds = corpora.sources[name].train_tokens if name in corpora.sources else 0
        if not holds:
            continue  # told with the shares
        most = int(holds * phase.max_epochs)
        if cursors[name] > most:
            before = plan.start[name]
            fits = max(0, most - before) / max(1, cursors[name] - before)
            problems.append(
                f"phase `{phase.name}`: source `{name}` holds {human_count(holds)} training tokens; by the end of this "
                f"phase {human_count(cursors[name])} would be read, {cursors[name] / holds:.4g} epochs, and max_epochs "
                f"is {phase.max_epochs:g}; build a larger corpus, raise max_epochs, or take {fits:.1%} of this phase's "
                "tokens or of the source's share"
            )
    return problems
