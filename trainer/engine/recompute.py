"""Activation checkpointing: blocks that compute their activations again in the backward pass, instead of keeping them.

A block that recomputes keeps its input alone. By operation, it keeps also the results of matrix products and of
attention, which are slow to compute, and recomputes norms, rotations and activation functions, which are fast.
Source: Chen et al. 2016 (arXiv 1604.06174); by operation: Korthikanti et al. 2022 (arXiv 2205.05198), section 5.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from trainer.model.memory import Recompute, recomputes

_KEPT_OPERATIONS = [
    torch.ops.aten.mm.default,
    torch.ops.aten.addmm.default,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default,
    torch.ops.aten._scaled_dot_product_flash_attention.default,
    torch.ops.aten._scaled_dot_product_efficient_attention.default,
    torch.ops.aten._scaled_dot_product_cudnn_attention.default,
    torch.ops.higher_order.flex_attention,
]


def recompute_blocks(model: nn.Module, setting: Recompute) -> None:
    """Let the blocks that the setting names recompute their activations. Call this before they are compiled."""
    contexts = partial(create_selective_checkpoint_contexts, _policy) if setting == "operations" else None
    for number, block in enumerate(model.get_submodule("blocks").children()):
        if recomputes(setting, number):
            block.forward = _recomputed(block.forward, contexts)


def _recomputed(forward: Callable[..., Tensor], contexts: Callable[[], Any] | None) -> Callable[..., Tensor]:
    """Return a forward pass that recomputes. It is a function of this file so that the compiler traces it."""

    def recomputed(*arguments: object) -> Tensor:
        # There is no dropout, so there is no random state to restore.
        run = partial(checkpoint, forward, *arguments, use_reentrant=False, preserve_rng_state=False)
        return cast(Tensor, run() if contexts is None else run(context_fn=contexts))

    return recomputed


def _policy(context: object, operation: object, *arguments: object, **options: object) -> CheckpointPolicy:
    kept = operation in _KEPT_OPERATIONS
    return CheckpointPolicy.MUST_SAVE if kept else CheckpointPolicy.PREFER_RECOMPUTE
