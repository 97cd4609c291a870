"""AdamW: parameter groups, learning rate and gradient clipping."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from trainer.config import OptimizerSettings


def make_optimizer(model: nn.Module, settings: OptimizerSettings) -> torch.optim.AdamW:
    """Make AdamW with two groups: matrices have weight decay; norm gains and an untied embedding have none.

    Weight decay would shrink the embeddings of rare tokens, and small embeddings cause large gradients. A tied
    embedding is also the output head, and decays like other matrices. The learning rate is 0 until `set_rate`. Source:
    OLMo 2 (arXiv 2501.00656), weight decay on embeddings.
    """
    parameters = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    # Gains are the only parameters with one dimension.
    no_decay = {name for name, parameter in parameters.items() if parameter.ndim < 2}
    if "head.weight" in parameters:
        no_decay.add("embedding.weight")
    groups = [
        {
            "params": [parameter for name, parameter in parameters.items() if name not in no_decay],
            "weight_decay": settings.weight_decay,
        },
        {"params": [parameter for name, parameter in parameters.items() if name in no_decay], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        groups,
        lr=0.0,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
        fused=_can_fuse(list(parameters.values())),
    )


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of all groups."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def clip(parameters: Iterable[Tensor], max_norm: float | None) -> float:
    """Scale gradients down to `max_norm` and return their norm before. All processes call this together.

    With None, only measure. If the norm is not finite, the scaled gradients are useless: check it before stepping.
    """
    with_gradient = [parameter for parameter in parameters if parameter.grad is not None]
    norm = nn.utils.get_total_norm([parameter.grad for parameter in with_gradient if parameter.grad is not None])
    whole = norm.full_tensor() if isinstance(norm, DTensor) else norm
    # Torch multiplies by max_norm / (norm + 1e-6), or by 1 if that is more.
    if max_norm is not None and not whole + 1e-6 <= max_norm:
        nn.utils.clip_grads_with_norm_(with_gradient, max_norm, norm)
    return float(whole)


def _can_fuse(parameters: list[nn.Parameter]) -> bool:
    """True if one kernel can update all parameters: all sharded or none, and all on one kind of device.

    The CPU kernel works element by element, so its results do not depend on the number of threads.
    """
    kinds = {(isinstance(parameter, DTensor), parameter.device.type) for parameter in parameters}
    return len(kinds) == 1 and next(iter(kinds))[1] in ("cpu", "cuda")
