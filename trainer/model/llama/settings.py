"""LLaMA's settings, their defaults, and the size and cost of a model of this family.

Source: Touvron et al. 2023 (arXiv 2302.13971), section 2.2; grouped keys as in Llama 2 (arXiv 2307.09288).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from trainer.model.family import ModelConfig, ModelSettings, Parameters, Real


@dataclass(frozen=True)
class LlamaConfig(ModelConfig):
    """A LLaMA model: RMSNorm before attention and before a SwiGLU MLP, rotary embeddings, grouped keys and values."""

    RENAMED: ClassVar[Mapping[str, str]] = {
        "layers": "num_hidden_layers",
        "width": "hidden_size",
        "heads": "num_attention_heads",
        "kv_heads": "num_key_value_heads",
        "head_width": "head_dim",
        "mlp_width": "intermediate_size",
        "vocabulary": "vocab_size",
        "rope_base": "rope_theta",
        "norm_epsilon": "rms_norm_eps",
        "tied_embeddings": "tie_word_embeddings",
        "init_std": "initializer_range",
    }

    @property
    def query_size(self) -> int:
        """Width of the queries of all heads."""
        return self.num_attention_heads * self.head_dim

    @property
    def key_value_size(self) -> int:
        """Width of the keys, or of the values, of all heads."""
        return self.num_key_value_heads * self.head_dim

    def count_parameters(self) -> Parameters:
        """Count the parameters of each part."""
        attention = 2 * self.hidden_size * (self.query_size + self.key_value_size)  # query and output, key and value
        mlp = 3 * self.hidden_size * self.intermediate_size  # gate, up, down
        table = self.vocab_size * self.hidden_size
        return Parameters(
            embedding=table,
            head=0 if self.tie_word_embeddings else table,
            blocks=self.num_hidden_layers * (attention + mlp),
            norms=(2 * self.num_hidden_layers + 1) * self.hidden_size,
        )

    def attention_flops_per_token(self, sequence_tokens: int) -> int:
        """Return the FLOPs per token of attention scores and their product with the values, forward and backward.

        Each token is counted against the whole sequence: by convention, nothing is subtracted for causal and document
        masks, so that figures can be compared.
        Source: Chowdhery et al. 2022 (PaLM, arXiv 2204.02311), appendix B: 12·L·H·Q·T.
        """
        return 12 * self.num_hidden_layers * self.query_size * sequence_tokens

    def activation_bytes_per_token(self, *, bf16: bool = True) -> int:
        """Return the bytes per token that the forward pass of all blocks keeps for the backward pass.

        Nothing is recomputed. Norms keep more where they are not fused into one kernel (on a CPU), and compiled blocks
        keep less.
        Source: the counting of Korthikanti et al. 2022 (arXiv 2205.05198), section 4.1, redone for RMSNorm, SwiGLU and
        grouped keys; without dropout, and without scores: fused attention (Dao et al. 2022, arXiv 2205.14135) keeps
        none.
        """
        element_bytes = 2 if bf16 else 4
        norms = 4 * self.hidden_size  # input and output of both
        queries = 3 * self.query_size  # queries, attention's output, and its copy in the layout of the projection
        keys_values = 2 * self.key_value_size
        mlp = 4 * self.intermediate_size  # gate, SiLU of the gate, up, their product
        log_sums_bytes = 4 * self.num_attention_heads  # log-sum-exp of the scores, in fp32
        block_bytes = element_bytes * (norms + queries + keys_values + mlp) + log_sums_bytes
        last_norm_bytes = element_bytes * 2 * self.hidden_size
        return self.num_hidden_layers * block_bytes + last_norm_bytes


class LlamaSettings(ModelSettings):
    """The `model` section of a training file for a LLaMA model."""

    CONFIG: ClassVar[type[ModelConfig]] = LlamaConfig

    rope_theta: Annotated[Real, Field(gt=1)] = 500_000.0  # Source: Llama 3 (arXiv 2407.21783), table 3
    rms_norm_eps: Annotated[Real, Field(gt=0, lt=1)] = 1e-5
    tie_word_embeddings: bool = False
    initializer_range: Annotated[Real, Field(gt=0, lt=1)] = 0.02


SETTINGS = LlamaSettings
