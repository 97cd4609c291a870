"""The transformer: decoder-only, as LLaMA's. Tokens in, logits out.

    shape = Shape.of(training.model, vocabulary)
    with torch.device("meta"):
        model = Transformer(shape)
    model.to_empty(device="cpu")
    initialise(model, training.seed, training.model.init_std)
    logits_BTV = model(inputs_BT, document_mask(segments_BT))

It holds no buffers: all that a checkpoint must carry are its parameters.

Legend: B sequences, T positions, D width, H query heads, E width of a head, F width of the MLP, V vocabulary.
"""

import hashlib
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn import functional

from trainer import config
from trainer.model.attention import Mask, Rotation, attend, rotate, rotation

_INTO_RESIDUAL = ("attention.out.weight", "mlp.down.weight")


@dataclass(frozen=True)
class Shape:
    """All that decides the parameters' shapes, and what is computed from them."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    head_width: int
    mlp_width: int
    vocabulary: int
    rope_base: float
    norm_epsilon: float
    tied_embeddings: bool

    @classmethod
    def of(cls, model: config.Model, vocabulary: int) -> "Shape":
        """The shape that a train.yaml means, over a tokenizer's vocabulary."""
        return cls(
            layers=model.layers,
            width=model.width,
            heads=model.heads,
            kv_heads=model.kv_heads or model.heads,
            head_width=model.head_width or model.width // model.heads,
            mlp_width=model.mlp_width,
            vocabulary=vocabulary,
            rope_base=model.rope_base,
            norm_epsilon=model.norm_epsilon,
            tied_embeddings=model.tied_embeddings,
        )


class Attention(nn.Module):
    """Grouped-query attention with rotary embedding. Source: Ainslie et al. 2023 (arXiv 2305.13245)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.head_width = shape.head_width
        wide, narrow = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
        self.query = nn.Linear(shape.width, wide, bias=False)
        self.key = nn.Linear(shape.width, narrow, bias=False)
        self.value = nn.Linear(shape.width, narrow, bias=False)
        self.out = nn.Linear(wide, shape.width, bias=False)

    def forward(self, x_BTD: Tensor, turn: Rotation, mask: Mask) -> Tensor:
        q_BHTE = rotate(self._heads(self.query(x_BTD)), turn)
        k_BKTE = rotate(self._heads(self.key(x_BTD)), turn)
        mixed_BHTE = attend(q_BHTE, k_BKTE, self._heads(self.value(x_BTD)), mask)
        out_BTD: Tensor = self.out(mixed_BHTE.transpose(1, 2).flatten(2))
        return out_BTD

    def _heads(self, flat: Tensor) -> Tensor:
        return flat.view(*flat.shape[:-1], -1, self.head_width).transpose(1, 2)


class Mlp(nn.Module):
    """SwiGLU. Source: Shazeer 2020 (arXiv 2002.05202)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate = nn.Linear(shape.width, shape.mlp_width, bias=False)
        self.up = nn.Linear(shape.width, shape.mlp_width, bias=False)
        self.down = nn.Linear(shape.mlp_width, shape.width, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        hidden_BTF = functional.silu(self.gate(x_BTD)) * self.up(x_BTD)
        out_BTD: Tensor = self.down(hidden_BTF)
        return out_BTD


class Block(nn.Module):
    """A layer: attention, then the MLP, each on the normed input and added to it."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.attention_norm = _norm(shape)
        self.attention = Attention(shape)
        self.mlp_norm = _norm(shape)
        self.mlp = Mlp(shape)

    def forward(self, x_BTD: Tensor, turn: Rotation, mask: Mask) -> Tensor:
        x_BTD = x_BTD + self.attention(self.attention_norm(x_BTD), turn, mask)
        x_BTD = x_BTD + self.mlp(self.mlp_norm(x_BTD))
        return x_BTD


class Transformer(nn.Module):
    """The model. Its parameters are made on the default device, and mean nothing before `initialise`."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocabulary, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = _norm(shape)
        self.head = None if shape.tied_embeddings else nn.Linear(shape.width, shape.vocabulary, bias=False)

    def forward(self, tokens_BT: Tensor, mask: Mask = None) -> Tensor:
        """Logits [B, T, V] of the token after each; without a mask, attention is causal over the whole sequence."""
        x_BTD: Tensor = self.embedding(tokens_BT)
        turn = rotation(tokens_BT.shape[1], self.shape.head_width, self.shape.rope_base, like=x_BTD)
        for block in self.blocks:
            x_BTD = block(x_BTD, turn, mask)
        x_BTD = self.norm(x_BTD)
        if self.head is None:
            return functional.linear(x_BTD, self.embedding.weight)
        logits_BTV: Tensor = self.head(x_BTD)
        return logits_BTV


@torch.no_grad()
def initialise(model: Transformer, seed: int, init_std: float) -> None:
    """Fills every parameter: gains with 1, matrices with normal(0, init_std).

    The 2 x layers matrices that write into the residual stream are smaller by the root of their number. A matrix
    depends on the seed, its name and the model's shape alone: not on sharding, devices or order. A sharded parameter
    takes its own part, and no device waits for another.
    Source: Radford et al. 2019 (GPT-2), §2.3.
    """
    assert not any(True for _ in model.buffers()), "a buffer would stay uninitialised"
    smaller = init_std / math.sqrt(2 * model.shape.layers)
    for name, parameter in model.named_parameters():
        assert not parameter.is_meta, f"{name} is on the meta device, where nothing can be kept; call to_empty first"
        if parameter.ndim == 1:
            assert name.endswith("norm.weight"), f"{name}: no rule to initialise it"
            parameter.fill_(1.0)
            continue
        whole = _normal(parameter.shape, smaller if name.endswith(_INTO_RESIDUAL) else init_std, f"{seed} {name}")
        if isinstance(parameter, DTensor):
            whole = whole.to(parameter.device)
            parameter.copy_(distribute_tensor(whole, parameter.device_mesh, parameter.placements, src_data_rank=None))
        else:
            parameter.copy_(whole)


def _normal(shape: torch.Size, std: float, key: str) -> Tensor:
    """fp32 on the CPU, whose generator gives the same numbers whatever the GPU."""
    generator = torch.Generator("cpu").manual_seed(int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]))
    return torch.empty(shape, dtype=torch.float32, device="cpu").normal_(0.0, std, generator=generator)


def _norm(shape: Shape) -> nn.RMSNorm:
    """RMSNorm, which reckons in fp32 also where its input is bf16. Source: Zhang & Sennrich 2019 (arXiv 1910.07467)."""
    return nn.RMSNorm(shape.width, eps=shape.norm_epsilon)
