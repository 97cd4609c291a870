"""`trainer fit`: one loop for all phases and any number of processes; killed at any moment, it can go on."""

import json
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import FrameType

import torch

from corpus.errors import InputError
from trainer.data.curriculum import PhasePlan
from trainer.data.loader import Batches
from trainer.engine.checkpoint import Checkpoints
from trainer.engine.checkpoint_state import State
from trainer.engine.optimizer import make_optimizer
from trainer.engine.parallel import Distributed, chosen_precision, forward_context, gathered, start
from trainer.engine.resume import Start, batch_settings, corpora_read, find_start
from trainer.engine.run_folder import held, record_start
from trainer.engine.start_run import Setup, build_model, read_setup
from trainer.engine.step import Agreed, Learned, NotFinite, TrainStep
from trainer.errors import Stopped
from trainer.inspect.console import RunConsole, make_console
from trainer.inspect.curves import FILE_NAME as PAGE
from trainer.inspect.metrics import MetricsFile, StepRow, TensorBoard
from trainer.inspect.scoring import Scoring, label_of, print_table
from trainer.inspect.trace import documents_of
from trainer.model.cost import flops_per_token, peak_flops


def fit(config: Path | None, phase: str | None, assignments: Sequence[str] = (), other_corpus: bool = False) -> None:
    """Trains the phase named, or all that is left. Raises InputError, TrainerError, Stopped."""
    setup = read_setup(config, assignments)
    asked = setup.curriculum.named(phase) if phase is not None else None
    with held(setup.folder), start() as distributed, make_console(silent=distributed.rank > 0) as console:
        Run(setup, distributed, console).go(asked, other_corpus)


