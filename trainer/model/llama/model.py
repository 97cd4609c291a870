"""LLaMA: a decoder-only transformer from tokens to logits.

Legend: B sequences, T positions, D hidden_size, H query heads, K key and value heads, E head_dim, F intermediate_size,
V vocab_size, X width of the query, key or value heads together.
"""

from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional

from trainer.model.attention import Mask, RotaryAngles, attend, document_mask, rotary_angles, rotate
from trainer.model.llama.settings import LlamaConfig
from trainer.model.transformer import Transformer


class LlamaModel(Transformer):
    """A LLaMA model."""

    RESIDUAL_WEIGHTS: ClassVar[tuple[str, ...]] = ("attention.out.weight", "mlp.down.weight")

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__(config)
        self.embedding = nn.Embedding(config.vocab_size, config.hidden_size)
        self.blocks = nn.ModuleList(LlamaBlock(config) for _ in range(config.num_hidden_layers))
        self.norm = _norm(config)
        self.head = None if config.tie_word_embeddings else nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def hidden(self, tokens_BT: Tensor, segments_BT: Tensor | None) -> Tensor:
        x_BTD: Tensor = self.embedding(tokens_BT)
        # All blocks share one mask and one table of angles.
        mask = None if segments_BT is None else document_mask(segments_BT, x_BTD, self.compiled)
        angles = rotary_angles(tokens_BT.shape[1], self.config.head_dim, self.config.rope_theta, like=x_BTD)
        for block in self.blocks:
            x_BTD = block(x_BTD, angles, mask)
        return x_BTD


class LlamaBlock(nn.Module):
    """A layer: attention, then the MLP, each on the normalized input and added to it."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.attention_norm = _norm(config)
        self.attention = LlamaAttention(config)
        self.mlp_norm = _norm(config)
        self.mlp = LlamaMlp(config)

    def forward(self, x_BTD: Tensor, angles: RotaryAngles, mask: Mask) -> Tensor:
        x_BTD = x_BTD + self.attention(self.attention_norm(x_BTD), angles, mask)
        x_BTD = x_BTD + self.mlp(self.mlp_norm(x_BTD))
        return x_BTD


class LlamaAttention(nn.Module):
    """Grouped-query attention with rotary embeddings. Source: Ainslie et al. 2023 (arXiv 2305.13245)."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        self.query = nn.Linear(config.hidden_size, config.query_size, bias=False)
        self.key = nn.Linear(config.hidden_size, config.key_value_size, bias=False)
        self.value = nn.Linear(config.hidden_size, config.key_value_size, bias=False)
        self.out = nn.Linear(config.query_size, config.hidden_size, bias=False)

    def forward(self, x_BTD: Tensor, angles: RotaryAngles, mask: Mask) -> Tensor:
        q_BHTE = rotate(self._split_heads(self.query(x_BTD)), angles)
        k_BKTE = rotate(self._split_heads(self.key(x_BTD)), angles)
        v_BKTE = self._split_heads(self.value(x_BTD))
        heads_BHTE = attend(q_BHTE, k_BKTE, v_BKTE, mask)
        out_BTD: Tensor = self.out(heads_BHTE.transpose(1, 2).flatten(2))
        return out_BTD

    def _split_heads(self, x_BTX: Tensor) -> Tensor:
        return x_BTX.view(*x_BTX.shape[:-1], -1, self.head_dim).transpose(1, 2)


class LlamaMlp(nn.Module):
    """SwiGLU. Source: Shazeer 2020 (arXiv 2002.05202)."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.gate = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        gated_BTF = functional.silu(self.gate(x_BTD)) * self.up(x_BTD)
        out_BTD: Tensor = self.down(gated_BTF)
        return out_BTD


def _norm(config: LlamaConfig) -> nn.RMSNorm:
    """RMSNorm, which computes in fp32 even if its input is bf16. Source: Zhang & Sennrich 2019 (arXiv 1910.07467)."""
    return nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)


MODEL = LlamaModel
