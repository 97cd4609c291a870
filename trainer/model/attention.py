"""Attention within documents: rotary embeddings, the mask of a packed sequence, and a kernel for each device.

On a CPU the kernel is PyTorch's own attention: with a dense mask, or for long sequences document by document, which
skips what a mask would only hide. On a GPU kernel and mask are FlexAttention's, which skips masked blocks and has no
backward pass on a CPU. Without a mask, attention is causal.

Legend: B sequences, T positions (of queries), S positions (of keys), H query heads, K key and value heads, E head_dim,
R = E/2 rotated pairs.
"""

import functools
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from trainer.model.memory import masks_densely

MIN_MEAN_TOKENS = 128  # of documents that are worth a call each

_compiled = functools.cache(torch.compile)  # once per process and on first use: the compiler takes seconds to import


class DocumentLengths:
    """Tokens of each document, by sequence. Not a tuple, as FSDP would search it for tensors."""

    def __init__(self, lengths: list[list[int]]) -> None:
        self.lengths = lengths


# Dense: numbers [B, 1, T, S] to be added to scores, 0 where attended and minus infinity elsewhere; None: causal.
Mask = Tensor | BlockMask | DocumentLengths | None


class RotaryAngles:
    """Cosine and sine of the angles of each position.

    Not a tuple or dataclass: FSDP searches those for tensors in a block's arguments, and casts them to bf16.
    """

    def __init__(self, cos_TR: Tensor, sin_TR: Tensor) -> None:
        self.cos_TR, self.sin_TR = cos_TR, sin_TR


def rotary_angles(positions: int, head_dim: int, theta: float, like: Tensor) -> RotaryAngles:
    """Compute the angles of positions 0, 1, …, on the device of `like`, in fp32, or float64 if `like` is.

    Positions continue across the documents of a sequence: attention depends on their differences alone.
    Source: Su et al. 2021 (arXiv 2104.09864), section 3.2.2.
    """
    with torch.no_grad():
        # In fp32, angles up to position 100,000 would be off by up to 0.008.
        pairs_R = torch.arange(0, head_dim, 2, dtype=torch.float64, device=like.device)
        positions_T = torch.arange(positions, dtype=torch.float64, device=like.device)
        angles_TR = torch.outer(positions_T, theta ** (-pairs_R / head_dim))
        dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
        return RotaryAngles(angles_TR.cos().to(dtype), angles_TR.sin().to(dtype))


def rotate(x_BHTE: Tensor, angles: RotaryAngles) -> Tensor:
    """Rotate each head's pairs by the angles of their position.

    Pairs are (i, i + R), as in Hugging Face's LLaMA weights.
    """
    first_BHTR, second_BHTR = x_BHTE.chunk(2, dim=-1)  # bf16 times fp32 is fp32
    rotated = (
        first_BHTR * angles.cos_TR - second_BHTR * angles.sin_TR,
        second_BHTR * angles.cos_TR + first_BHTR * angles.sin_TR,
    )
    return torch.cat(rotated, dim=-1).to(x_BHTE.dtype)


def document_mask(segments_BT: Tensor, like: Tensor, compiled: bool = False) -> Mask:
    """Return the mask under which a token attends to itself and to earlier tokens of its segment.

    A dense mask has the type that attention computes in, for vectors `like` these. `compiled` blocks take no
    `DocumentLengths`, because they would be compiled for each.
    """
    if segments_BT.is_cuda:
        return block_mask(segments_BT)
    if not masks_densely(segments_BT.shape[1], compiled):
        lengths = document_lengths(segments_BT)
        if segments_BT.numel() >= MIN_MEAN_TOKENS * sum(map(len, lengths.lengths)):
            return lengths
    kind = like.device.type
    cast = like.dtype == torch.float32 and torch.is_autocast_enabled(kind)  # float64 is never cast
    mask = _compiled(dense_mask) if compiled else dense_mask
    return mask(segments_BT, torch.get_autocast_dtype(kind) if cast else like.dtype)


def document_lengths(segments_BT: Tensor) -> DocumentLengths:
    """Return the tokens of each segment."""
    return DocumentLengths(
        [segments_T.unique_consecutive(return_counts=True)[1].tolist() for segments_T in segments_BT]
    )


def dense_mask(segments_BT: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the document mask as numbers [B, 1, T, S] to be added to scores.

    Given booleans, the kernel would make such numbers in each block, and keep them for the backward pass.
    """
    same_B1TS = segments_BT[:, None, :, None] == segments_BT[:, None, None, :]
    return torch.zeros(same_B1TS.shape, dtype=dtype, device=segments_BT.device).masked_fill_(
        same_B1TS.tril_().logical_not_(), -torch.inf
    )


def block_mask(segments_BT: Tensor) -> BlockMask:
    """Return the document mask for FlexAttention."""

    def attended(sequence: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (query >= key) & (segments_BT[sequence, query] == segments_BT[sequence, key])

    sequences, positions = segments_BT.shape
    # Uncompiled, it would hold B·T·S elements in memory several times.
    create = _compiled(create_block_mask) if segments_BT.is_cuda else create_block_mask
    return create(attended, sequences, None, positions, positions, device=segments_BT.device)


def attend(q_BHTE: Tensor, k_BKSE: Tensor, v_BKSE: Tensor, mask: Mask) -> Tensor:
    """Compute attention [B, H, T, E]. Each key head serves H/K adjacent query heads.

    A `BlockMask` selects FlexAttention on any device; on a CPU it runs uncompiled and without gradients.
    """
    grouped = q_BHTE.shape[1] != k_BKSE.shape[1]
    if isinstance(mask, BlockMask):
        flex: Callable[..., object] = flex_attention
        if q_BHTE.is_cuda and not torch.compiler.is_compiling():  # a compiled block compiles it as well
            flex = _compiled(flex_attention)
        # It returns a tuple only with `return_lse` or `return_aux`.
        return cast(Tensor, flex(q_BHTE, k_BKSE, v_BKSE, block_mask=mask, enable_gqa=grouped))
    if isinstance(mask, DocumentLengths):
        return _attend_by_document(q_BHTE, k_BKSE, v_BKSE, mask)
    causal = mask is None
    return functional.scaled_dot_product_attention(q_BHTE, k_BKSE, v_BKSE, mask, is_causal=causal, enable_gqa=grouped)


def _attend_by_document(q_BHTE: Tensor, k_BKTE: Tensor, v_BKTE: Tensor, documents: DocumentLengths) -> Tensor:
    """Compute causal attention within each document. Documents are split, not sliced: gradients are then joined."""
    rows = []
    for lengths, *parts in zip(documents.lengths, q_BHTE.unbind(), k_BKTE.unbind(), v_BKTE.unbind(), strict=True):
        split = [torch.split(part.unsqueeze(0), lengths, dim=2) for part in parts]
        rows.append(torch.cat([attend(q, k, v, None) for q, k, v in zip(*split, strict=True)], dim=2))
    return torch.cat(rows)
