"""`trainer fit`: one loop for all phases and any number of processes, which continues after a kill."""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import torch

from corpus.errors import InputError
from trainer.data.curriculum import PhasePlan
from trainer.data.loader import Batches
from trainer.engine.branch import Branch, parse_branch
from trainer.engine.checkpoint import CHECKPOINTS, Checkpoints
from trainer.engine.checkpoint_state import BranchOrigin
from trainer.engine.device_memory import explain_out_of_memory, fitting_micro_batches
from trainer.engine.distributed import Distributed, any_rank, chosen_precision, gathered, start
from trainer.engine.micro_batch import MicroBatches
from trainer.engine.optimizer import make_optimizer
from trainer.engine.resume import RunStart, build_model, corpora_states, find_start, state_after
from trainer.engine.run_setup import RunSetup, lock_run_folder, read_setup, record_start
from trainer.engine.run_signals import RunSignals
from trainer.engine.save_schedule import SaveSchedule, is_due
from trainer.engine.start_notes import done_text
from trainer.engine.step import NotFinite, TrainStep
from trainer.errors import Stopped
from trainer.inspect.console import RunConsole
from trainer.inspect.eval_run import RunEvaluator, evaluation_label, print_evaluations
from trainer.inspect.evaluate import EvaluationStopped
from trainer.inspect.metrics import copy_rows
from trainer.inspect.recorded_run import record_end
from trainer.inspect.run_page import FILE_NAME as PAGE
from trainer.inspect.step_recorder import StepRecorder
from trainer.inspect.trace import documents_of


def fit(
    config: Path | None,
    phase: str | None,
    assignments: Sequence[str] = (),
    other_corpus: bool = False,
    branch_from: str | None = None,
    fresh_optimizer: bool = False,
) -> None:
    """Train the named phase, or everything that is left. Raises InputError, TrainerError, Stopped."""
    setup, branch = read_setup(config, assignments), parse_branch(branch_from, fresh_optimizer)
    only = setup.curriculum.named(phase) if phase is not None else None
    with (
        lock_run_folder(setup.folder),
        start() as distributed,
        RunConsole(silent=distributed.rank > 0) as console,
    ):
        TrainingRun(setup, distributed, console).train(only, other_corpus, branch)


