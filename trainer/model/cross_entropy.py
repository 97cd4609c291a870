"""The loss of each token; who sums them divides by the number of targets in the whole batch, over all devices.

Legend: B sequences, T positions, V vocabulary, N = B x T.
"""

import torch
from torch import Tensor
from torch.nn import functional

from trainer.data.loader import IGNORED


def token_losses(logits_BTV: Tensor, targets_BT: Tensor) -> Tensor:
    """−ln p of each target [B, T], in nats and at least fp32; 0 where the target is IGNORED."""
    logits_NV, targets_N = logits_BTV.flatten(0, 1), targets_BT.flatten()
    if logits_NV.dtype != torch.float64:
        logits_NV = logits_NV.float()
    losses_N = functional.cross_entropy(logits_NV, targets_N, ignore_index=IGNORED, reduction="none")
    return losses_N.view(targets_BT.shape)
