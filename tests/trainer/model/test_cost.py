"""Cost of a model against torch's own counts of parameters, FLOPs and tensors kept by autograd."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from trainer.model import cost
from trainer.model.family import Activations
from trainer.model.llama.model import LlamaModel
from trainer.model.llama.settings import LlamaConfig

GROUPED = LlamaConfig(
    num_hidden_layers=3,
    hidden_size=64,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=16,
    intermediate_size=192,
    vocab_size=640,
    rope_theta=10_000.0,
    rms_norm_eps=1e-5,
    tie_word_embeddings=True,
)
UNTIED = replace(GROUPED, num_hidden_layers=2, num_key_value_heads=4, intermediate_size=160, tie_word_embeddings=False)
WIDE_HEADS = replace(
    UNTIED,
    num_hidden_layers=4,
    hidden_size=48,
    num_attention_heads=6,
    num_key_value_heads=3,
    head_dim=32,
    vocab_size=1000,
)
SHAPES = (GROUPED, UNTIED, WIDE_HEADS)

dimension = st.integers(1, 6)


@st.composite
def shapes(draw: st.DrawFn) -> LlamaConfig:
    num_key_value_heads = draw(dimension)
    return LlamaConfig(
        num_hidden_layers=draw(dimension),
        hidden_size=draw(st.integers(1, 100)),
        num_attention_heads=num_key_value_heads * draw(dimension),
        num_key_value_heads=num_key_value_heads,
        head_dim=2 * draw(dimension),
        intermediate_size=draw(st.integers(1, 300)),
        vocab_size=draw(st.integers(1, 1000)),
        rope_theta=10_000.0,
        rms_norm_eps=1e-5,
        tie_word_embeddings=draw(st.booleans()),
    )


@settings(max_examples=25, deadline=None)
@given(shapes())
def test_parameters_equal_those_of_the_model(config: LlamaConfig) -> None:
    with torch.device("meta"):
        model = LlamaModel(config)
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    counted = config.count_parameters()
    assert counted.total == sum(sizes.values())
    assert counted.embedding == sizes["embedding.weight"]
    assert counted.head == sizes.get("head.weight", 0)
    assert counted.norms == sum(size for name, size in sizes.items() if "norm" in name)
    assert counted.non_embedding == sum(size for name, size in sizes.items() if name.startswith(("blocks.", "norm.")))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("config", SHAPES)
def test_flops_equal_torchs_count(config: LlamaConfig, masked: bool) -> None:
    sequence_tokens, sequences = 96, 2
    model = LlamaModel(config)
    tokens_BT = torch.randint(0, config.vocab_size, (sequences, sequence_tokens))
    segments_BT = torch.zeros_like(tokens_BT) if masked else None
    counter = FlopCounterMode(display=False)
    with counter, sdpa_kernel(SDPBackend.MATH):  # of fused attention it would see nothing on a CPU
        model(tokens_BT, segments_BT).sum().backward()
    expected = counter.get_total_flops() / tokens_BT.numel()
    assert cost.flops_per_token(config, sequence_tokens) == pytest.approx(expected, rel=0.01)
    attention = config.attention_flops_per_token(sequence_tokens)
    assert attention > 0.05 * expected, "too small to be seen in a percent"
    assert cost.flops_per_token(config) == cost.flops_per_token(config, sequence_tokens) - attention


@pytest.mark.parametrize("config", SHAPES)
def test_activations_equal_what_autograd_keeps(config: LlamaConfig) -> None:
    model = LlamaModel(config)
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        if (key := tensor.untyped_storage().data_ptr()) not in weights:
            kept[key] = tensor
        return tensor

    tokens_BT = torch.randint(0, config.vocab_size, (2, 128))
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        logits_BTV = model(tokens_BT)
    assert logits_BTV.requires_grad
    found = sum(tensor.untyped_storage().nbytes() for tensor in kept.values()) / tokens_BT.numel()
    last_norm = 3 * 4 * config.hidden_size + 4  # its input, its output, and the normed input before its gain
    expected = config.num_hidden_layers * config.activation_bytes_per_token(Activations(bf16=False, fused_norms=False))
    assert found == pytest.approx(expected + last_norm, rel=0.01)


def test_llama_3_8b_has_the_published_size() -> None:
    config = LlamaConfig(32, 4096, 32, 8, 128, 14336, 128_256, 500_000.0, 1e-5, False)
    counted = config.count_parameters()
    assert (
        counted.total == 8_030_261_248
    )  # of meta-llama/Meta-Llama-3-8B, in its safetensors index: 16,060,522,496 bytes
    assert counted.multiplied == 8_030_261_248 - 128_256 * 4096


def test_seven_billion_parameters_on_two_trillion_tokens() -> None:
    assert cost.six_nd(7e9, 2e12) == pytest.approx(8.4e22, rel=1e-12)


def test_device_hours() -> None:
    assert cost.device_hours(flops=3.6e18, peak=1e15, mfu=0.5) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("name", "tflops"),
    [
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA A100-PCIE-40GB", 312),
        ("NVIDIA A100 80GB PCIe", 312),
        ("NVIDIA H100 80GB HBM3", 989.4),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA H100 NVL", 835.5),
        ("NVIDIA H200", 989.4),
        ("NVIDIA H200 NVL", 835.5),
        ("NVIDIA GH200 480GB", 989.4),
        ("NVIDIA B200", 2250),
        ("NVIDIA GB200", 2500),
        ("NVIDIA L4", 121),
        ("NVIDIA L40S", 362.05),
        ("NVIDIA GeForce RTX 4090", 165.2),
        ("AMD Instinct MI300X", 1307.4),
        ("AMD Instinct MI250X/MI250", 191.5),
        ("h100", 989.4),
    ],
)
def test_peak_flops_by_device_name(name: str, tflops: float) -> None:
    assert cost.peak_flops(name) == pytest.approx(tflops * 1e12)


@pytest.mark.parametrize(
    "name",
    [
        "NVIDIA H100 80GB HBM3 MIG 1g.10gb",
        "NVIDIA GeForce RTX 4090 Laptop GPU",
        "NVIDIA GeForce RTX 4090 D",
        "NVIDIA L40",
        "NVIDIA A10G",
        "Tesla T4",
        "AMD Instinct MI300A",
        "cpu",
        "",
    ],
)
def test_other_devices_have_no_known_peak(name: str) -> None:
    assert cost.peak_flops(name) is None


def test_every_listed_name_matches_itself() -> None:
    assert {name: cost.peak_flops(name) for name in cost.PEAK_FLOPS} == cost.PEAK_FLOPS


@pytest.mark.parametrize(
    ("name", "gigabytes"),
    [
        ("NVIDIA A100-SXM4-80GB", 80),
        ("NVIDIA A100-PCIE-40GB", 40),
        ("A100", 40),
        ("NVIDIA H100 80GB HBM3", 80),
        ("NVIDIA H100 NVL", 94),
        ("NVIDIA H200", 141),
        ("NVIDIA GH200 480GB", 96),
        ("AMD Instinct MI300X", 192),
    ],
)
def test_memory_by_device_name(name: str, gigabytes: int) -> None:
    assert cost.memory_bytes(name) == gigabytes * 10**9


def test_every_device_with_a_peak_has_a_memory() -> None:
    assert all(cost.memory_bytes(name) for name in cost.PEAK_FLOPS)
    assert cost.memory_bytes("NVIDIA H100 80GB HBM3 MIG 1g.10gb") is None
    assert cost.memory_bytes("cpu") is None
