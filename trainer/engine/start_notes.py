"""Messages at the start of a run: what changed since the checkpoint, and what would let it go on."""

from trainer.data.curriculum import Curriculum, PhasePlan
from trainer.engine.branch import Branch
from trainer.engine.checkpoint_state import CheckpointState


def start_notes(curriculum: Curriculum, state: CheckpointState, branch: Branch | None) -> tuple[str, ...]:
    """Describe a branch, a phase with another length and its next learning rate, and skipped steps that are done."""
    phase, done = curriculum.phases[state.phase], state.step_in_phase
    notes: list[str] = []
    if branch is not None:
        notes.append(f"branching from {branch.run} at step {state.step}")
        later = curriculum.phases[phase.index + 1 :]
        if done < phase.steps and later:
            notes.append(
                f"phase `{phase.name}` has {phase.steps - done} steps left; to begin `{later[0].name}` at once, add "
                f"{option_to_end(phase, state)}"
            )
    saved_tokens = state.phase_settings.get("tokens")
    if isinstance(saved_tokens, int) and saved_tokens != phase.steps * phase.batch_tokens:
        notes.append(
            f"phase `{phase.name}` has {phase.steps} steps; it had {saved_tokens // phase.batch_tokens} when the "
            f"checkpoint was saved, and {done} are done"
        )
    if notes and state.step < curriculum.steps:
        next_step = state.step + 1
        going_on = curriculum.phase_of(next_step)
        notes.append(
            f"learning rate of step {next_step}: {going_on.schedule.rate(next_step - going_on.first_step):.3g}"
        )
    notes += [
        f"skip: step {skipped.start} is already part of the checkpoint of step {state.step}; to skip it, remove the "
        "checkpoints after it"
        for skipped in phase.skip
        if skipped.start <= state.step and (skipped.start, skipped.stop - 1) not in state.skip
    ]
    return tuple(notes)


def option_to_end(phase: PhasePlan, state: CheckpointState) -> str:
    """Return the option that ends the checkpoint's phase with what is done."""
    return f"--set curriculum.{phase.name}.tokens={state.step_in_phase * phase.batch_tokens}"


def done_text(curriculum: Curriculum, only: PhasePlan | None) -> str:
    """Return a message for a run with nothing left to train, and what would go on."""
    if only is not None and only.index + 1 < len(curriculum.phases):
        return f"{only.name}: done; its last step was {only.last_step}"
    last = curriculum.phases[-1]
    name = only.name if only else "the curriculum"
    return f"{name}: done; its last step was {last.last_step}; to go on, raise `tokens` of `{last.name}` or add a phase"
