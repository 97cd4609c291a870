"""What a model costs before it is trained: parameters, FLOPs, memory of a device, device-hours.

All of it is arithmetic over a `ModelConfig`; no tensor is made.
"""

import re
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainer.model.transformer import ModelConfig

CHINCHILLA_TOKENS = 20  # per parameter. Source: Hoffmann et al. 2022 (arXiv 2203.15556), table 3
SECONDS_PER_HOUR = 3600

# Dense bf16 multiply-adds with fp32 sums, in FLOP/s: where a maker prints the figure with sparsity, half of that.
# A name is matched by its words, so `H100` is any H100 of which nothing more special is known: the SXM module.
PEAK_FLOPS: dict[str, float] = {
    "A30": 165e12,  # Source: NVIDIA A30 datasheet
    "A100": 312e12,  # Source: NVIDIA A100 datasheet (SXM and PCIe alike)
    "A800": 312e12,  # an A100 with slower links
    "H100": 989.4e12,  # Source: NVIDIA H100 architecture white paper, SXM5
    "H100 PCIe": 756e12,  # Source: NVIDIA H100 architecture white paper, PCIe
    "H100 NVL": 835.5e12,  # Source: NVIDIA H100 datasheet, NVL: 1,671 with sparsity
    "H800": 989.4e12,  # an H100 with slower links
    "H200": 989.4e12,  # Source: NVIDIA H200 datasheet, SXM: 1,979 with sparsity; the H100's chip
    "H200 NVL": 835.5e12,  # Source: NVIDIA H200 datasheet, NVL: 1,671 with sparsity
    "GH200": 989.4e12,  # Source: NVIDIA GH200 datasheet: 1,979 with sparsity
    "B200": 2.25e15,  # Source: NVIDIA Blackwell datasheet, HGX B200: 4.5e15 with sparsity
    "GB200": 2.5e15,  # Source: NVIDIA GB200 NVL72 datasheet: 360e15 with sparsity, by 72
    "L4": 121e12,  # Source: NVIDIA L4 datasheet: 242 with sparsity
    "L40S": 362.05e12,  # Source: NVIDIA L40S datasheet
    "RTX 3090": 71e12,  # Source: NVIDIA GA102 white paper, appendix A
    "RTX 4090": 165.2e12,  # Source: NVIDIA Ada white paper, appendix A
    "RTX 5090": 209.5e12,  # Source: NVIDIA RTX Blackwell white paper, appendix A
    "MI250X": 191.5e12,  # Source: AMD MI250X data sheet: 383 for two dies, and PyTorch sees each die as a device
    "MI300X": 1307.4e12,  # Source: AMD MI300X data sheet
    "MI325X": 1307.4e12,  # Source: AMD MI325X data sheet
    "MI355X": 2.5e15,  # Source: AMD MI355X data sheet
}
_LESS_THAN_THE_WHOLE = {"mig", "laptop", "max", "d", "grid"}  # slices of a device and its weaker namesakes


def peak_flops(name: str) -> float | None:
    """The peak of a name of PEAK_FLOPS or of `torch.cuda.get_device_name()`; None where it is not known."""
    words = _words(name)
    if words & _LESS_THAN_THE_WHOLE:
        return None
    known = [each for each in PEAK_FLOPS if _words(each) <= words]
    return PEAK_FLOPS[max(known, key=lambda each: len(_words(each)))] if known else None


def _words(name: str) -> set[str]:
    return set(re.findall(r"[a-z0-9]+", name.lower()))


@dataclass(frozen=True, slots=True)
class Parameters:
    """How many parameters each part of the model holds."""

    embedding: int
    head: int  # 0 if tied: then the embedding is the head's matrix too
    blocks: int  # the matrices of attention and MLP
    norms: int

    @property
    def total(self) -> int:
        """All of them; a tied matrix counts once."""
        return self.embedding + self.head + self.blocks + self.norms

    @property
    def non_embedding(self) -> int:
        """All but embedding and head: the N of Kaplan et al. 2020 (arXiv 2001.08361), section 2.1."""
        return self.blocks + self.norms

    @property
    def multiplied(self) -> int:
        """The N of our 6ND: all that each token is multiplied with.

        That is all but an untied embedding, out of which a row is only copied; the head's matrix is always in it.
        """
        return self.total - (self.embedding if self.head else 0)


def count_parameters(config: "ModelConfig") -> Parameters:
    """The parameters of a config, by part."""
    queries, keys = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
    attention = 2 * config.hidden_size * queries + 2 * config.hidden_size * keys  # query and out, key and value
    mlp = 3 * config.hidden_size * config.intermediate_size  # gate, up, down
    table = config.vocab_size * config.hidden_size
    return Parameters(
        embedding=table,
        head=0 if config.tie_word_embeddings else table,
        blocks=config.num_hidden_layers * (attention + mlp),
        norms=(2 * config.num_hidden_layers + 1) * config.hidden_size,
    )


