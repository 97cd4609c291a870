"""Resuming: the checkpoint to continue from, checks that it fits the settings and corpora, and its model."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from pydantic import JsonValue

from corpus.errors import InputError
from trainer.data.curriculum import PhasePlan
from trainer.data.cursor import Cursor
from trainer.engine.branch import Branch, branch_of_last_start
from trainer.engine.checkpoint import CHECKPOINTS, Checkpoints, find_checkpoint
from trainer.engine.checkpoint_state import BranchOrigin, CheckpointState, CorpusState, read_state
from trainer.engine.distributed import Distributed, Precision, chosen_precision, compile_blocks, shard
from trainer.engine.recompute import recompute_blocks
from trainer.engine.run_setup import ENDS, STARTS, RunSetup, recorded_lines
from trainer.engine.start_notes import option_to_end, start_notes
from trainer.model.transformer import Transformer, build_transformer, initialize


@dataclass(frozen=True, slots=True)
class RunStart:
    """The checkpoint to start from, and the phases to train."""

    checkpoint: Path | None
    state: CheckpointState | None
    phases: tuple[PhasePlan, ...]  # the first one may be partly done; empty if nothing is left
    branch: Branch | None = None  # the checkpoint is of another run
    notes: tuple[str, ...] = ()  # for the user, about changes since the checkpoint

    @property
    def step(self) -> int:
        """Steps done."""
        return self.state.step if self.state else 0


def find_start(
    setup: RunSetup,
    checkpoints: Checkpoints,
    only: PhasePlan | None,
    other_corpus: bool,
    branch: Branch | None = None,
) -> RunStart:
    """Continue from the last checkpoint, or begin with that of another run; `only` limits the run to one phase.

    Raises InputError if the phase before `only` is not done, or if the checkpoint does not fit the settings. A
    different corpus is an error unless `other_corpus`.
    """
    latest = checkpoints.latest()
    state = read_state(latest) if latest else None
    if branch is not None and state is not None:
        branch.check_is_origin(state, setup.folder)
        branch = None
    elif state is None and (branch := branch or branch_of_last_start(setup.folder)):
        latest, state = branch.open()
    if state is None:
        _refuse_lost_checkpoints(setup.folder)
    phases, next_phase = setup.curriculum.phases, 0
    notes: tuple[str, ...] = ()
    if latest is not None and state is not None:
        _check_state(setup, state, latest, other_corpus, branch)
        phase = phases[state.phase]
        notes = start_notes(setup.curriculum, state, branch)
        # The phase may be longer or shorter than it was.
        state = state.model_copy(
            update={"phase_done": state.step == phase.last_step, "phase_settings": batch_settings(phase)}
        )
        next_phase = state.phase + 1 if state.phase_done else state.phase
    if only is None:
        return RunStart(latest, state, phases[next_phase:], branch, notes)
    # With a phase named: it can be the next one, one further on, or already done.
    if only.index > next_phase:
        previous = phases[only.index - 1]
        last = (
            f"the last checkpoint is at step {state.step}, in phase `{state.phase_name}`" if state else "there is none"
        )
        raise InputError(
            f"phase {only.index + 1}, `{only.name}`, needs the last checkpoint of phase {previous.index + 1}, "
            f"`{previous.name}`, in {checkpoints.folder}; {last}: run `trainer fit --phase {previous.index + 1}`"
            + (
                f", or end that phase here with {option_to_end(previous, state)}"
                if state and next_phase == previous.index
                else ""
            )
        )
    return RunStart(latest, state, (only,) if only.index == next_phase else (), branch, notes)


def _refuse_lost_checkpoints(folder: Path) -> None:
    """Raise InputError if the run has saved checkpoints that are gone: its rows would be dropped with them."""
    resumed = any(line.get("step") for line in recorded_lines(folder / STARTS) if "from" not in line)
    if resumed or any(line.get("end") in ("done", "stopped") for line in recorded_lines(folder / ENDS)):
        raise InputError(
            f"{folder / CHECKPOINTS}: there is no checkpoint, but this run has saved some: bring that folder back, or "
            f"remove {folder} or choose another `out` to train from the start"
        )


def build_model(setup: RunSetup, distributed: Distributed, precision: Precision, initial: bool) -> Transformer:
    """Build the model, sharded over the devices and compiled as the settings say; initialize it if `initial`."""
    parallel = setup.training.parallel
    with torch.device("meta"):  # no memory until the parameters are sharded
        model = build_transformer(setup.model_config)
    model.loss_chunk_tokens = parallel.loss_chunk_tokens
    recompute_blocks(model, parallel.recompute)
    if parallel.compile is True or (parallel.compile == "auto" and distributed.device.type == "cuda"):
        compile_blocks(model)
    shard(model, distributed, precision, parallel.reshard_after_forward)
    model.to_empty(device=distributed.device)
    if initial:
        initialize(model, setup.training.seed, setup.training.model.initializer_range)
    return model


def load_trained(setup: RunSetup, distributed: Distributed, step: int | None) -> tuple[Transformer, CheckpointState]:
    """Load the model of the last checkpoint, or of the one at `step`.

    Raises InputError if there is none, or if it is of another model.
    """
    checkpoints = Checkpoints(setup.folder / CHECKPOINTS, distributed, setup.training.checkpoint.keep, False)
    path = find_checkpoint(checkpoints.folder, step, "run `trainer fit` first")
    state = read_state(path)
    if problems := _model_problems(setup, state):
        raise InputError(f"{path} is of another model than the training file's\n  " + "\n  ".join(problems))
    precision = chosen_precision(setup.training.parallel.precision, distributed.device)
    model = build_model(setup, distributed, precision, initial=False)
    checkpoints.load(path, model, None)
    return model, state


def _check_state(
    setup: RunSetup, state: CheckpointState, checkpoint: Path, other_corpus: bool, branch: Branch | None
) -> None:
    """Raise InputError if the checkpoint has another model, tokenizer, seed, phase or corpus."""
    if not state.is_of_this_order:
        raise InputError(
            f"{checkpoint} is of a release that read the documents in another order, so that batches would repeat some "
            "and miss others: finish the run with that release, or start a new one (`out`)"
        )
    problems = _model_problems(setup, state)
    if state.seed != setup.training.seed:
        problems.append(f"seed is {setup.training.seed}, in the checkpoint {state.seed}")
    if state.phase >= len(setup.curriculum.phases):
        problems.append(f"the checkpoint is of phase {state.phase + 1}, `{state.phase_name}`; the curriculum has fewer")
    else:
        problems += _phase_problems(setup, state, other_corpus)
    if problems:
        lines = "\n  ".join(problems)
        remedy = (
            "a branch keeps model, seed and all that was trained"
            if branch
            else "change them back, or choose another `out`"
        )
        raise InputError(f"{checkpoint} does not fit the settings: {remedy}\n  {lines}")
    if not other_corpus:
        _check_corpora(setup, state, checkpoint)


def _model_problems(setup: RunSetup, state: CheckpointState) -> list[str]:
    config = setup.model_config
    problems = _differences("model", asdict(config), config.from_checkpoint(state.model))
    tokenizer = setup.corpora.tokenizer.sha256
    if state.tokenizer_sha256 != tokenizer:
        problems.append(f"the corpora's tokenizer is {tokenizer[:12]}, in the checkpoint {state.tokenizer_sha256[:12]}")
    return problems


def _differences(label: str, current: Mapping[str, object], saved: Mapping[str, object]) -> list[str]:
    return [
        f"{label}: {name} is {current.get(name)}, in the checkpoint {saved.get(name)}"
        for name in {**current, **saved}
        if current.get(name) != saved.get(name)
    ]


def state_after(
    step: int,
    phase: PhasePlan,
    setup: RunSetup,
    corpora: dict[str, CorpusState],
    precision: Precision,
    world: int,
    origin: BranchOrigin | None,
    micro_batch_tokens: int | None,
) -> CheckpointState:
    """Return the state of a checkpoint after a step of this phase."""
    return CheckpointState(
        step=step,
        phase=phase.index,
        phase_name=phase.name,
        phase_done=step == phase.last_step,
        step_in_phase=step - phase.first_step + 1,
        phase_settings=batch_settings(phase),
        cursors=_cursors_read(phase),
        skip=tuple((steps.start, steps.stop - 1) for steps in phase.skip),
        corpora=corpora,
        tokenizer_sha256=setup.corpora.tokenizer.sha256,
        model=asdict(setup.model_config),
        seed=setup.training.seed,
        settings_digest=setup.training.digest,
        torch=str(torch.__version__),
        precision=precision,
        world=world,
        tokens_seen=setup.curriculum.tokens(step),
        micro_batch_tokens=micro_batch_tokens,
        origin=origin,
    )


def batch_settings(phase: PhasePlan) -> dict[str, JsonValue]:
    """Return the settings that determine a phase's batches, besides corpora, seed and start cursors."""
    return {
        "tokens": phase.steps * phase.batch_tokens,
        "sequence_tokens": phase.sequence_tokens,
        "whole_documents": phase.whole_documents,
        "batch_tokens": phase.batch_tokens,
        "shares": dict(phase.shares),
    }


