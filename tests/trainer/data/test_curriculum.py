"""The curriculum over real shards: no repetition within an epoch, and one message for everything that does not fit."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.errors import InputError
from tests.trainer.made_corpus import (
    ON_DISK,
    Made,
    corpora_of,
    counted,
    curriculum,
    documents,
    phase,
    phase_of_steps,
    write,
)
from trainer.data.corpora import Corpora, open_corpora
from trainer.data.curriculum import Curriculum, PhasePlan
from trainer.data.loader import Batches

SPACING = 5_000  # between the first token ids of two sources: an id gives the token's source and position
SIZES = st.lists(st.lists(st.integers(1, 90), min_size=1, max_size=3), min_size=1, max_size=3)
SHAPES = st.lists(
    st.tuples(
        st.integers(1, 8),  # steps
        st.integers(2, 14),  # sequence_tokens
        st.integers(1, 6),  # sequences
        st.lists(st.integers(0, 50), min_size=2, max_size=2),  # hundredths of the second and third source
    ),
    min_size=1,
    max_size=4,
)


def made(sizes: list[list[int]]) -> dict[str, Made]:
    return {f"s{number}": counted(cuts, number * SPACING) for number, cuts in enumerate(sizes)}


def drawn(corpora: Corpora, shapes: list[tuple[int, int, int, list[int]]], **written: object) -> Curriculum:
    phases = []
    for number, (steps, width, rows, parts) in enumerate(shapes):
        others = dict(zip(list(corpora.sources)[1:], parts, strict=False))
        shares = {"s0": (100 - sum(others.values())) / 100, **{name: part / 100 for name, part in others.items()}}
        phases.append(phase_of_steps(steps, width, rows, f"p{number}", shares=shares, **written))
    return curriculum(corpora, *phases)


def read(corpora: Corpora, plans: tuple[PhasePlan, ...]) -> dict[str, list[int]]:
    """Return the position in its source of each input token, in reading order."""
    found: dict[str, list[int]] = {name: [] for name in corpora.sources}
    for plan in plans:
        batches = Batches(corpora, plan)
        for batch in batches.iterate(plan.first_step, prefetch=False):
            rows = zip(batches.rows(batch.step), batch.inputs_BT.tolist(), strict=True)
            for (_, name, sequence), inputs_T in rows:
                held = sum(piece.last - piece.first for _, piece in batches.streams[name].slices(sequence))
                found[name] += [token - SPACING * int(name[1:]) for token in inputs_T[:held]]
    return found


@ON_DISK
@given(SIZES, st.integers(1, 40), SHAPES)
def test_no_token_repeats_within_an_epoch_across_phases(
    sizes: list[list[int]], chunk: int, shapes: list[tuple[int, int, int, list[int]]]
) -> None:
    """Phases differ in sequence length, batch and shares. Fails if a phase restarts its sources (ignores its start
    cursors), if cursors count sequences, or if the permutation's key includes the phase."""
    with corpora_of(made(sizes), chunk_tokens=chunk) as corpora:
        resolved = drawn(corpora, shapes)
        found = read(corpora, resolved.phases)
        assert {name: len(places) for name, places in found.items()} == resolved.phases[-1].tokens_read(resolved.steps)
        for name, places in found.items():
            tokens = corpora.sources[name].train_tokens
            for first in range(0, len(places), tokens):
                epoch = places[first : first + tokens]
                assert len(set(epoch)) == len(epoch)
                assert set(epoch) <= set(range(tokens))


@ON_DISK
@given(SIZES, st.integers(1, 40), SHAPES, st.sampled_from([0.5, 1.0, 1.5]))
def test_max_epochs_limits_the_epochs_of_each_source(
    sizes: list[list[int]], chunk: int, shapes: list[tuple[int, int, int, list[int]]], most: float
) -> None:
    """Fails if only the tokens of the phase itself count towards `max_epochs`."""
    with corpora_of(made(sizes), chunk_tokens=chunk) as corpora:
        free = drawn(corpora, shapes).phases
        over = {
            (plan.name, name)
            for plan in free
            for name in plan.shares
            if plan.tokens_read(plan.last_step)[name] > most * corpora.sources[name].train_tokens
        }
        try:
            resolved = drawn(corpora, shapes, max_epochs=most)
        except InputError as error:
            told = str(error).splitlines()[1:]
            assert {(line.split("`")[1], line.split("`")[3]) for line in told} == over
        else:
            assert not over
            for name, places in read(corpora, resolved.phases).items():
                seen = Counter(places)
                assert not seen or (max(seen.values()) <= 1 + (most > 1))
                assert len(places) <= most * corpora.sources[name].train_tokens


