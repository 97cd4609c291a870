"""Where a run goes on: which checkpoint it begins from, and whether that is of this curriculum, model and corpus."""

from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import JsonValue

from corpus.errors import InputError
from trainer.data.curriculum import PhasePlan
from trainer.engine.checkpoint import Checkpoints
from trainer.engine.checkpoint_state import CorpusState, State, read_state
from trainer.engine.start_run import Setup


@dataclass(frozen=True, slots=True)
class Start:
    """From where, and through which phases."""

    checkpoint: Path | None
    state: State | None
    phases: tuple[PhasePlan, ...]  # what is left of the first, then the others; none: nothing is left to do

    @property
    def step(self) -> int:
        """Steps done."""
        return self.state.step if self.state else 0


def find_start(setup: Setup, checkpoints: Checkpoints, asked: PhasePlan | None, other_corpus: bool) -> Start:
    """Goes on from the last checkpoint. `asked` limits the run to one phase.

    Raises InputError if the phase before it is not done, or if the checkpoint is of something else; another corpus is
    taken if `other_corpus` says so.
    """
    latest = checkpoints.latest()
    state = read_state(latest) if latest else None
    phases = setup.curriculum.phases
    first = 0
    if state is not None:
        assert latest is not None
        _refuse_others(setup, state, latest, other_corpus)
        first = state.phase + 1 if state.phase_done else state.phase
    if asked is None:
        return Start(latest, state, phases[first:])
    if asked.index > first:
        before = phases[asked.index - 1]
        found = (
            f"the last checkpoint is at step {state.step}, in phase `{state.phase_name}`" if state else "there is none"
        )
        raise InputError(
            f"phase {asked.index + 1}, `{asked.name}`, needs the last checkpoint of phase {before.index + 1}, "
            f"`{before.name}`, in {setup.folder / 'checkpoints'}; {found}: run `trainer fit --phase {before.index + 1}`"
        )
    return Start(latest, state, phases[first : asked.index + 1] if asked.index == first else ())


def refuse_other_models(setup: Setup, state: State, checkpoint: Path) -> None:
    """Raises InputError if the checkpoint was made of another model or tokenizer."""
    if problems := _model_problems(setup, state):
        raise InputError(f"{checkpoint} is of another model than the training file's\n  " + "\n  ".join(problems))


def _refuse_others(setup: Setup, state: State, checkpoint: Path, other_corpus: bool) -> None:
    """The same for all that one cannot go on from: another model, tokenizer, seed, phase or corpus."""
    problems = _model_problems(setup, state)
    if state.seed != setup.training.seed:
        problems.append(f"seed is {setup.training.seed}, in the checkpoint {state.seed}")
    if state.phase >= len(setup.curriculum.phases):
        problems.append(f"the checkpoint is of phase {state.phase + 1}, `{state.phase_name}`; the curriculum has fewer")
    else:
        problems += _phase_problems(setup.curriculum.phases[state.phase], state, other_corpus)
    if problems:
        lines = "\n  ".join(problems)
        raise InputError(f"{checkpoint} cannot be gone on from: change the settings back, or `out`\n  {lines}")
    if not other_corpus:
        _refuse_other_corpora(setup, state, checkpoint)


def _model_problems(setup: Setup, state: State) -> list[str]:
    current = asdict(setup.model_config)
    saved = setup.model_config.from_checkpoint(state.model)
    problems = [
        f"model: {name} is {current.get(name)}, in the checkpoint {saved.get(name)}"
        for name in current | saved
        if current.get(name) != saved.get(name)
    ]
    if state.tokenizer_sha256 != setup.corpora.tokenizer.sha256:
        told = f"{setup.corpora.tokenizer.sha256[:12]}, in the checkpoint {state.tokenizer_sha256[:12]}"
        problems.append(f"the corpora's tokenizer is {told}")
    return problems


def batch_settings(phase: PhasePlan) -> dict[str, JsonValue]:
    """What decides a phase's batches, beside corpora, seed and start cursors."""
    return {
        "tokens": phase.steps * phase.batch_tokens,
        "sequence_tokens": phase.sequence_tokens,
        "batch_tokens": phase.batch_tokens,
        "shares": dict(phase.shares),
    }


def _phase_problems(phase: PhasePlan, state: State, other_corpus: bool) -> list[str]:
    now, then = batch_settings(phase), state.phase_settings
    free = {"shares"} if other_corpus else set()  # by default they follow from the corpora
    problems = [
        f"phase `{phase.name}`: {key} is {now[key]}, in the checkpoint {then.get(key)}"
        for key in now
        if now[key] != then.get(key) and key not in free
    ]
    if phase.name != state.phase_name:
        problems.append(f"phase {phase.index + 1} is `{phase.name}`, in the checkpoint `{state.phase_name}`")
    began, start = state.step - state.step_in_phase + 1, {name: read for name, read in phase.start.items() if read}
    before = {name: read for name, read in state.start.items() if read}
    if not problems and (began != phase.first_step or (before != start and not other_corpus)):
        problems.append(f"the phases before `{phase.name}` are not those that the checkpoint has been through")
    return problems


def _refuse_other_corpora(setup: Setup, state: State, checkpoint: Path) -> None:
    """A takedown's child is taken: it has the same layout, and a later revision."""
    now, then = corpora_read(setup), state.corpora
    for name in sorted({*now, *then}):
        new, old = now.get(name), then.get(name)
        same = new is not None and old is not None and new.content_sha256 == old.content_sha256
        if not same and not (new and old and new.layout_sha256 == old.layout_sha256 and new.revision > old.revision):
            what = "is another one" if new and old else "was not read" if new else "is missing"
            raise InputError(
                f"{checkpoint}: corpus `{name}` {what}: the checkpoint was trained on other documents, and batches "
                "would repeat or miss some; build that one again, start a new run (`out`), or say --other-corpus"
            )


def corpora_read(setup: Setup) -> dict[str, CorpusState]:
    """What a checkpoint says of the corpora."""
    return {
        name: CorpusState(
            content_sha256=opened.content_sha256, layout_sha256=opened.layout_sha256, revision=opened.manifest.revision
        )
        for name, opened in setup.corpora.manifests.items()
    }