def _phase_problems(setup: RunSetup, state: CheckpointState, other_corpus: bool) -> list[str]:
    """Return the reasons why a checkpoint's phase cannot go on. Its length may change, down to what is done."""
    phase = setup.curriculum.phases[state.phase]
    current, saved = batch_settings(phase), dict(state.phase_settings)
    rename = _renaming(setup, state)
    if isinstance(shares := saved.get("shares"), dict):
        saved["shares"] = {rename(name): share for name, share in shares.items()}
    current["tokens"] = saved["tokens"] = None  # no batch depends on it
    if other_corpus:
        current["shares"] = saved["shares"] = None  # by default they follow from the corpora
    problems = _differences(f"phase `{phase.name}`", current, saved)
    if phase.name != state.phase_name:
        problems.append(f"phase {phase.index + 1} is `{phase.name}`, in the checkpoint `{state.phase_name}`")
    if problems:
        return problems
    # The phases before must have ended at the same step, with the same tokens read of each source.
    first_step = state.step - state.step_in_phase + 1
    saved_cursors = {rename(name): cursor for name, cursor in (state.cursors or {}).items()}
    if first_step != phase.first_step:
        return [
            f"phase `{phase.name}` begins at step {phase.first_step}, in the checkpoint at step {first_step}: the "
            "phases before it are done and keep their `tokens`, except in a branch of one of their checkpoints (--from)"
        ]
    if _cursors_read(phase) != saved_cursors and not other_corpus:
        return [f"the phases before `{phase.name}` differ from those of the checkpoint"]
    if phase.steps < state.step_in_phase:
        return [
            f"phase `{phase.name}`: {state.step_in_phase} steps are done, and its `tokens` are {phase.steps} steps; "
            f"expected {state.step_in_phase * phase.batch_tokens} tokens or more, or a branch of an earlier checkpoint "
            "(--from)"
        ]
    return []


