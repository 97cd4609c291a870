"""The transformer: decoder-only, as LLaMA's. Tokens in, logits out.

    config = ModelConfig.of(training.model, vocab_size)
    with torch.device("meta"):
        model = Transformer(config)
    model.to_empty(device="cpu")
    initialise(model, training.seed, training.model.initializer_range)
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

from trainer.config import ModelSettings
from trainer.model.attention import Mask, Rotation, attend, rotate, rotation

_INTO_RESIDUAL = ("attention.out.weight", "mlp.down.weight")


@dataclass(frozen=True)
class ModelConfig:
    """All that decides the parameters' shapes, and what is computed from them."""

    num_hidden_layers: int
    hidden_size: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    intermediate_size: int
    vocab_size: int
    rope_theta: float
    rms_norm_eps: float
    tie_word_embeddings: bool

    @classmethod
    def of(cls, settings: ModelSettings, vocab_size: int) -> "ModelConfig":
        """The shape that a train.yaml means, with a tokenizer of `vocab_size` tokens."""
        return cls(
            num_hidden_layers=settings.num_hidden_layers,
            hidden_size=settings.hidden_size,
            num_attention_heads=settings.num_attention_heads,
            num_key_value_heads=settings.num_key_value_heads or settings.num_attention_heads,
            head_dim=settings.head_dim or settings.hidden_size // settings.num_attention_heads,
            intermediate_size=settings.intermediate_size,
            vocab_size=vocab_size,
            rope_theta=settings.rope_theta,
            rms_norm_eps=settings.rms_norm_eps,
            tie_word_embeddings=settings.tie_word_embeddings,
        )


class Attention(nn.Module):
    """Grouped-query attention with rotary embedding. Source: Ainslie et al. 2023 (arXiv 2305.13245)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        wide, narrow = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
        self.query = nn.Linear(config.hidden_size, wide, bias=False)
        self.key = nn.Linear(config.hidden_size, narrow, bias=False)
        self.value = nn.Linear(config.hidden_size, narrow, bias=False)
        self.out = nn.Linear(wide, config.hidden_size, bias=False)

    def forward(self, x_BTD: Tensor, turn: Rotation, mask: Mask) -> Tensor:
        q_BHTE = rotate(self._heads(self.query(x_BTD)), turn)
        k_BKTE = rotate(self._heads(self.key(x_BTD)), turn)
        mixed_BHTE = attend(q_BHTE, k_BKTE, self._heads(self.value(x_BTD)), mask)
        out_BTD: Tensor = self.out(mixed_BHTE.transpose(1, 2).flatten(2))
        return out_BTD

    def _heads(self, flat: Tensor) -> Tensor:
        return flat.view(*flat.shape[:-1], -1, self.head_dim).transpose(1, 2)


class Mlp(nn.Module):
    """SwiGLU. Source: Shazeer 2020 (arXiv 2002.05202)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        hidden_BTF = functional.silu(self.gate(x_BTD)) * self.up(x_BTD)
        out_BTD: Tensor = self.down(hidden_BTF)
        return out_BTD


class Block(nn.Module):
    """A layer: attention, then the MLP, each on the normed input and added to it."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention_norm = _norm(config)
        self.attention = Attention(config)
        self.mlp_norm = _norm(config)
        self.mlp = Mlp(config)

    def forward(self, x_BTD: Tensor, turn: Rotation, mask: Mask) -> Tensor:
        x_BTD = x_BTD + self.attention(self.attention_norm(x_BTD), turn, mask)
        x_BTD = x_BTD + self.mlp(self.mlp_norm(x_BTD))
        return x_BTD


class Transformer(nn.Module):
    """The model. Its parameters are made on the default device, and mean nothing before `initialise`."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.hidden_size)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_hidden_layers))
        self.norm = _norm(config)
        self.head = None if config.tie_word_embeddings else nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def forward(self, tokens_BT: Tensor, mask: Mask = None) -> Tensor:
        """Logits [B, T, V] of the token after each; without a mask, attention is causal over the whole sequence."""
        x_BTD: Tensor = self.embedding(tokens_BT)
        turn = rotation(tokens_BT.shape[1], self.config.head_dim, self.config.rope_theta, like=x_BTD)
        for block in self.blocks:
            x_BTD = block(x_BTD, turn, mask)
        x_BTD = self.norm(x_BTD)
        if self.head is None:
            return functional.linear(x_BTD, self.embedding.weight)
        logits_BTV: Tensor = self.head(x_BTD)
        return logits_BTV


@torch.no_grad()
def initialise(model: Transformer, seed: int, initializer_range: float) -> None:
    """Fills every parameter: gains with 1, matrices with normal(0, initializer_range).

    The 2 x layers matrices that write into the residual stream are smaller by the root of their number. A matrix
    depends on the seed, its name and the model's shape alone: not on sharding, devices or order. A sharded parameter
    takes its own part, and no device waits for another.
    Source: Radford et al. 2019 (GPT-2), §2.3.
    """
    assert not any(True for _ in model.buffers()), "a buffer would stay uninitialised"
    smaller = initializer_range / math.sqrt(2 * model.config.num_hidden_layers)
    for name, parameter in model.named_parameters():
        assert not parameter.is_meta, f"{name} is on the meta device, where nothing can be kept; call to_empty first"
        if parameter.ndim == 1:
            assert name.endswith("norm.weight"), f"{name}: no rule to initialise it"
            parameter.fill_(1.0)
            continue
        whole = _normal(
            parameter.shape, smaller if name.endswith(_INTO_RESIDUAL) else initializer_range, f"{seed} {name}"
        )
        if isinstance(parameter, DTensor):
            whole = whole.to(parameter.device)
            parameter.copy_(distribute_tensor(whole, parameter.device_mesh, parameter.placements, src_data_rank=None))
        else:
            parameter.copy_(whole)


def _normal(shape: torch.Size, std: float, key: str) -> Tensor:
    """fp32 on the CPU, whose generator gives the same numbers whatever the GPU."""
    generator = torch.Generator("cpu").manual_seed(int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]))
    return torch.empty(shape, dtype=torch.float32, device="cpu").normal_(0.0, std, generator=generator)


def _norm(config: ModelConfig) -> nn.RMSNorm:
    """RMSNorm, which reckons in fp32 also where its input is bf16. Source: Zhang & Sennrich 2019 (arXiv 1910.07467)."""
    return nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
