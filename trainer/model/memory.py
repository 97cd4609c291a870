"""Memory of one device while it trains a model, estimated before a tensor exists.

Two moments decide: the loss at the end of the forward pass, and the backward pass of the block at which most is in
memory.
"""

from dataclasses import astuple, dataclass
from itertools import accumulate
from math import ceil
from typing import Literal

from trainer.model.family import Activations, ModelConfig

CHUNK_LOGITS = 2**26  # logits in memory at a time, unless a setting says otherwise: 256 MiB in fp32
# `full`: all blocks recompute their activations; a number n: every n-th; `operations`: all but products and attention
Recompute = Literal["none", "operations", "full"] | int


def recomputes(setting: Recompute, block: int) -> bool:
    """Return True if the block, counted from 0, recomputes activations."""
    return (block + 1) % setting == 0 if isinstance(setting, int) else setting != "none"


def chunk_tokens(vocab_size: int) -> int:
    """Return the tokens whose logits are in memory at a time, unless a setting says otherwise."""
    return max(1, CHUNK_LOGITS // vocab_size)


def masks_densely(sequence_tokens: int, compiled: bool) -> bool:
    """Return True if attention on a CPU takes a dense mask for documents of usual length."""
    return compiled or sequence_tokens < 2048


@dataclass(frozen=True, slots=True)
class Computation:
    """Circumstances of a step that decide its memory, besides the model and the micro-batch."""

    devices: int = 1
    bf16: bool = True
    on_cpu: bool = False
    compiled: bool = False
    reshard_after_forward: bool = True
    recompute: Recompute = "none"
    loss_chunk_tokens: int | None = None

    @property
    def activations(self) -> Activations:
        """Types and kernels that decide what a block keeps."""
        autocast = self.bf16 and self.devices == 1
        return Activations(self.bf16, autocast, self.compiled, fused_norms=self.compiled or not self.on_cpu)


@dataclass(frozen=True, slots=True)
class Memory:
    """Estimated bytes on one device while training, without those of CUDA and its allocator."""

    parameters_bytes: int
    gradients_bytes: int
    moments_bytes: int
    gathered_bytes: int  # weights in the type that is computed with
    activations_bytes: int  # that the blocks keep for the backward pass
    working_bytes: int  # of the loss, or of the backward pass of one block: the larger
    evaluation_bytes: int  # of everything during an evaluation, when there are no gradients

    @property
    def training_bytes(self) -> int:
        """Peak of a training step."""
        parts: tuple[int, ...] = astuple(self)
        return sum(parts) - self.evaluation_bytes

    @property
    def total_bytes(self) -> int:
        """Peak of training and evaluation."""
        return max(self.training_bytes, self.evaluation_bytes)


def device_memory(
    config: ModelConfig, how: Computation, *, sequence_tokens: int, micro_batch_sequences: int, evaluation: int = 0
) -> Memory:
    """Estimate the memory of each device: FSDP2, AdamW, fp32 weights, gradients reduced each micro-batch.

    `evaluation` is the number of tokens of a batch of evaluation.
    """
    parameters, types = config.count_parameters(), how.activations
    shard, tokens = ceil(parameters.total / how.devices), micro_batch_sequences * sequence_tokens
    block = parameters.blocks // config.num_hidden_layers
    head = config.vocab_size * config.hidden_size
    # Each block keeps its input, all of its activations, or a part of them. All share a dense mask.
    dense = how.on_cpu and masks_densely(sequence_tokens, how.compiled)
    mask_bytes = types.element_bytes * sequence_tokens if dense else 0
    whole = config.activation_bytes_per_token(types)
    recomputing = types.stream_bytes * config.hidden_size
    if how.recompute == "operations":
        recomputing = config.product_bytes_per_token(types)
    kept = [recomputing if recomputes(how.recompute, number) else whole for number in range(config.num_hidden_layers)]
    stream = types.stream_bytes * config.hidden_size
    norm = stream * 2 + (0 if types.fused_norms else 4 * config.hidden_size)  # the last one
    # At the loss: everything is kept.
    loss = tokens * stream + _loss_bytes(config, how, tokens)
    at_loss = (
        _weights_bytes(how, block, head, config.num_hidden_layers),
        tokens * (sum(kept) + norm + mask_bytes),
        loss,
    )
    # In the backward pass of a block: what earlier blocks keep, all of its own, and their gradients.
    most, deepest = max(
        (before + whole - own, number) for number, (before, own) in enumerate(zip(accumulate(kept), kept, strict=True))
    )
    weighing = sum(not recomputes(how.recompute, number) or number == deepest for number in range(deepest + 1))
    gradients = tokens * (2 * types.element_bytes * config.intermediate_size + 2 * stream) + _gradient_bytes(how, block)
    if how.devices > 1:
        gradients += types.element_bytes * head  # of the head and the embedding: reduced at the end
    own = whole - kept[deepest]
    at_block = (
        _weights_bytes(how, block, head, weighing),
        tokens * (most - own + norm + mask_bytes),
        tokens * own + gradients,
    )
    gathered, activations, working = max(at_loss, at_block, key=sum)
    # An evaluation keeps nothing of a block once the next one runs.
    width = 4 * types.element_bytes * config.intermediate_size + 3 * stream + mask_bytes
    chunk = min(evaluation, how.loss_chunk_tokens or chunk_tokens(config.vocab_size))
    logits = chunk * config.vocab_size * _logit_bytes(how) + (2 * head if types.autocast else 0)
    return Memory(
        parameters_bytes=4 * shard,
        gradients_bytes=4 * shard,
        moments_bytes=8 * shard,
        gathered_bytes=gathered,
        activations_bytes=activations,
        working_bytes=working,
        evaluation_bytes=12 * shard + at_loss[0] + evaluation * width + logits if evaluation else 0,
    )


def _weights_bytes(how: Computation, block: int, head: int, blocks: int) -> int:
    """Return the bytes of weights to compute with, of which the backward pass needs those of `blocks` blocks."""
    if how.devices == 1:
        return 2 * block * blocks if how.bf16 else 0  # casts, which autograd keeps
    # FSDP2: embedding and head, and two blocks, one computing and one prefetched (all, unless resharded).
    gathered = min(2, blocks) if how.reshard_after_forward else blocks
    return how.activations.element_bytes * (head + block * gathered)


def _gradient_bytes(how: Computation, block: int) -> int:
    """Return the bytes of a block's gradients before they are added to the others, with their fp32 copies."""
    if how.devices > 1:
        return (how.activations.element_bytes + 4) * block
    return 2 * block if how.bf16 else block  # about one matrix at a time


def _logit_bytes(how: Computation) -> int:
    """Return the bytes of a logit of the present chunk: in fp32, and in bf16 in which it is computed."""
    return 6 if how.bf16 else 4


def _loss_bytes(config: ModelConfig, how: Computation, tokens: int) -> int:
    """Return the bytes of a chunk's logits and of the gradient of the head's matrix."""
    chunk = how.loss_chunk_tokens or chunk_tokens(config.vocab_size)
    types, head = how.activations, config.vocab_size * config.hidden_size
    gradient = types.element_bytes * head  # of one chunk
    if chunk < tokens:
        gradient += 4 * head  # the sum of all
    cast = 2 * head if types.autocast else 0
    return min(chunk, tokens) * config.vocab_size * _logit_bytes(how) + gradient + cast