class TrainingRun:
    """A run on this process."""

    def __init__(self, setup: RunSetup, distributed: Distributed, console: RunConsole) -> None:
        self.setup, self.distributed, self.console = setup, distributed, console
        # First of all, because it refuses batches that the ranks cannot share evenly.
        self.batches = [
            Batches(setup.corpora, phase, distributed.dp_rank, distributed.dp_world)
            for phase in setup.curriculum.phases
        ]
        self.corpora = corpora_states(setup)  # hashes the names of all shards, so do it once
        training = setup.training
        if training.parallel.deterministic:
            # Source: cuBLAS documentation, "Results reproducibility".
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(training.parallel.deterministic)
        self.precision = chosen_precision(training.parallel.precision, distributed.device)
        saving = training.checkpoint
        self.checkpoints = Checkpoints(
            setup.folder / CHECKPOINTS, distributed, saving.keep, saving.background, saving.keep_every_steps
        )
        if distributed.watch is not None:
            distributed.watch.resume_point = lambda: getattr(self.checkpoints.latest(), "name", None)
        self.saves = SaveSchedule(saving)
        self.recorder = StepRecorder(setup, distributed, console.say)
        self.signals = RunSignals(saving, console.say)
        self.evaluator = RunEvaluator(setup, distributed, console, stop=lambda: self.signals.stop is not None)
        self.origin: BranchOrigin | None = None  # of a branch
        self.micro: MicroBatches | None = None

    def train(self, only: PhasePlan | None, other_corpus: bool, branch: Branch | None = None) -> None:
        """Train what is left of the curriculum, or of the phase `only`."""
        begin = find_start(self.setup, self.checkpoints, only, other_corpus, branch)
        self.origin = begin.state.origin if begin.state else None
        self._check_same_inputs(begin)
        label = evaluation_label(self.setup, begin.state)
        between_phases = begin.state is None or begin.state.phase_done or begin.state.step == 0
        nothing_left = not begin.phases and begin.branch is None
        if nothing_left and (not between_phases or self.evaluator.is_recorded(begin.step, label)):
            self.console.say(done_text(self.setup.curriculum, only))
            return
        self.micro = fitting_micro_batches(self.setup, self.distributed, self.precision, begin.state)
        self.console.say(f"memory: {self.micro.describe()}")
        with explain_out_of_memory(self.micro.remedy), self._recorded(begin):
            self._train(begin, label, between_phases)

    @contextmanager
    def _recorded(self, begin: RunStart) -> Iterator[None]:
        """Record the start, and how it ends. Of one that is killed, no end is recorded."""
        if self.distributed.rank:
            yield
            return
        # Before the first save of a branch, so that the run is known as one if it is ended in between. And before the
        # rows after the checkpoint are dropped, because they tell where a killed start ended.
        previous_end = self.recorder.last_step
        changed = record_start(
            self.setup, begin.step, previous_end, self.distributed.world, self.precision, self.origin
        )
        if changed:
            self.console.say(f"changed since the last start: {'; '.join(changed)}")
        try:
            yield
        except BaseException as error:
            record_end(self.setup.folder, "stopped" if isinstance(error, Stopped) else "failed")
            raise
        record_end(self.setup.folder, "done")

    def _train(self, begin: RunStart, label: str, evaluation_was_due: bool) -> None:
        step = self._make_step(begin)
        for note in begin.notes:
            self.console.say(note)
        if begin.branch is not None:
            self._save_branch(step, begin)
        if self.distributed.rank == 0:
            if begin.checkpoint and begin.state and begin.state.phase_done and not begin.branch:
                self.checkpoints.end_phase(begin.checkpoint, begin.state)
            *learned, last = self.recorder.resume(begin.step) or [0]
            every = self.setup.training.evaluate.every_steps
            evaluation_was_due |= last == begin.step and is_due(every, learned[-1] if learned else 0, last)
            self.evaluator.file.resume(begin.step)
        try:
            with self.signals:
                # A kill may have prevented the evaluation that was due at the step of the checkpoint.
                if any_rank(self.distributed, evaluation_was_due):
                    self._evaluate(step, [*begin.phases, self.setup.curriculum.phases[-1]][0], begin.step, label)
                done = begin.step
                for phase in begin.phases:
                    done = self._train_phase(step, phase, done, begin.phases[-1].last_step)
        finally:
            self.recorder.close()
        if self.distributed.rank == 0:
            print_evaluations(self.setup)
            print(f"Report: {self.setup.folder / PAGE}")

    def _check_same_inputs(self, begin: RunStart) -> None:
        """Raise InputError unless all processes read the same settings, corpora and checkpoint."""
        state = begin.state.model_dump_json() if begin.state else ""
        inputs = {
            "training file": self.setup.training.digest,
            "corpora": str(self.corpora),
            "last checkpoint": f"{begin.checkpoint and begin.checkpoint.name} {state}",
        }
        first, *others = gathered(self.distributed, inputs)
        for rank, other in enumerate(others, 1):
            if different := [name for name in inputs if other[name] != first[name]]:
                raise InputError(
                    f"rank {rank} and rank 0 read a different {' and '.join(different)}; give all machines the same "
                    "files, and wait until a shared disk shows them everywhere"
                )

    def _make_step(self, begin: RunStart) -> TrainStep:
        training = self.setup.training
        model = build_model(self.setup, self.distributed, self.precision, initial=begin.checkpoint is None)
        optimizer = make_optimizer(model, training.optimizer)
        if begin.checkpoint is not None:
            fresh_optimizer = begin.branch is not None and begin.branch.fresh_optimizer
            self.checkpoints.load(begin.checkpoint, model, None if fresh_optimizer else optimizer)
            self.console.say(f"continuing from {begin.checkpoint.name}")
        return TrainStep(model, optimizer, self.distributed, None, training.optimizer.clip_norm)

    def _train_phase(self, step: TrainStep, phase: PhasePlan, done: int, run_end: int) -> int:
        """Take the remaining steps of a phase after step `done`; return its last step. The run ends at `run_end`."""
        training, curriculum = self.setup.training, self.setup.curriculum
        assert self.micro is not None
        step = replace(step, micro_batch_sequences=self.micro.sequences[phase.index])
        tokens_after = curriculum.tokens(run_end) - curriculum.tokens(phase.last_step)
        self.console.phase(phase.name, phase.index, len(self.batches), phase.first_step, phase.last_step, tokens_after)
        step_start_s, previous = time.perf_counter(), done
        for batch in self.batches[phase.index].iterate(done + 1):
            stop = self.signals.stop is not None or self.checkpoints.failed
            agreed = step.agree(batch, stop, self.signals.save or self.saves.time_is_up())
            if agreed.stop:
                self._stop(step, phase, done)
            done = batch.step
            self.signals.doing = f"step {done}"
            if not agreed.targets:
                self.console.say(f"step {done} has no targets: a takedown removed all its documents")
                continue
            try:
                result = step.learn(batch, agreed.targets, phase.schedule.rate(done - phase.first_step))
            except NotFinite as error:
                self.checkpoints.wait()
                raise self._with_documents(error, phase, done) from None
            now_s = time.perf_counter()
            if self.distributed.rank == 0:
                self.console.step(self.recorder.record(phase, done, agreed, result, now_s - step_start_s))
            self.distributed.expect_exchange(within_s=now_s - step_start_s)  # the first step may compile
            step_start_s = time.perf_counter()  # the page may have been written
            # The end of the phase is saved and evaluated below.
            if done < phase.last_step and (agreed.save or self.saves.due(previous, done)):
                self._save(step, phase, done)
                step_start_s = time.perf_counter()
            if done < phase.last_step and is_due(training.evaluate.every_steps, previous, done):
                self._evaluate(step, phase, done, f"step {done}")
                step_start_s = time.perf_counter()
            previous = done
        self._save(step, phase, phase.last_step)
        self.checkpoints.wait()
        self._evaluate(step, phase, phase.last_step, f"after {phase.name}")
        return phase.last_step

    def _evaluate(self, step: TrainStep, phase: PhasePlan, done: int, label: str) -> None:
        self.signals.doing = f"the next batch of the evaluation of step {done}, which runs again when training resumes"
        try:
            row = self.evaluator.evaluate(step.model, done, label)
        except EvaluationStopped:
            self._stop(step, phase, done)
        if row is not None and self.recorder.board is not None:
            self.recorder.board.evaluation(row)

    def _save_branch(self, step: TrainStep, begin: RunStart) -> None:
        """Save the checkpoint that a branch begins with, and the rows before it, in the branch's own folder."""
        assert begin.branch is not None and begin.state is not None
        if self.distributed.rank == 0:
            copy_rows(begin.branch.run, self.setup.folder)
        self._save(step, self.setup.curriculum.phases[begin.state.phase], begin.step)
        self.checkpoints.wait()

    def _save(self, step: TrainStep, phase: PhasePlan, done: int) -> None:
        self.signals.doing, self.signals.save = f"the save of step {done}", False
        self.distributed.expect_exchange(within_s=None)
        world, origin, micro = self.distributed.world, self.origin, self.micro.tokens if self.micro else None
        state = state_after(done, phase, self.setup, self.corpora, self.precision, world, origin, micro)
        self.checkpoints.save(state, step.model, step.optimizer)
        self.saves.restart()

    def _stop(self, step: TrainStep, phase: PhasePlan, done: int) -> NoReturn:
        """Save step `done` and raise Stopped, or the error of an earlier save."""
        self._save(step, phase, done)
        self.checkpoints.wait()
        raise Stopped(
            f"stopped after step {done}, which is saved; the same command continues from there",
            self.signals.stop or signal.SIGTERM,
        )

    def _with_documents(self, error: NotFinite, phase: PhasePlan, step: int) -> NotFinite:
        """Add the documents of the batch, and what to do, to the error of the first process."""
        if self.distributed.rank:
            return error
        documents = documents_of(self.setup.corpora, phase, step, error.rows)
        rows = "sequences without a finite loss" if error.rows else "batch (every sequence has a finite loss)"
        latest = self.checkpoints.latest()
        return NotFinite(
            f"{error}\n  documents of the {rows}: {documents}\n  list all: trainer trace --step {step}; to skip the "
            f'step, add `skip: ["{step}"]` to phase `{phase.name}` and continue from '
            f"{latest.name if latest else 'the start'}",
            error.rows,
        )
