"""Attention inside documents: rotary embedding, the mask of a packed sequence, and the kernel for each device.

On a CPU the mask is dense and the kernel PyTorch's own attention; on a GPU both are FlexAttention's, which skips what
is masked, and has no backward pass on a CPU. With no mask at all, attention is plainly causal.

Legend: B sequences, T positions (as queries), S positions (as keys), H query heads, K key and value heads, E width of
a head, R = E / 2 rotated pairs.
"""

import functools
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

Mask = Tensor | BlockMask | None  # dense: bool [B, 1, T, S], True where attended; None: causal


class Rotation:
    """The angles of each position.

    Neither tuple nor dataclass: in those FSDP finds the tensors that a block is given, and casts them to bf16.
    """

    def __init__(self, cos_TR: Tensor, sin_TR: Tensor) -> None:
        self.cos_TR, self.sin_TR = cos_TR, sin_TR


def rotation(positions: int, head_dim: int, base: float, like: Tensor) -> Rotation:
    """The rotary embedding's angles for positions 0, 1, …, on the device of `like`; fp32, or float64 if it is.

    Positions run on over the documents of a sequence: attention depends on their differences alone. The angles
    themselves are float64, since in fp32 those up to position 100,000 are off by up to 0.008.
    Source: Su et al. 2021 (arXiv 2104.09864), §3.2.2.
    """
    with torch.no_grad():
        pairs_R = torch.arange(0, head_dim, 2, dtype=torch.float64, device=like.device)
        positions_T = torch.arange(positions, dtype=torch.float64, device=like.device)
        angles_TR = torch.outer(positions_T, base ** (-pairs_R / head_dim))
        dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
        return Rotation(angles_TR.cos().to(dtype), angles_TR.sin().to(dtype))


def rotate(x_BHTE: Tensor, by: Rotation) -> Tensor:
    """Turns each head's pairs by their position. Pairs are (i, i + R), as Hugging Face stores LLaMA's weights."""
    first_BHTR, second_BHTR = x_BHTE.chunk(2, dim=-1)  # bf16 times fp32 is fp32
    turned = (
        first_BHTR * by.cos_TR - second_BHTR * by.sin_TR,
        second_BHTR * by.cos_TR + first_BHTR * by.sin_TR,
    )
    return torch.cat(turned, dim=-1).to(x_BHTE.dtype)


def document_mask(segments_BT: Tensor) -> Mask:
    """The mask under which a token attends to itself and to the earlier tokens of its own segment."""
    return block_mask(segments_BT) if segments_BT.is_cuda else dense_mask(segments_BT)


def dense_mask(segments_BT: Tensor) -> Tensor:
    """The document mask as bool [B, 1, T, S]."""
    same_B1TS = segments_BT[:, None, :, None] == segments_BT[:, None, None, :]
    return same_B1TS.tril()


def block_mask(segments_BT: Tensor) -> BlockMask:
    """The document mask for FlexAttention."""

    def attended(sequence: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (query >= key) & (segments_BT[sequence, query] == segments_BT[sequence, key])

    sequences, positions = segments_BT.shape
    # Compiled where it counts: uncompiled, it holds B x T x S in memory several times over.
    create = _compiled_create() if segments_BT.is_cuda else create_block_mask
    return create(attended, sequences, None, positions, positions, device=segments_BT.device)


def attend(q_BHTE: Tensor, k_BKSE: Tensor, v_BKSE: Tensor, mask: Mask) -> Tensor:
    """Attention [B, H, T, E]; each key head serves H / K query heads that stand side by side.

    A `BlockMask` takes FlexAttention on any device, on a CPU uncompiled and without gradients.
    """
    grouped = q_BHTE.shape[1] != k_BKSE.shape[1]
    if isinstance(mask, BlockMask):
        flex: Callable[..., object] = flex_attention
        if q_BHTE.is_cuda and not torch.compiler.is_compiling():  # inside a compiled block it is compiled with it
            flex = _compiled_flex()
        # A tuple comes only with `return_lse` or `return_aux`.
        return cast(Tensor, flex(q_BHTE, k_BKSE, v_BKSE, block_mask=mask, enable_gqa=grouped))
    causal = mask is None
    return functional.scaled_dot_product_attention(q_BHTE, k_BKSE, v_BKSE, mask, is_causal=causal, enable_gqa=grouped)


# Compiled once in a process, and late, because the compiler takes seconds to import.


@functools.cache
def _compiled_flex() -> Callable[..., object]:
    return torch.compile(flex_attention)


@functools.cache
def _compiled_create() -> Callable[..., BlockMask]:
    return torch.compile(create_block_mask)
