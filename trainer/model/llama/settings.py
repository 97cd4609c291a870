"""LLaMA's settings, their defaults, and the size and cost of a model of this family.

Source: Touvron et al. 2023 (arXiv 2302.13971), section 2.2; grouped keys as in Llama 2 (arXiv 2307.09288).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from trainer.model.family import Activations, ModelConfig, ModelSettings, Parameters, Real


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

    def activation_bytes_per_token(self, types: Activations) -> int:
        """Return the bytes per token that a block keeps for the backward pass, if it recomputes nothing.

        Source: the counting of Korthikanti et al. 2022 (arXiv 2205.05198), section 4.1, redone for RMSNorm, SwiGLU and
        grouped keys; without dropout, and without scores: fused attention (Dao et al. 2022, arXiv 2205.14135) keeps
        none.
        """
        norm_bytes = 2 * (types.stream_bytes * self.hidden_size + 4)  # input and scale of both
        if not types.fused_norms:
            norm_bytes += 2 * 4 * self.hidden_size  # the normed input before its gain
        inputs = 5 if types.autocast else 2  # of query, key, value, gate and up: each casts its own
        queries = 3 * self.query_size  # queries, attention's output, and its copy in the layout of the projection
        keys_values = 2 * self.key_value_size
        mlp = 4 * self.intermediate_size  # gate, SiLU of the gate, up, their product
        if types.compiled:  # the compiler recomputes what is cheap; found by measurement
            inputs, mlp = 1 if types.bf16 else 2, 3 * self.intermediate_size
        elements = inputs * self.hidden_size + queries + keys_values + mlp
        log_sum_bytes = 4 * self.num_attention_heads  # log-sum-exp of the scores, in fp32
        return norm_bytes + types.element_bytes * elements + log_sum_bytes

    def product_bytes_per_token(self, types: Activations) -> int:
        """Return the bytes per token of a block's input, and of the results of its products and attention."""
        attention = 2 * self.query_size + 2 * self.key_value_size  # queries, keys, values, attention's output
        elements = attention + 2 * self.intermediate_size + 2 * self.hidden_size  # gate, up; both projections
        stream = types.stream_bytes * self.hidden_size
        return stream + types.element_bytes * elements + 4 * self.num_attention_heads


class LlamaSettings(ModelSettings):
    """The `model` section of a training file for a LLaMA model."""

    CONFIG: ClassVar[type[ModelConfig]] = LlamaConfig

    rope_theta: Annotated[Real, Field(gt=1)] = 500_000.0  # Source: Llama 3 (arXiv 2407.21783), table 3
    rms_norm_eps: Annotated[Real, Field(gt=0, lt=1)] = 1e-5
    tie_word_embeddings: bool = False
    initializer_range: Annotated[Real, Field(gt=0, lt=1)] = 0.02


SETTINGS = LlamaSettings