@ON_DISK
@given(SIZES, SHAPES, st.data())
def test_cursors_equal_the_tokens_read_so_far(
    sizes: list[list[int]], shapes: list[tuple[int, int, int, list[int]]], data: st.DataObject
) -> None:
    """Fails if cursors(step) excludes the step itself, or skipped steps."""
    with corpora_of(made(sizes), chunk_tokens=8) as corpora:
        resolved = drawn(corpora, shapes)
        step = data.draw(st.integers(1, resolved.steps), label="step")
        plan = resolved.phase_of(step)
        before = plan.tokens_read(plan.first_step - 1)
        until = replace(plan, steps=step - plan.first_step + 1)
        counts = {name: before[name] + len(places) for name, places in read(corpora, (until,)).items()}
        assert plan.tokens_read(step) == counts
        assert plan.cursors(plan.first_step - 1) == dict(plan.start)


@pytest.fixture
def corpora(tmp_path: Path) -> Corpora:
    sources = {"books": counted([600, 400]), "empty": Made([], documents([[5]]).train), "web": counted([3_000], 2_000)}
    return open_corpora({"main": str(write(tmp_path / "build", sources))})


def told(corpora: Corpora, *phases: dict[str, object]) -> list[str]:
    with pytest.raises(InputError) as caught:
        curriculum(corpora, *phases)
    heading, *lines = str(caught.value).splitlines()
    assert heading == "the curriculum of `made` does not fit its corpora"
    return [line.removeprefix("  ") for line in lines]


def test_steps_and_cursors_continue_across_phases(corpora: Corpora) -> None:
    """Fails if steps restart in each phase, or if an incomplete batch becomes a step."""
    shares = {"books": 0.25, "web": 0.75}
    resolved = curriculum(
        corpora,
        phase("broad", tokens=1_099, sequence_tokens=10, batch_tokens=50, shares=shares),
        phase("fine", tokens=400, sequence_tokens=20, batch_tokens=40, shares={"books": 1.0, "web": 0.0}),
        seed=3,
    )
    broad, fine = resolved.phases
    assert [(plan.index, plan.name, plan.first_step, plan.steps, plan.last_step) for plan in resolved.phases] == [
        (0, "broad", 1, 21, 21),
        (1, "fine", 22, 10, 31),
    ]
    assert (broad.batch_sequences, broad.batch_tokens, fine.batch_sequences, resolved.steps) == (5, 50, 2, 31)
    assert (broad.shares, fine.shares) == ({"books": 1, "web": 3}, {"books": 1})
    assert broad.tokens_read(0) == {"books": 0, "empty": 0, "web": 0}
    start = fine.tokens_read(21)
    assert start == broad.tokens_read(21)
    assert sum(start.values()) == 1_050 and abs(start["books"] - 262) <= 10
    assert fine.tokens_read(31) == {**start, "books": start["books"] + 400}
    assert (broad.seed, fine.seed) == (3, 3)
    assert [resolved.phase_of(step).name for step in (1, 21, 22, 31)] == ["broad", "broad", "fine", "fine"]
    for step in (0, 32):
        with pytest.raises(InputError, match=f"step {step}: the curriculum has steps 1 to 31"):
            resolved.phase_of(step)
    assert [resolved.named(written).name for written in ("fine", "1", "2")] == ["fine", "broad", "fine"]
    for written in ("0", "3", "brod"):
        with pytest.raises(InputError, match=f"--phase {written}: no such phase; the curriculum has 1 broad, 2 fine"):
            resolved.named(written)


def test_default_shares_are_proportional_to_training_tokens(corpora: Corpora) -> None:
    """Fails if default shares are equal, or if a source without tokens gets a share."""
    plan = curriculum(corpora, phase_of_steps(2, 8, 4)).phases[0]
    assert plan.shares == {"books": 1, "web": 3}


def test_shares_of_a_ten_millionth_are_exact_and_smaller_ones_refused(corpora: Corpora) -> None:
    """Fails if shares are compared or rounded as floats."""
    plan = curriculum(corpora, phase_of_steps(2, 8, 4, shares={"books": 1e-7, "web": 0.9999999})).phases[0]
    assert plan.shares == {"books": 1, "web": 9_999_999}
    assert told(corpora, phase_of_steps(2, 8, 4, "rare", shares={"books": 9e-8, "web": 0.99999991})) == [
        "phase `rare`: shares: source `books` has 9e-08 of all tokens, and shares below 1/10,000,000 are not "
        "supported; state `shares`, and omit the source or increase its share"
    ]


