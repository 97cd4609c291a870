"""Attention against softmax written out in float64, and one kernel against the other."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask

from trainer.model.attention import (
    DocumentLengths,
    Mask,
    RotaryAngles,
    attend,
    block_mask,
    dense_mask,
    document_lengths,
    document_mask,
    rotary_angles,
    rotate,
)

F64 = torch.float64
WHOLE = torch.zeros((), dtype=F64)
HEADS = [(4, 4), (4, 2), (6, 1)]  # query heads, key and value heads


def made(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


def softmax_attention(q_BHTE: Tensor, k_BKSE: Tensor, v_BKSE: Tensor, attended_BTS: Tensor) -> Tensor:
    """Softmax attention, one query head at a time."""
    group = q_BHTE.shape[1] // k_BKSE.shape[1]
    outs = []
    for head in range(q_BHTE.shape[1]):
        scores_BTS = q_BHTE[:, head] @ k_BKSE[:, head // group].transpose(1, 2) / math.sqrt(q_BHTE.shape[-1])
        weights_BTS = scores_BTS.exp() * attended_BTS
        outs.append(weights_BTS / weights_BTS.sum(-1, keepdim=True) @ v_BKSE[:, head // group])
    return torch.stack(outs, dim=1)


def segments_of(*rows: list[int]) -> Tensor:
    """Segment numbers from the lengths of each row's documents."""
    return torch.tensor([[n for n, length in enumerate(row) for _ in range(length)] for row in rows], dtype=torch.int32)


@pytest.mark.parametrize(("heads", "kv_heads"), HEADS)
@pytest.mark.parametrize("masked", [True, False])
def test_attention_and_its_gradients_equal_softmax_written_out(heads: int, kv_heads: int, masked: bool) -> None:
    segments_BT = segments_of([3, 1, 5], [9]) if masked else segments_of([9], [9])
    parts = [made(2, count, 9, 8, seed=count + place) for place, count in enumerate((heads, kv_heads, kv_heads))]
    mask: Mask = document_mask(segments_BT, like=parts[0]) if masked else None
    attended_BTS = (segments_BT[:, :, None] == segments_BT[:, None, :]) & torch.ones(9, 9, dtype=torch.bool).tril()
    weights = made(2, heads, 9, 8, seed=99)
    results = []
    for compute, how in ((attend, mask), (softmax_attention, attended_BTS)):
        leaves = [part.clone().requires_grad_() for part in parts]
        out = compute(*leaves, how)  # type: ignore[operator]
        (out * weights).sum().backward()
        results.append([out.detach(), *(leaf.grad for leaf in leaves)])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize(("heads", "kv_heads"), HEADS)
@pytest.mark.parametrize("lengths", [([300],), ([1, 130, 40, 129],), ([128, 172], [299, 1])], ids=str)
def test_both_kernels_give_the_same_result(heads: int, kv_heads: int, lengths: tuple[list[int], ...]) -> None:
    """300 positions are three of FlexAttention's blocks; the last is not full."""
    segments_BT = segments_of(*lengths)
    q_BHTE = made(len(lengths), heads, 300, 16)
    k_BKTE, v_BKTE = (made(len(lengths), kv_heads, 300, 16, seed=seed) for seed in (1, 2))
    blocks = block_mask(segments_BT)
    assert isinstance(blocks, BlockMask)
    flexed = attend(q_BHTE, k_BKTE, v_BKTE, blocks)
    dense = attend(q_BHTE, k_BKTE, v_BKTE, dense_mask(segments_BT, torch.float64))
    torch.testing.assert_close(flexed, dense, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("heads", "kv_heads"), HEADS)
def test_document_by_document_gives_the_same_result_and_gradients(heads: int, kv_heads: int) -> None:
    segments_BT = segments_of([30, 1, 169], [200])
    weights = made(2, heads, 200, 8, seed=99)
    results = []
    for mask in (dense_mask(segments_BT, torch.float64), document_lengths(segments_BT)):
        leaves = [
            made(2, count, 200, 8, seed=n).requires_grad_() for n, count in enumerate((heads, kv_heads, kv_heads))
        ]
        out = attend(*leaves, mask)
        (out * weights).sum().backward()  # type: ignore[no-untyped-call]
        results.append([out.detach(), *(leaf.grad for leaf in leaves)])
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_long_sequences_of_long_documents_are_attended_to_by_document() -> None:
    like = torch.empty(0)
    mask = document_mask(segments_of([2000, 48], [2048]), like)
    assert isinstance(mask, DocumentLengths) and mask.lengths == [[2000, 48], [2048]]
    for lengths, compiled in (([100, 1947], False), ([16] * 128, False), ([2048], True)):
        assert isinstance(document_mask(segments_of(lengths), like, compiled), Tensor)


