"""AdamW over a model's parameters, its learning rate, and the clipping of gradients."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from trainer.config import OptimizerSettings


def make_optimizer(model: nn.Module, settings: OptimizerSettings) -> torch.optim.AdamW:
    """AdamW in two groups: matrices decay; the norms' gains do not, nor does an embedding table of its own.

    Decay would shrink the rows of rare tokens, and small embeddings make large gradients. A table that is also the
    output head is a matrix like others. The rate is 0 until `set_rate`.
    Source: OLMo 2 (arXiv 2501.00656), weight decay on embeddings.
    """
    parameters = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    spared = {name for name, parameter in parameters.items() if parameter.ndim < 2}
    if "head.weight" in parameters:
        spared.add("embedding.weight")
    groups = [
        {
            "params": [parameter for name, parameter in parameters.items() if name not in spared],
            "weight_decay": settings.weight_decay,
        },
        {"params": [parameter for name, parameter in parameters.items() if name in spared], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        groups,
        lr=0.0,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
        fused=_can_fuse(list(parameters.values())),
    )


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Sets the learning rate of all groups."""
    for group in optimizer.param_groups:
        group["lr"] = rate


@torch.no_grad()
def clip(parameters: Iterable[Tensor], max_norm: float | None) -> float:
    """The gradients' norm over all parameters and devices; scales them down to `max_norm` if they are above it.

    `None` measures and scales nothing. Gradients whose norm is not finite are worthless after this: look at the norm
    before stepping. All devices must call it together.
    """
    updated = [parameter for parameter in parameters if parameter.grad is not None]
    norm = nn.utils.get_total_norm([parameter.grad for parameter in updated if parameter.grad is not None])
    if isinstance(norm, DTensor):
        norm = norm.full_tensor()
    if max_norm is not None:
        nn.utils.clip_grads_with_norm_(updated, max_norm, norm)
    return float(norm)


def _can_fuse(parameters: list[nn.Parameter]) -> bool:
    """Whether one kernel can update them all: no mixture of sharded and whole ones, nor of devices.

    The CPU has it too, and it works element by element: its results do not depend on the number of threads.
    """
    kinds = {(isinstance(parameter, DTensor), parameter.device.type) for parameter in parameters}
    return len(kinds) == 1 and next(iter(kinds))[1] in ("cpu", "cuda")