class Run:
    """A run on this process."""

    def __init__(self, setup: Setup, distributed: Distributed, console: RunConsole) -> None:
        self.setup, self.distributed, self.console = setup, distributed, console
        self.batches = [  # refuses those that cannot be shared, before anything is built
            Batches(setup.corpora, phase, distributed.dp_rank, distributed.dp_world)
            for phase in setup.curriculum.phases
        ]
        self.corpora = corpora_read(setup)  # hashes the names of all shards: once
        training = setup.training
        if training.parallel.deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # as cuBLAS documents for reproducible results
        torch.use_deterministic_algorithms(training.parallel.deterministic)
        self.precision = chosen_precision(training.parallel.precision, distributed.device)
        saving = training.checkpoint
        self.checkpoints = Checkpoints(setup.folder / "checkpoints", distributed, saving.keep, saving.background)
        self.told = _Told(setup, distributed)
        self.scoring = Scoring(setup, distributed, console, partial(forward_context, distributed, self.precision))
        self.stopping: int | None = None  # the signal that asked for it

    def go(self, asked: PhasePlan | None, other_corpus: bool) -> None:
        """Trains what is left, as far as `asked`."""
        begin = find_start(self.setup, self.checkpoints, asked, other_corpus)
        self._refuse_differences(begin)
        label = label_of(self.setup, begin.state)
        ended = begin.state is None or begin.state.phase_done  # then it is scored, unless it was killed before it could
        if not begin.phases and (not ended or self.scoring.has(begin.step, label)):
            self.console.say(f"{asked.name if asked else 'the curriculum'}: done; the last step was {begin.step}")
            return
        train_step = self._train_step(begin)
        for steps in begin.phases[0].skip if begin.phases else ():
            if steps.start <= begin.step:
                told = f"step {steps.start} was taken before the checkpoint of step {begin.step}"
                self.console.say(f"skip: {told}; to pass over it, remove the checkpoints behind it")
        if self.distributed.rank == 0:
            changed = record_start(
                self.setup.folder, self.setup.training, begin.step, self.distributed.world, self.precision
            )
            if changed:
                self.console.say(f"not as at the last start: {', '.join(changed)}")
            self.told.resume(begin.step)
            self.scoring.file.resume(begin.step)
        try:
            if ended:
                self._score(train_step, begin.step, label)
            with self._stoppable():
                done = begin.step
                for phase in begin.phases:
                    done = self._phase(train_step, phase, done)
        finally:
            self.told.close()
        if self.distributed.rank == 0:
            print_table(self.setup)
            print(f"Report: {self.setup.folder / PAGE}")

    def _refuse_differences(self, begin: Start) -> None:
        """Raises InputError unless all processes read the same settings, corpora and checkpoint."""
        state = begin.state.model_dump_json() if begin.state else ""
        mine = {
            "the training file": self.setup.training.digest,
            "the corpora": str(self.corpora),
            "the last checkpoint": f"{begin.checkpoint and begin.checkpoint.name} {state}",
        }
        every = [json.loads(told) for told in gathered(self.distributed, json.dumps(mine))]
        for rank, theirs in enumerate(every):
            if differing := [name for name, value in theirs.items() if value != every[0][name]]:
                raise InputError(
                    f"process {rank} reads {' and '.join(differing)} otherwise than process 0 does; give all machines "
                    "the same files, and wait until a shared disk shows them everywhere"
                )

    def _train_step(self, begin: Start) -> TrainStep:
        training = self.setup.training
        model = build_model(self.setup, self.distributed, self.precision, initial=begin.checkpoint is None)
        optimizer = make_optimizer(model, training.optimizer)
        if begin.checkpoint is not None:
            self.checkpoints.load(begin.checkpoint, model, optimizer)
            self.console.say(f"going on from {begin.checkpoint.name}")
        micro = training.parallel.micro_batch_sequences
        return TrainStep(model, optimizer, self.distributed, self.scoring.context, micro, training.optimizer.clip_norm)

    def _phase(self, train_step: TrainStep, phase: PhasePlan, done: int) -> int:
        """Takes the steps of a phase that are left; returns its last."""
        training, curriculum = self.setup.training, self.setup.curriculum
        tokens_after = curriculum.tokens(curriculum.steps) - curriculum.tokens(phase.last_step)
        self.console.phase(phase.name, phase.index, len(self.batches), phase.first_step, phase.last_step, tokens_after)
        clock, looked = time.perf_counter(), done
        for batch in self.batches[phase.index].iterate(done + 1):
            agreed = train_step.agree(batch, self.stopping is not None or self.checkpoints.failed)
            if agreed.stop:
                self.checkpoints.wait()  # raises what failed
                self._save(train_step, phase, done)
                self.checkpoints.wait()
                number = self.stopping or signal.SIGTERM
                raise Stopped(f"stopped after step {done}, which is saved; the same command goes on from there", number)
            done = batch.step
            if not agreed.targets:
                self.console.say(f"step {done} has nothing to predict: a takedown overwrote all of it")
                continue
            try:
                learned = train_step.learn(batch, agreed.targets, phase.schedule.rate(done - phase.first_step))
            except NotFinite as error:
                self.checkpoints.wait()
                raise self._named(error, phase, done) from None
            now = time.perf_counter()
            if self.distributed.rank == 0:
                self.console.step(self.told.step(phase, done, agreed, learned, now - clock))
            clock = now
            if done < phase.last_step and _due(training.checkpoint.every_steps, looked, done):
                self._save(train_step, phase, done)
            if done < phase.last_step and _due(training.evaluate.every_steps, looked, done):
                self._score(train_step, done, f"step {done}")
                clock = time.perf_counter()
            looked = done
        self._save(train_step, phase, phase.last_step)
        self.checkpoints.wait()
        self._score(train_step, phase.last_step, f"after {phase.name}")
        return phase.last_step

    def _score(self, train_step: TrainStep, step: int, label: str) -> None:
        row = self.scoring.score(train_step.model, step, label)
        if row is not None and self.told.board is not None:
            self.told.board.evaluation(row)

    def _save(self, train_step: TrainStep, phase: PhasePlan, done: int) -> None:
        setup = self.setup
        state = State(
            step=done,
            phase=phase.index,
            phase_name=phase.name,
            step_in_phase=done - phase.first_step + 1,
            phase_settings=batch_settings(phase),
            start=dict(phase.start),
            skip=tuple((steps.start, steps.stop - 1) for steps in phase.skip),
            corpora=self.corpora,
            tokenizer_sha256=setup.corpora.tokenizer.sha256,
            model=asdict(setup.model_config),
            seed=setup.training.seed,
            settings_digest=setup.training.digest,
            torch=str(torch.__version__),
            precision=self.precision,
            world=self.distributed.world,
            tokens_seen=setup.curriculum.tokens(done),
        )
        last = done == phase.last_step
        self.checkpoints.save(state, train_step.model, train_step.optimizer, last_of_phase=last)

    def _named(self, error: NotFinite, phase: PhasePlan, step: int) -> NotFinite:
        """The error, with the documents to blame and what to do."""
        if self.distributed.rank:
            return error
        named = documents_of(self.setup.corpora, phase, step, error.rows)
        which = "sequences without a finite loss hold" if error.rows else "loss of every sequence is finite; they hold"
        latest = self.checkpoints.latest()
        return NotFinite(
            f"{error}\n  the {which}: {named}\n  all of them: trainer trace --step {step}; to pass over it, add "
            f'`skip: ["{step}"]` to phase `{phase.name}`, and go on from {latest.name if latest else "the start"}',
            error.rows,
        )

    @contextmanager
    def _stoppable(self) -> Iterator[None]:
        """SIGTERM and the first Ctrl-C ask the loop to save and stop; a second Ctrl-C stops at once."""

        def asked(number: int, _: FrameType | None) -> None:
            if self.stopping and number == signal.SIGINT:
                raise KeyboardInterrupt
            self.stopping = number  # and nothing else: the signal may have come in the midst of printing

        before = {number: signal.signal(number, asked) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class _Told:
    """What is told of each step, by the first process."""

    def __init__(self, setup: Setup, distributed: Distributed) -> None:
        self.setup, self.world = setup, distributed.world
        self.epoch = {name: source.train_tokens for name, source in setup.corpora.sources.items()}
        self.metrics = MetricsFile(setup.folder)
        device = distributed.device
        self.peak = peak_flops(torch.cuda.get_device_name(device)) if device.type == "cuda" else None
        self.board: TensorBoard | None = None

    def resume(self, step: int) -> None:
        """Forgets the steps behind `step`, which will be taken again."""
        self.metrics.resume(step)
        if self.setup.training.tensorboard:
            self.board = TensorBoard(self.setup.folder, step)

    def close(self) -> None:
        """Lets go of the files."""
        self.metrics.close()
        if self.board is not None:
            self.board.close()

    def step(self, phase: PhasePlan, step: int, agreed: Agreed, learned: Learned, seconds: float) -> StepRow:
        """Writes the row of a step."""
        pace = phase.batch_tokens / seconds

        def mfu(flops: int) -> float | None:
            return None if self.peak is None else pace * flops / (self.peak * self.world)

        row = StepRow(
            step=step,
            phase=phase.name,
            step_in_phase=step - phase.first_step + 1,
            tokens=self.setup.curriculum.tokens(step),
            targets=agreed.targets,
            loss=learned.loss,
            grad_norm=learned.grad_norm,
            learning_rate=learned.rate,
            step_s=seconds,
            tokens_per_s=pace,
            mfu=mfu(flops_per_token(self.setup.model_config)),
            mfu_attention=mfu(flops_per_token(self.setup.model_config, phase.sequence_tokens)),
            losses=learned.losses,
            epochs={name: read / self.epoch[name] for name, read in phase.cursors(step).items() if read},
            batch=f"{learned.digest:016x}",
        )
        self.metrics.write(row)
        if self.board is not None:
            self.board.step(row)
        return row


def _due(every: int | None, before: int, done: int) -> bool:
    """Whether a multiple of `every` lies behind `before`, up to `done`: steps may be skipped."""
    return every is not None and done // every > before // every