def test_every_problem_is_reported_with_its_numbers(corpora: Corpora) -> None:
    """Fails if the check stops at the first problem, or at the first phase with one."""
    lines = told(
        corpora,
        phase_of_steps(10, 10, 20, "one", max_epochs=1, shares={"boks": 0.5, "empty": 0.1, "web": 0.4}),
        phase_of_steps(
            10, 10, 20, "two", max_epochs=1, shares={"books": 0.6, "web": 0.4}, skip=["3", "11-12", "20-21"]
        ),
        phase_of_steps(8, 10, 20, "three", max_epochs=1.5, shares={"web": 1.0}, learning_rate={"peak": 2e-3}),
    )
    assert lines == [
        "phase `one`: shares: no source `boks`; did you mean `books`?",
        "phase `one`: shares: source `empty` holds no training tokens",
        "phase `two`: skip: step 3: this phase has steps 11 to 20",
        "phase `two`: skip: steps 20-21: this phase has steps 11 to 20",
        "phase `two`: source `books` holds 1,000 training tokens; by the end of this phase 1,200 would be read, 1.2 "
        "epochs, and max_epochs is 1; build a larger corpus, raise max_epochs, or reduce this phase's tokens or "
        "the source's share, so that the phase reads at most 1,000 of it",
        "phase `three`: learning_rate: the previous phase ends at a rate of 0.001, and this one starts at 0.002; "
        "remove `peak` to join them, add a `warmup`, or set `jump: true`",
    ]


def test_later_phases_are_checked_after_an_invalid_learning_rate(corpora: Corpora) -> None:
    """Fails if a phase with an invalid schedule is omitted: steps and cursors of later phases would be wrong."""
    shares = {"books": 1.0}
    lines = told(
        corpora,
        phase_of_steps(40, 10, 2, "one", max_epochs=1, shares=shares, learning_rate={}),
        phase_of_steps(15, 10, 2, "two", max_epochs=1, shares=shares, skip=["41-55"]),
    )
    assert [line.split(";")[0] for line in lines] == [
        "phase `one`: learning_rate: `peak` is required: no earlier phase ends at a rate above 0",
        "phase `two`: source `books` holds 1,000 training tokens",
    ]


def test_corpora_without_training_tokens_are_rejected(tmp_path: Path) -> None:
    """Fails if they resolve to phases that read nothing."""
    folder = write(tmp_path / "build", {"empty": Made([], documents([[5]]).train)})
    lines = told(open_corpora({"main": str(folder)}), phase_of_steps(2, 8, 4))
    assert lines == ["phase `all`: the corpora hold no training tokens; build them with a larger `mix.tokens`"]


def test_max_epochs_can_be_a_fraction_and_reached_exactly(corpora: Corpora) -> None:
    """Fails if the last allowed token is rejected."""
    fits = phase(tokens=1_500, sequence_tokens=10, batch_tokens=30, shares={"books": 1.0}, max_epochs=1.5)
    assert curriculum(corpora, fits).phases[0].tokens_read(50)["books"] == 1_500
    assert "1,530 would be read, 1.53 epochs" in told(corpora, {**fits, "tokens": 1_530})[0]


def test_skipped_steps(corpora: Corpora) -> None:
    plan = curriculum(corpora, phase_of_steps(9, 8, 4, skip=[3, "5-6"])).phases[0]
    assert [step for step in range(1, 10) if plan.skips(step)] == [3, 5, 6]


def test_a_range_of_steps_to_skip_may_be_longer_than_memory(corpora: Corpora) -> None:
    (problem,) = told(corpora, phase_of_steps(9, 8, 4, "one", skip=[f"3-{10**20}"]))
    assert problem.endswith(f"steps 3-{10**20}: this phase has steps 1 to 9")


def test_epochs_beyond_the_limit_are_refused_without_packing(corpora: Corpora) -> None:
    """Fails by taking hours: a million epochs would be packed before they are refused."""
    asked = phase("all", tokens=10**12, sequence_tokens=8, batch_tokens=8, shares={"books": 1}, whole_documents=True)
    with pytest.raises(InputError, match="max_epochs is 1"):
        curriculum(corpora, asked)
