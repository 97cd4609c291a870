"""The loss of each token, not yet reduced.

Callers sum the losses and divide by the number of targets of the whole batch, over all devices.

Legend: B sequences, T positions, V vocab_size, N = B·T.
"""

import torch
from torch import Tensor
from torch.nn import functional


def token_losses(logits_BTV: Tensor, targets_BT: Tensor) -> Tensor:
    """Return −ln p of each target [B, T], in nats and at least fp32; 0 for torch's default ignore_index, −100."""
    logits_NV, targets_N = logits_BTV.flatten(0, 1), targets_BT.flatten()
    if logits_NV.dtype != torch.float64:
        logits_NV = logits_NV.float()
    losses_N = functional.cross_entropy(logits_NV, targets_N, reduction="none")
    return losses_N.view(targets_BT.shape)