@given(st.lists(st.lists(st.integers(0, 3), min_size=7, max_size=7).map(sorted), min_size=1, max_size=3))
def test_a_token_attends_to_its_segment_up_to_itself(rows: list[list[int]]) -> None:
    mask_B1TS = document_mask(torch.tensor(rows, dtype=torch.int32), like=torch.empty(0))
    assert isinstance(mask_B1TS, Tensor)
    for row, segments in enumerate(rows):
        expected = [[key <= query and segments[key] == segments[query] for key in range(7)] for query in range(7)]
        assert (mask_B1TS[row, 0] == 0).tolist() == expected
        assert (mask_B1TS[row, 0] == -torch.inf).tolist() == [[not attended for attended in keys] for keys in expected]


@pytest.mark.parametrize("autocast", [True, False])
def test_a_mask_has_the_type_that_is_computed_with(autocast: bool) -> None:
    """Blocks then keep it as it is, once for all of them."""
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        mask = document_mask(segments_of([3, 1]), like=torch.empty(0))
    assert isinstance(mask, Tensor) and mask.dtype == (torch.bfloat16 if autocast else torch.float32)


@given(st.integers(0, 100_000), st.sampled_from([10_000.0, 500_000.0]))
def test_angles_are_exact_at_far_positions(position: int, base: float) -> None:
    """In fp32 the angles themselves would be off by up to 0.008 there."""
    angles = rotary_angles(100_001, 8, base, like=torch.zeros(()))
    assert angles.cos_TR.dtype == torch.float32
    expected = [position * base ** (-pair / 4) for pair in range(4)]
    assert angles.cos_TR[position].tolist() == pytest.approx([math.cos(angle) for angle in expected], abs=1e-7)
    assert angles.sin_TR[position].tolist() == pytest.approx([math.sin(angle) for angle in expected], abs=1e-7)


def test_rotation_is_a_product_of_complex_numbers() -> None:
    angles = rotary_angles(50, 8, 10_000.0, like=WHOLE)
    x_BHTE = made(2, 3, 50, 8)
    x_BHTR = torch.complex(x_BHTE[..., :4], x_BHTE[..., 4:])
    turned = x_BHTR * torch.complex(angles.cos_TR, angles.sin_TR)
    torch.testing.assert_close(rotate(x_BHTE, angles), torch.cat((turned.real, turned.imag), -1), rtol=0, atol=1e-14)


@given(st.integers(0, 900), st.integers(0, 90), st.integers(0, 10**6))
def test_scores_depend_only_on_the_distance(near: int, distance: int, seed: int) -> None:
    """Therefore positions need not restart with each document."""
    angles = rotary_angles(1000, 16, 500_000.0, like=WHOLE)
    q_E, k_E = made(16, seed=seed), made(16, seed=seed + 1)

    def at(x_E: Tensor, position: int) -> Tensor:
        there = RotaryAngles(angles.cos_TR[position : position + 1], angles.sin_TR[position : position + 1])
        return rotate(x_E.view(1, 1, 1, 16), there).flatten()

    score = at(q_E, near + distance) @ at(k_E, near)
    torch.testing.assert_close(score, at(q_E, distance) @ at(k_E, 0), rtol=0, atol=1e-11)


def test_rotation_of_bf16_is_rounded_once() -> None:
    """The rotation itself is in fp32."""
    x_BHTE = made(1, 2, 400, 16).bfloat16()
    turned = rotate(x_BHTE, rotary_angles(400, 16, 10_000.0, like=x_BHTE))
    exact = rotate(x_BHTE.double(), rotary_angles(400, 16, 10_000.0, like=WHOLE))
    assert turned.dtype == torch.bfloat16
    torch.testing.assert_close(turned.double(), exact, rtol=2**-8, atol=1e-6)
