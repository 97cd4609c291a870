"""FLOPs and device-hours of training a model, computed before it is trained. Nothing here creates a tensor."""

import re
from collections.abc import Collection

from trainer.model.family import ModelConfig

CHINCHILLA_TOKENS = 20  # per parameter. Source: Hoffmann et al. 2022 (arXiv 2203.15556), table 3
SECONDS_PER_HOUR = 3600
CHECKPOINT_BYTES = 12  # per parameter: weights and AdamW's two moments, all fp32

# Dense bf16 multiply-adds with fp32 sums, in FLOP/s; half of the vendor's figure where that assumes sparsity.
# Names are matched by their words, so `H100` stands for every H100 without a more specific entry: the SXM module.
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
# Memory of a device in GB, as sold. Source: as above. Of several sizes, the least; others are named with theirs.
MEMORY_GB: dict[str, int] = {
    "A30": 24,
    "A100": 40,
    "A100 80GB": 80,
    "A800": 40,
    "A800 80GB": 80,
    "H100": 80,
    "H100 NVL": 94,
    "H800": 80,
    "H200": 141,
    "GH200": 96,
    "B200": 180,
    "GB200": 186,
    "L4": 24,
    "L40S": 48,
    "RTX 3090": 24,
    "RTX 4090": 24,
    "RTX 5090": 32,
    "MI250X": 64,
    "MI300X": 192,
    "MI325X": 256,
    "MI355X": 288,
}
_OTHER_PRODUCTS = {"mig", "laptop", "max", "d", "grid"}  # words of slices of a device and of weaker products


def peak_flops(name: str) -> float | None:
    """Return the peak FLOP/s of a device, named as in PEAK_FLOPS or by `torch.cuda.get_device_name()`.

    None if it is unknown.
    """
    known = _named(name, PEAK_FLOPS)
    return PEAK_FLOPS[known] if known else None


def memory_bytes(name: str) -> int | None:
    """Return the memory of a device, named as for `peak_flops`. None if it is unknown."""
    known = _named(name, MEMORY_GB)
    return MEMORY_GB[known] * 10**9 if known else None


def _named(name: str, table: Collection[str]) -> str | None:
    words = _words(name)
    if words & _OTHER_PRODUCTS:
        return None
    matches = [known for known in table if _words(known) <= words]
    return max(matches, key=lambda known: len(_words(known)), default=None)


def _words(name: str) -> set[str]:
    return set(re.findall(r"[a-z0-9]+", name.lower()))


def six_nd(parameters: float, tokens: float) -> float:
    """Return the FLOPs of training: a multiply-add is 2, and the backward pass costs twice the forward pass.

    Source: Kaplan et al. 2020 (arXiv 2001.08361), section 2.1, whose N excludes embedding and head; Hoffmann et al.
    2022 (arXiv 2203.15556), appendix F, include both. Ours is in between: `Parameters.multiplied`.
    """
    return 6 * parameters * tokens


def flops_per_token(config: ModelConfig, sequence_tokens: int | None = None) -> int:
    """Return the FLOPs of a token, forward and backward: 6N, plus attention if `sequence_tokens` is given.

    Recomputation (activation checkpointing) is not counted.
    """
    attention = config.attention_flops_per_token(sequence_tokens) if sequence_tokens else 0
    return int(six_nd(config.count_parameters().multiplied, 1)) + attention


def device_hours(flops: float, peak: float, mfu: float) -> float:
    """Return the hours of one device at the fraction `mfu` of its peak. N devices take 1/N of that each."""
    return flops / (peak * mfu) / SECONDS_PER_HOUR