def _cursors_read(phase: PhasePlan) -> dict[str, Cursor]:
    return {name: cursor for name, cursor in phase.start.items() if cursor.tokens_read}


def _renaming(setup: RunSetup, state: CheckpointState) -> Callable[[str], str]:
    """Return the present name of a source of the checkpoint: with a second corpus, names begin with their corpus'."""
    if len(state.corpora) == 1 < len(setup.corpora.manifests):
        (corpus,) = state.corpora
        return lambda name: f"{corpus}/{name}"
    return lambda name: name


def _check_corpora(setup: RunSetup, state: CheckpointState, checkpoint: Path) -> None:
    """Raise InputError if a corpus differs.

    A corpus passes after a takedown (same layout, later revision), and if it was added: nothing of it was read.
    """
    current = corpora_states(setup)
    for name, old in sorted(state.corpora.items()):
        new = current.get(name)
        if new:
            after_takedown = new.layout_sha256 == old.layout_sha256 and new.revision > old.revision
            if new.content_sha256 == old.content_sha256 or after_takedown:
                continue
        problem = "is another one" if new else "is missing"
        raise InputError(
            f"{checkpoint}: corpus `{name}` {problem}: the checkpoint was trained on other documents, and batches "
            "would repeat or miss some; build that corpus again, start a new run (`out`), or add --other-corpus"
        )


def corpora_states(setup: RunSetup) -> dict[str, CorpusState]:
    """Return the identity of each corpus, as a checkpoint records it."""
    return {
        name: CorpusState(
            content_sha256=opened.content_sha256, layout_sha256=opened.layout_sha256, revision=opened.manifest.revision
        )
        for name, opened in setup.corpora.manifests.items()
    }
