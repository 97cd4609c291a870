"""Cross-entropy of the output head, some tokens at a time: no tensor holds the logits of a whole micro-batch.

The loss is the last step of a forward pass, so its gradients are computed there and then, chunk by chunk, while the
logits are at hand. Nothing of vocabulary size is kept for the backward pass, and no matrix is multiplied twice.
Nothing is averaged here: the engine divides by the number of targets of the whole batch.

Legend: B sequences, T positions, D hidden_size, V vocab_size, N = B·T.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from trainer.model.memory import chunk_tokens

IGNORED_TARGET = -100  # without a loss; torch's default
Cap = Callable[[Tensor], Tensor]  # of logits, element by element
_Chunk = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, tuple[Tensor, Tensor] | None]]
_Scaled = Callable[[Tensor, Tensor, torch.dtype], Tensor]
_compiled = cache(partial(torch.compile, dynamic=False))  # on first use: the compiler takes seconds to import


class Losses(NamedTuple):
    """Losses in nats, in at least fp32."""

    total: Tensor  # their sum, through which gradients flow
    each_BT: Tensor  # −ln p of each target, without a gradient; 0 where the target is ignored


def head_losses(
    x_BTD: Tensor,
    weight_VD: Tensor,
    targets_BT: Tensor,
    *,
    cap: Cap | None = None,
    tokens: int | None = None,
    compiled: bool = False,
) -> Losses:
    """Return the losses of the targets under the logits `cap(x @ weight.T)`, `tokens` at a time."""
    # Within the function below, gradients are off.
    gradients = torch.is_grad_enabled() and (x_BTD.requires_grad or weight_VD.requires_grad)
    tokens = tokens or chunk_tokens(len(weight_VD))
    chunk = _compiled(_chunk) if compiled else _chunk
    scaled = _compiled(_scaled) if compiled else _scaled
    arguments = (x_BTD.flatten(0, -2), weight_VD, targets_BT.flatten(), partial(chunk, cap, gradients), scaled, tokens)
    total, each_N = _HeadLosses.apply(*arguments)  # type: ignore[no-untyped-call]
    return Losses(total, each_N.view(targets_BT.shape))


class _HeadLosses(torch.autograd.Function):
    """Losses of rows, with gradients of their sum."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        x_ND: Tensor,
        weight_VD: Tensor,
        targets_N: Tensor,
        chunk: _Chunk,
        scaled: _Scaled,
        tokens: int,
    ) -> tuple[Tensor, Tensor]:
        kind = x_ND.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x_ND.dtype
        losses, x_gradients = list[Tensor](), list[Tensor]()
        weight_gradient_VD: Tensor | None = None
        with torch.autocast(kind, enabled=False):
            weight_cast_VD = weight_VD.to(dtype)  # once for all chunks
            for x_MD, targets_M in zip(torch.split(x_ND, tokens), torch.split(targets_N, tokens), strict=True):
                losses_M, gradients = chunk(x_MD.to(dtype), weight_cast_VD, targets_M)
                losses.append(losses_M)
                if gradients is None:
                    continue
                x_gradients.append(gradients[0].to(x_ND.dtype))
                if weight_gradient_VD is not None:
                    weight_gradient_VD += gradients[1]
                elif len(x_MD) == len(x_ND):
                    weight_gradient_VD = gradients[1]
                else:  # in bf16, a sum of many chunks would lose digits
                    weight_gradient_VD = gradients[1].to(torch.promote_types(dtype, torch.float32))
                del gradients  # as large as the weight: before the next chunk has its own
        if weight_gradient_VD is not None:
            ctx.save_for_backward(torch.cat(x_gradients), weight_gradient_VD)
            ctx.scaled, ctx.dtype = scaled, weight_VD.dtype  # type: ignore[attr-defined]
        each_N = torch.cat(losses)
        ctx.mark_non_differentiable(each_N)
        return each_N.sum(), each_N

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, scale: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        x_gradient_ND, weight_gradient_VD = ctx.saved_tensors  # type: ignore[attr-defined]
        # In place: nothing else reads them, and a second backward pass is not supported.
        scaled_VD = ctx.scaled(weight_gradient_VD, scale, ctx.dtype)  # type: ignore[attr-defined]
        return x_gradient_ND.mul_(scale), scaled_VD, None, None, None, None


def _scaled(gradient_VD: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a gradient times `scale`: the same tensor, or one of another type."""
    return gradient_VD.to(dtype).mul_(scale)


def _chunk(
    cap: Cap | None, with_gradients: bool, x_ND: Tensor, weight_VD: Tensor, targets_N: Tensor
) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
    """Return the losses of some rows and, if asked for, the gradients of their sum by `x_ND` and by the weight.

    Written in place for the case that it is not compiled: logits in fp32 are in memory once.
    """
    logits_NV = x_ND @ weight_VD.t()
    cap_gradient: Callable[[Tensor], tuple[Tensor]] | None = None
    if cap is not None:
        capped_NV, cap_gradient = torch.func.vjp(cap, logits_NV)[:2]
        logits_NV = capped_NV.clone()  # `cap_gradient` may need it
    logits_NV = logits_NV.to(torch.promote_types(logits_NV.dtype, torch.float32))
    # Take the target's logit out before logits become exponentials.
    known_N1 = (targets_N != IGNORED_TARGET)[:, None]
    index_N1 = targets_N[:, None].where(known_N1, 0)
    logits_NV.sub_(logits_NV.amax(1, keepdim=True))
    target_N1 = logits_NV.gather(1, index_N1)
    logits_NV.exp_()
    sum_N1 = logits_NV.sum(1, keepdim=True)
    log_p_N1 = (target_N1 - sum_N1.log()).where(known_N1, 0)
    losses_N = -log_p_N1.squeeze(1)
    if not with_gradients:
        return losses_N, None
    # The gradient of a loss by its logits is p, and p − 1 at the target: expm1 is exact even if p is near 1.
    gradient_NV = logits_NV.mul_(known_N1 / sum_N1).to(x_ND.dtype)
    del logits_NV  # before the products need memory
    gradient_NV.scatter_(1, index_N1, log_p_N1.expm1().to(x_ND.dtype))
    if cap_gradient is not None:
        (gradient_NV,) = cap_gradient(gradient_NV)
    return losses_N, (gradient_NV @ weight_VD, gradient_NV.t() @ x_ND)
