"""Micro-batches: the sequences that a device takes at a time, and their memory. Nothing here imports torch.

Stated in tokens, micro-batches take level memory over phases of other sequence lengths. Unless they are stated, they
are the largest that fit.
"""

from math import ceil
from typing import NamedTuple

from corpus.units import human_bytes
from trainer.config import Training
from trainer.data.curriculum import Curriculum, PhasePlan
from trainer.model.family import ModelConfig
from trainer.model.memory import Computation, Memory, device_memory

USABLE_SHARE = 0.9  # of a GPU's memory; CUDA, communication and fragmentation take the rest


class MicroBatches(NamedTuple):
    """Micro-batches of each phase, and estimates of a device's memory."""

    tokens: int | None  # limit that was chosen; None if the settings state the size
    sequences: tuple[int, ...]  # by phase
    memory: tuple[Memory, ...]  # by phase
    usable_bytes: int | None  # None if unknown
    whole_bytes: int  # memory if each device took its whole part of a batch at once
    remedy: str  # settings that would help if memory runs out

    @property
    def peak_bytes(self) -> int:
        """Memory of the phase that takes most."""
        return max(memory.total_bytes for memory in self.memory)

    @property
    def fits(self) -> bool:
        """True unless the estimate is more than the device can hold."""
        return self.usable_bytes is None or self.peak_bytes <= self.usable_bytes

    def describe(self) -> str:
        """Return a sentence for the user."""
        usable = self.usable_bytes
        of = f" of {human_bytes(usable)} that can be used" if usable is not None else ""
        text = f"{human_bytes(self.peak_bytes)}{of} on each device, an estimate"
        if not self.fits:
            return f"does not fit: {text}; {self.remedy}"
        if self.tokens is not None and usable is not None and self.whole_bytes > usable:
            text += (
                f"; the whole batch at once does not fit ({human_bytes(self.whole_bytes)}), micro-batches of "
                f"{self.tokens:,} tokens do"
            )
        return f"fits: {text}"


def computation(training: Training, devices: int, *, bf16: bool, on_cpu: bool) -> Computation:
    """Return what the settings say of a step's memory."""
    parallel = training.parallel
    return Computation(
        devices=devices,
        bf16=bf16,
        on_cpu=on_cpu,
        compiled=parallel.compile is True or (parallel.compile == "auto" and not on_cpu),
        reshard_after_forward=parallel.reshard_after_forward,
        recompute=parallel.recompute,
        loss_chunk_tokens=parallel.loss_chunk_tokens,
    )


def choose_micro_batches(
    training: Training,
    curriculum: Curriculum,
    config: ModelConfig,
    how: Computation,
    usable_bytes: int | None,
    stored_tokens: int | None = None,
) -> MicroBatches:
    """Return the micro-batches that the settings state, else those of `stored_tokens`, else the largest that fit.

    `stored_tokens` is the choice of an earlier start, which is kept if it fits, so that sums are rounded as before.
    """
    chooser = _Chooser(training, curriculum, config, how)
    rows = [chooser.rows(phase) for phase in curriculum.phases]
    whole = chooser.peak(rows)
    stated = training.parallel
    tokens: int | None = None
    if stated.micro_batch_sequences is not None:
        sequences = [min(stated.micro_batch_sequences, most) for most in rows]
    elif stated.micro_batch_tokens is not None:
        sequences = chooser.sequences(stated.micro_batch_tokens)
    else:
        tokens = stored_tokens
        if tokens is None or not _fits(chooser.peak(chooser.sequences(tokens)), usable_bytes):
            tokens = chooser.largest(usable_bytes)
        sequences = chooser.sequences(tokens)
    return MicroBatches(
        tokens=tokens,
        sequences=tuple(sequences),
        memory=tuple(chooser.memory(sequences)),
        usable_bytes=usable_bytes,
        whole_bytes=whole,
        remedy=chooser.remedy(sequences, usable_bytes),
    )


class _Chooser(NamedTuple):
    """All that memory depends on, but the micro-batch."""

    training: Training
    curriculum: Curriculum
    config: ModelConfig
    how: Computation

    def rows(self, phase: PhasePlan) -> int:
        """Return the sequences of a batch on each device."""
        return max(1, phase.batch_sequences // self.how.devices)

    def sequences(self, tokens: int) -> list[int]:
        """Return the sequences of each phase's micro-batches of up to `tokens` tokens, at least one, evened out."""
        found = []
        for phase in self.curriculum.phases:
            rows, limit = self.rows(phase), max(1, tokens // phase.sequence_tokens)
            found.append(ceil(rows / ceil(rows / limit)))
        return found

    def memory(self, sequences: list[int]) -> list[Memory]:
        """Estimate the memory of each phase."""
        evaluate, phases = self.training.evaluate, self.curriculum.phases
        window = evaluate.sequence_tokens or phases[0].sequence_tokens
        return [
            device_memory(
                self.config,
                self.how,
                sequence_tokens=phase.sequence_tokens,
                micro_batch_sequences=number,
                evaluation=evaluate.batch_sequences * window,
            )
            for phase, number in zip(phases, sequences, strict=True)
        ]

    def peak(self, sequences: list[int]) -> int:
        """Return the training memory of the phase that takes most."""
        return max(memory.training_bytes for memory in self.memory(sequences))

    def largest(self, usable_bytes: int | None) -> int:
        """Return the largest number of tokens that fits, of the even parts of the largest batch; else the least."""
        most = max(self.rows(phase) * phase.sequence_tokens for phase in self.curriculum.phases)
        least = max(phase.sequence_tokens for phase in self.curriculum.phases)
        parts = 1
        while (tokens := ceil(most / parts)) > least and not _fits(self.peak(self.sequences(tokens)), usable_bytes):
            parts += 1
        # The same micro-batches, named by the largest.
        return self._tokens(self.sequences(tokens))

    def remedy(self, sequences: list[int], usable_bytes: int | None) -> str:
        """Name the settings that would help, the cheapest first."""
        memory = self.memory(sequences)
        if max(each.evaluation_bytes for each in memory) > max(each.training_bytes for each in memory):
            return f"lower evaluate.batch_sequences, now {self.training.evaluate.batch_sequences}"
        remedies = []
        most = max(range(len(memory)), key=lambda phase: memory[phase].training_bytes)
        if sequences[most] > 1:
            fitting = self.largest(usable_bytes) if usable_bytes is not None else 0
            half = sequences[most] // 2 * self.curriculum.phases[most].sequence_tokens
            smaller = fitting if 0 < fitting < self._tokens(sequences) else half
            remedies.append(f"set parallel.micro_batch_tokens: {smaller}")
        if self.how.recompute != "full":
            remedies.append("set parallel.recompute: full")
        remedies.append("use more devices, or a lower sequence_tokens" if not remedies else "use more devices")
        return ", or ".join(remedies)

    def _tokens(self, sequences: list[int]) -> int:
        phases = self.curriculum.phases
        return max(number * phase.sequence_tokens for number, phase in zip(sequences, phases, strict=True))


def _fits(size: int, usable_bytes: int | None) -> bool:
    return usable_bytes is None or size <= usable_bytes
