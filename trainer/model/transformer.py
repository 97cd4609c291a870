"""The interface between a model family and the engine, and the initialization that all families share.

    config = training.model.resolve(vocab_size)
    with torch.device("meta"):
        model = build_transformer(config)
    model.to_empty(device="cpu")
    initialize(model, training.seed, training.model.initializer_range)
    logits_BTV = model(inputs_BT, segments_BT)
    losses = model(inputs_BT, segments_BT, targets_BT)

Legend: B sequences, T positions, D hidden_size, V vocab_size.
"""

import hashlib
import importlib
import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn import functional

from trainer.model.cross_entropy import Cap, Losses, head_losses
from trainer.model.family import ModelConfig


class Transformer(nn.Module):
    """Base of the families' models: the attributes that the engine relies on.

    Parameters are created on the default device, and are undefined until `initialize` or a checkpoint fills them. There
    are no buffers: checkpoints hold parameters alone.
    """

    RESIDUAL_WEIGHTS: ClassVar[tuple[str, ...]]  # endings of the names of matrices that write into the residual stream
    INITIAL_GAIN: ClassVar[float] = 1.0  # of norms

    embedding: nn.Embedding
    blocks: nn.ModuleList  # each is compiled and sharded by itself
    norm: nn.RMSNorm
    head: nn.Linear | None  # None: the embedding's matrix, transposed

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.cap: Cap | None = None  # of the logits; a family may set one
        self.loss_chunk_tokens: int | None = None  # as in `head_losses`
        self.compiled = False  # blocks and loss

    def hidden(self, tokens_BT: Tensor, segments_BT: Tensor | None) -> Tensor:
        """Return the output of the last block [B, T, D].

        A token attends to earlier tokens of its own segment alone; without segments, to all earlier tokens.
        """
        raise NotImplementedError

    def forward(
        self, tokens_BT: Tensor, segments_BT: Tensor | None = None, targets_BT: Tensor | None = None
    ) -> Tensor | Losses:
        """Return logits [B, T, V] of the token after each position or, given targets, their losses."""
        x_BTD = self.norm(self.hidden(tokens_BT, segments_BT))
        # Called as a matrix, because the loss multiplies with it in chunks.
        weight_VD = self.embedding.weight if self.head is None else self.head.weight
        if targets_BT is None:
            logits_BTV = functional.linear(x_BTD, weight_VD)
            return logits_BTV if self.cap is None else self.cap(logits_BTV)
        return head_losses(
            x_BTD, weight_VD, targets_BT, cap=self.cap, tokens=self.loss_chunk_tokens, compiled=self.compiled
        )


def build_transformer(config: ModelConfig) -> Transformer:
    """Create the model of a configuration, on the default device."""
    model: Transformer = importlib.import_module(f"trainer.model.{config.family}.model").MODEL(config)
    return model


@torch.no_grad()
def initialize(model: Transformer, seed: int, initializer_range: float) -> None:
    """Fill every parameter: norms with `INITIAL_GAIN`, matrices from normal(0, initializer_range).

    Matrices that write into the residual stream (two a layer) are divided by the square root of their number. A matrix
    depends on the seed, its name and its shape alone, and not on sharding, devices or order. Each process computes the
    whole matrix and keeps its shard, so that no process waits for another.
    Source: Radford et al. 2019 (GPT-2), section 2.3.
    """
    assert not any(True for _ in model.buffers()), "a buffer would stay uninitialized"
    residual_std = initializer_range / math.sqrt(2 * model.config.num_hidden_layers)
    for name, parameter in model.named_parameters():
        assert not parameter.is_meta, f"{name} is on the meta device and has no memory; call to_empty first"
        if parameter.ndim == 1:
            assert name.endswith("norm.weight"), f"{name}: no rule to initialize it"
            parameter.fill_(model.INITIAL_GAIN)
            continue
        std = residual_std if name.endswith(model.RESIDUAL_WEIGHTS) else initializer_range
        matrix = _normal(parameter.shape, std, f"{seed} {name}")
        if isinstance(parameter, DTensor):
            matrix = matrix.to(parameter.device)
            parameter.copy_(distribute_tensor(matrix, parameter.device_mesh, parameter.placements, src_data_rank=None))
        else:
            parameter.copy_(matrix)


def _normal(shape: torch.Size, std: float, key: str) -> Tensor:
    """Draw from a normal distribution in fp32, on the CPU: its generator gives the same numbers whatever the GPU."""
    generator = torch.Generator("cpu").manual_seed(int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]))
    return torch.empty(shape, dtype=torch.float32, device="cpu").normal_(0.0, std, generator=generator)
