"""The learning rate: phases join, warm-up reaches the peak, decay reaches the end, and a jump must be requested."""

from math import cos, pi

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from trainer.config import LearningRateSettings
from trainer.data.learning_rate import rate_schedule

RATES = st.floats(1e-6, 1.0)
SHARES = st.sampled_from([0.0, 0.001, 0.1, 0.25, 0.5])
WRITTEN = st.builds(
    LearningRateSettings,
    peak=RATES,
    warmup=SHARES,
    decay=SHARES,
    end=st.none(),
    shape=st.sampled_from(["cosine", "linear"]),
)


def near(found: float, expected: float) -> bool:
    return abs(found - expected) <= 1e-12


@given(WRITTEN, RATES | st.just(0.0), st.integers(2, 500), st.none() | RATES)
def test_warmup_ends_at_the_peak_and_the_last_step_at_the_end(
    written: LearningRateSettings, end: float, steps: int, before: float | None
) -> None:
    """Fails if the decay ends one step late (`done = 1 - (steps_left + 1) / decay_steps`), or the warm-up does."""
    decaying = written.model_copy(update={"end": end if written.decay else None, "jump": True})
    plan = rate_schedule(decaying, steps, before)
    assert plan.warmup_steps + plan.decay_steps <= steps
    assert bool(plan.warmup_steps) == bool(written.warmup) and bool(plan.decay_steps) == bool(written.decay)
    if plan.warmup_steps:
        assert near(plan.rate(plan.warmup_steps - 1), plan.peak)
    assert near(plan.rate(steps - 1), end if written.decay else plan.peak)
    rates = [plan.rate(step) for step in range(steps)]
    flat = rates[plan.warmup_steps : steps - plan.decay_steps]
    assert all(rate == plan.peak for rate in flat)
    low, high = min(plan.start, plan.peak, plan.end), max(plan.start, plan.peak, plan.end)
    assert all(low - 1e-12 <= rate <= high + 1e-12 for rate in rates)


@given(st.lists(st.tuples(WRITTEN, st.integers(2, 200)), min_size=2, max_size=5))
def test_phases_join(phases: list[tuple[LearningRateSettings, int]]) -> None:
    """The first rate of a phase is the last rate of the previous one, to 1e-12, or one warm-up step from it.

    Fails if a phase without `peak` starts at the previous phase's peak and not at its last rate.
    """
    before: float | None = None
    for number, (written, steps) in enumerate(phases):
        joined = written.model_copy(
            update={
                "peak": None if number and not written.warmup else written.peak,
                "end": written.peak / 3 if written.decay else None,
            }
        )
        plan = rate_schedule(joined, steps, before)
        if before is not None:
            assert near(plan.start, before)
            first = plan.rate(0)
            if plan.warmup_steps:
                assert near(first - before, (plan.peak - before) / plan.warmup_steps)
            elif plan.decay_steps < steps:
                assert near(first, before)
        before = plan.rate(steps - 1)


@given(RATES, RATES, st.integers(2, 100))
def test_a_jump_needs_the_jump_setting(before: float, peak: float, steps: int) -> None:
    """Fails if a peak that differs from the previous rate is accepted."""
    assume(abs(before - peak) > 1e-8 * before)
    with pytest.raises(ValueError, match=r"ends at a rate of .* this one starts at .*remove `peak` .*`jump: true`"):
        rate_schedule(LearningRateSettings(peak=peak), steps, before)
    assert rate_schedule(LearningRateSettings(peak=peak, jump=True), steps, before).rate(0) == peak
    assert near(rate_schedule(LearningRateSettings(peak=peak, warmup=0.5), steps, before).start, before)
    assert rate_schedule(LearningRateSettings(peak=before), steps, before).rate(0) == before


def test_rates_of_a_small_schedule() -> None:
    """Fails if cosine and linear are swapped, or if steps are counted from 1."""
    warm = rate_schedule(LearningRateSettings(peak=1.0, warmup=0.4, decay=0.4, end=0.0, shape="linear"), 10, None)
    assert [round(warm.rate(step), 12) for step in range(10)] == [0.25, 0.5, 0.75, 1, 1, 1, 0.75, 0.5, 0.25, 0]
    wave = rate_schedule(LearningRateSettings(decay=1.0, end=0.1), 4, 0.5)
    assert [wave.rate(step) for step in range(4)] == pytest.approx(
        [0.1 + 0.4 * (1 + cos(pi * done)) / 2 for done in (0.25, 0.5, 0.75, 1)], abs=1e-15
    )


def test_the_first_phase_needs_a_peak_and_starts_there_or_warms_up_from_0() -> None:
    with pytest.raises(ValueError, match="`peak` is required: no earlier phase ends at a rate above 0"):
        rate_schedule(LearningRateSettings(), 10, None)
    with pytest.raises(ValueError, match="`peak` is required"):
        rate_schedule(LearningRateSettings(), 10, 0.0)
    assert rate_schedule(LearningRateSettings(peak=0.5), 10, None).rate(0) == 0.5
    assert rate_schedule(LearningRateSettings(peak=0.5, warmup=0.5), 10, None).rate(0) == 0.1
    assert rate_schedule(LearningRateSettings(peak=0.5, warmup=0.5), 10, 0.0).rate(0) == 0.1


@pytest.mark.parametrize(("warmup", "decay"), [(0.96, 0.04), (0.04, 0.96), (0.5, 0.5), (1.0, 0.0), (0.0, 1.0)])
def test_warmup_and_decay_have_at_least_one_step_each(warmup: float, decay: float) -> None:
    """Fails if rounding gives the warm-up all steps of a phase with a decay."""
    for steps in range(2, 40):
        plan = rate_schedule(LearningRateSettings(peak=1.0, warmup=warmup, decay=decay), steps, None)
        assert (plan.warmup_steps >= 1, plan.decay_steps >= 1) == (warmup > 0, decay > 0)
        assert plan.warmup_steps + plan.decay_steps <= steps


def test_one_step_cannot_hold_warmup_and_decay() -> None:
    with pytest.raises(ValueError, match="1 step cannot hold both a warm-up and a decay"):
        rate_schedule(LearningRateSettings(peak=1.0, warmup=0.5, decay=0.5), 1, None)


@given(st.integers(2, 500), st.integers(1, 10), st.integers(1, 500), st.integers(0, 500))
def test_a_warmup_in_tokens_does_not_depend_on_the_length_of_the_phase(
    steps: int, batch_tokens: int, warmup: int, more: int
) -> None:
    """So a phase whose length changes keeps the rates of its first steps. Fails if they are taken as a share."""
    assume(warmup <= steps)
    written = LearningRateSettings(peak=0.5, warmup=warmup * batch_tokens)
    assume(written.warmup > 1)
    short, long = (rate_schedule(written, length, None, batch_tokens) for length in (steps, steps + more))
    assert short.warmup_steps == long.warmup_steps == warmup
    assert [short.rate(step) for step in range(steps)] == [long.rate(step) for step in range(steps)]


def test_a_decay_in_tokens_ends_with_the_phase() -> None:
    plan = rate_schedule(LearningRateSettings(peak=1.0, decay=60.0, end=0.0, shape="linear"), 6, None, 20)
    assert [round(plan.rate(step), 12) for step in range(6)] == [1, 1, 1, round(2 / 3, 12), round(1 / 3, 12), 0]