def six_nd(parameters: float, tokens: float) -> float:
    """FLOPs of training: a multiply-add is 2, and the backward pass costs twice the forward pass.

    Source: Kaplan et al. 2020 (arXiv 2001.08361), section 2.1, whose N leaves out embedding and head; Hoffmann et al.
    2022 (arXiv 2203.15556), appendix F, count them in. Ours stands between: `Parameters.multiplied`.
    """
    return 6 * parameters * tokens


def attention_flops_per_token(config: "ModelConfig", sequence_tokens: int) -> int:
    """FLOPs of queries times keys and scores times values, forward and backward, of one token.

    Every token is counted against the whole sequence of T: what causality (half of it) and document masking save is not
    taken off, as is the custom, so that figures compare.
    Source: Chowdhery et al. 2022 (PaLM, arXiv 2204.02311), appendix B: 12·L·H·Q·T.
    """
    return 12 * config.num_hidden_layers * config.num_attention_heads * config.head_dim * sequence_tokens


def flops_per_token(config: "ModelConfig", sequence_tokens: int | None = None) -> int:
    """FLOPs of a token, forward and backward: 6N, and with attention over `sequence_tokens` if they are given.

    Nothing computed twice (activation checkpointing) is counted.
    """
    attention = attention_flops_per_token(config, sequence_tokens) if sequence_tokens else 0
    return int(six_nd(count_parameters(config).multiplied, 1)) + attention


def device_hours(flops: float, peak: float, mfu: float) -> float:
    """Hours of one device at `mfu` of its peak; N devices take an N-th of them each."""
    return flops / (peak * mfu) / SECONDS_PER_HOUR


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes that training takes of one device, estimated by part. What CUDA and its allocator keep comes on top."""

    parameters_bytes: int
    gradients_bytes: int
    moments_bytes: int
    gathered_bytes: int
    activations_bytes: int
    logits_bytes: int

    @property
    def total_bytes(self) -> int:
        """All at once: the peak, at the start of the backward pass, is a little below."""
        state = self.parameters_bytes + self.gradients_bytes + self.moments_bytes
        return state + self.gathered_bytes + self.activations_bytes + self.logits_bytes


def device_memory(
    config: "ModelConfig",
    *,
    devices: int,
    sequence_tokens: int,
    micro_batch_sequences: int,
    bf16: bool = True,
    reshard_after_forward: bool = True,
) -> Memory:
    """What one of `devices` holds under FSDP2 with AdamW, fp32 master weights, and gradients reduced each micro-batch.

    Gathered: embedding, norm and head, with two blocks (the one at work and the one fetched ahead; all blocks unless
    resharded), in the width of computing; besides, the largest gradient not yet reduced, and its fp32 copy. One device
    gathers nothing, but holds a bf16 copy of all weights; its fp32 residual stream is not counted.
    """
    counted = count_parameters(config)
    mine = ceil(counted.total / devices)
    root = counted.embedding + counted.head + config.hidden_size
    block = (counted.total - root) // config.num_hidden_layers
    width_bytes = 2 if bf16 else 4
    weights = root + block * (min(2, config.num_hidden_layers) if reshard_after_forward else config.num_hidden_layers)
    gathered = width_bytes * weights + (width_bytes + 4) * max(root, block)
    if devices == 1:
        gathered = 2 * counted.total if bf16 else 0
    tokens = micro_batch_sequences * sequence_tokens
    return Memory(
        parameters_bytes=4 * mine,
        gradients_bytes=4 * mine,
        moments_bytes=8 * mine,
        gathered_bytes=gathered,
        activations_bytes=tokens * activation_bytes_per_token(config, bf16=bf16),
        # Of a logit: itself and its log-softmax, then the latter and its gradient, in fp32; besides, once in bf16.
        logits_bytes=tokens * config.vocab_size * (10 if bf16 else 8),
    )


def activation_bytes_per_token(config: "ModelConfig", *, bf16: bool = True) -> int:
    """What the forward pass of all blocks keeps for the backward pass, of one token, with nothing recomputed.

    Of a block, in the width of computing: both norms' inputs and outputs (4·hidden_size), queries, attention's
    output, and that laid out anew for its projection (3·num_attention_heads·head_dim), keys and values
    (2·num_key_value_heads·head_dim), and of the MLP gate, SiLU of it, up and their product (4·intermediate_size); in
    fp32 one log-sum of the scores a head. Then the last norm's input and output. Norms keep more where they are not
    fused into one kernel (on a CPU), compiled blocks keep less.
    Source: the counting of Korthikanti et al. 2022 (arXiv 2205.05198), section 4.1, made anew for RMSNorm, SwiGLU and
    grouped keys; without dropout, and without scores: fused attention (Dao et al. 2022, arXiv 2205.14135) keeps none.
    """
    queries, keys = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
    width_bytes = 2 if bf16 else 4
    elements = 4 * config.hidden_size + 3 * queries + 2 * keys + 4 * config.intermediate_size
    block = width_bytes * elements + 4 * config.num_attention_heads
    return config.num_hidden_layers * block + width_bytes * 2 * config.hidden_size
