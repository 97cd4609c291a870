"""LLaMA against transformers' on the same weights; packed documents against single ones; initial weights."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from trainer.model.llama.model import LlamaModel
from trainer.model.llama.settings import LlamaConfig, LlamaSettings
from trainer.model.transformer import initialize

SMALL = LlamaConfig(
    num_hidden_layers=2,
    hidden_size=32,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=8,
    intermediate_size=48,
    vocab_size=50,
    rope_theta=500_000.0,
    rms_norm_eps=1e-5,
    tie_word_embeddings=False,
)
SHAPES = {
    "grouped": SMALL,
    "one key head": replace(SMALL, num_key_value_heads=1),
    "a key head each": replace(SMALL, num_key_value_heads=4),
    "tied": replace(SMALL, tie_word_embeddings=True),
    "wide heads": replace(SMALL, head_dim=20, num_hidden_layers=1),
    "narrow heads": replace(SMALL, head_dim=2),
    "another base": replace(SMALL, rope_theta=100.0),
    "another epsilon": replace(SMALL, rms_norm_eps=0.1),
}
THEIRS = {  # our names: transformers' names
    "embedding": "model.embed_tokens",
    "blocks": "model.layers",
    "attention_norm": "input_layernorm",
    "mlp_norm": "post_attention_layernorm",
    "attention": "self_attn",
    "query": "q_proj",
    "key": "k_proj",
    "value": "v_proj",
    "out": "o_proj",
    "gate": "gate_proj",
    "up": "up_proj",
    "down": "down_proj",
    "norm": "model.norm",
    "head": "lm_head",
}


class _InFloat64(ModuleType):
    """torch with fp32 replaced by float64: transformers' LLaMA computes norms, angles and softmax in fp32."""

    def __getattr__(self, name: str) -> object:
        return torch.float64 if name in ("float", "float32") else getattr(torch, name)


@pytest.fixture
def llama(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """transformers' LLaMA, computing in float64 throughout."""
    from transformers.models.llama import modeling_llama

    monkeypatch.setattr(modeling_llama, "torch", _InFloat64("torch"))
    yield modeling_llama


def made(config: LlamaConfig, seed: int = 1) -> LlamaModel:
    """A float64 model with gains other than 1 and logits that differ clearly."""
    model = LlamaModel(config).double()
    initialize(model, seed, 0.3)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("norm.weight"):
                parameter.add_(torch.rand(parameter.shape, generator=generator))
    return model


def their_name(name: str) -> str:
    return ".".join(THEIRS.get(part, part) for part in name.split("."))


def theirs_of(model: LlamaModel, llama: ModuleType) -> nn.Module:
    """transformers' LLaMA with the same weights."""
    import transformers

    config = model.config
    theirs: nn.Module = llama.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=config.vocab_size,
            hidden_size=config.hidden_size,
            intermediate_size=config.intermediate_size,
            num_hidden_layers=config.num_hidden_layers,
            num_attention_heads=config.num_attention_heads,
            num_key_value_heads=config.num_key_value_heads,
            head_dim=config.head_dim,
            rms_norm_eps=config.rms_norm_eps,
            rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
            tie_word_embeddings=config.tie_word_embeddings,
            attn_implementation="eager",
        )
    ).double()
    lacking = theirs.load_state_dict({their_name(k): v for k, v in model.state_dict().items()}, strict=False)
    assert lacking.missing_keys == (["lm_head.weight"] if config.tie_word_embeddings else [])
    assert not lacking.unexpected_keys
    return theirs


def tokens_of(config: LlamaConfig, sequences: int, positions: int, seed: int = 0) -> Tensor:
    return torch.randint(config.vocab_size, (sequences, positions), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES.keys())
def test_logits_and_gradients_are_those_of_transformers_llama(config: LlamaConfig, llama: ModuleType) -> None:
    model = made(config)
    theirs = theirs_of(model, llama)
    tokens_BT = tokens_of(config, 2, 40)
    ours_BTV, theirs_BTV = model(tokens_BT), theirs(tokens_BT).logits
    assert ours_BTV.std() > 0.5
    torch.testing.assert_close(ours_BTV, theirs_BTV, rtol=0, atol=1e-9)
    one_document = torch.zeros(2, 40, dtype=torch.int32)
    torch.testing.assert_close(model(tokens_BT, one_document), theirs_BTV, rtol=0, atol=1e-9)

    weights_BTV = torch.randn(ours_BTV.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    for logits_BTV in (ours_BTV, theirs_BTV):
        (logits_BTV * weights_BTV).mean().backward()
    their_parameters = dict(theirs.named_parameters())
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, their_parameters[their_name(name)].grad, rtol=0, atol=1e-9)


@pytest.mark.parametrize("config", [SHAPES["grouped"], SHAPES["tied"]], ids=["grouped", "tied"])
def test_packed_documents_give_the_same_logits_as_alone(config: LlamaConfig) -> None:
    """A single document starts at position 0, so that the test also covers the start position in the sequence."""
    model = made(config)
    tokens_BT = tokens_of(config, 2, 60)
    cuts = [[0, 1, 24, 60], [0, 33, 59, 60]]
    segments_BT = torch.zeros(2, 60, dtype=torch.int32)
    for row, places in enumerate(cuts):
        for place in places[1:-1]:
            segments_BT[row, place:] += 1
    with torch.no_grad():
        packed_BTV = model(tokens_BT, segments_BT)
        assert not torch.allclose(packed_BTV, model(tokens_BT), rtol=0, atol=1e-3)
        for row, places in enumerate(cuts):
            for start, end in pairwise(places):
                alone_BTV = model(tokens_BT[row : row + 1, start:end])
                torch.testing.assert_close(packed_BTV[row : row + 1, start:end], alone_BTV, rtol=0, atol=1e-9)


def test_logits_do_not_depend_on_later_tokens() -> None:
    model = made(SMALL)
    tokens_BT = tokens_of(SMALL, 1, 20)
    changed_BT = tokens_BT.clone()
    changed_BT[0, 12] = (changed_BT[0, 12] + 1) % SMALL.vocab_size
    with torch.no_grad():
        difference_T = (model(tokens_BT) - model(changed_BT)).abs().amax(-1)[0]
    assert (difference_T[:12] == 0).all()
    assert (difference_T[12:] > 0).all()


def test_norms_of_a_bf16_model_compute_in_fp32() -> None:
    norm = LlamaModel(SMALL).norm.bfloat16()
    x_BTD = 300 * torch.randn(2, 50, SMALL.hidden_size, generator=torch.Generator().manual_seed(0)).bfloat16()
    exact_BTD = x_BTD.double() * (x_BTD.double().square().mean(-1, keepdim=True) + SMALL.rms_norm_eps).rsqrt()
    torch.testing.assert_close(norm(x_BTD).double(), exact_BTD, rtol=2**-8, atol=0)


@pytest.mark.parametrize("parameters", [torch.bfloat16, torch.float32], ids=["bf16", "autocast"])
def test_bf16_is_near_float64(parameters: torch.dtype) -> None:
    exact, model = made(SMALL), made(SMALL).to(parameters)
    tokens_BT = tokens_of(SMALL, 2, 30)
    segments_BT = (tokens_BT == 3).cumsum(1)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=parameters == torch.float32):
        logits_BTV = model(tokens_BT, segments_BT)
    assert logits_BTV.dtype == torch.bfloat16
    exact_BTV = exact(tokens_BT, segments_BT)
    assert (logits_BTV.double() - exact_BTV).std() < 0.03 * exact_BTV.std()


def test_a_block_compiles_to_one_graph() -> None:
    """Arguments included; without the code generator, which is slow."""
    model, compiled = made(SMALL), made(SMALL)
    for block in compiled.blocks:
        block.compile(backend="aot_eager", fullgraph=True)
    assert list(compiled.state_dict()) == list(model.state_dict())
    tokens_BT = tokens_of(SMALL, 2, 30)
    segments_BT = (tokens_BT == 3).cumsum(1)
    for each in (model, compiled):
        each(tokens_BT, segments_BT).square().mean().backward()
    for ours, theirs in zip(compiled.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=0, atol=1e-12)


@pytest.mark.parametrize("tied", [True, False])
def test_parameter_names_never_change(tied: bool) -> None:
    config = replace(SMALL, num_hidden_layers=1, tie_word_embeddings=tied)
    block = [f"attention.{part}" for part in ("query", "key", "value", "out")] + ["attention_norm", "mlp_norm"]
    block += [f"mlp.{part}" for part in ("gate", "up", "down")]
    names = {"embedding", "norm", *(f"blocks.0.{part}" for part in block), *([] if tied else ["head"])}
    assert set(LlamaModel(config).state_dict()) == {f"{name}.weight" for name in names}


def test_settings_resolve_to_a_config() -> None:
    least = LlamaSettings(num_hidden_layers=3, hidden_size=24, num_attention_heads=4, intermediate_size=64)
    assert least.resolve(100) == LlamaConfig(3, 24, 4, 4, 6, 64, 100, 500_000.0, 1e-5, False)
    full = LlamaSettings(
        num_hidden_layers=3,
        hidden_size=24,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        intermediate_size=64,
        rope_theta=1e4,
        rms_norm_eps=1e-6,
        tie_word_embeddings=True,
    )
    assert full.resolve(7) == LlamaConfig(3, 24, 4, 2, 16, 64, 7, 1e4, 1e-6, True)


def test_initial_weights_have_the_configured_spread() -> None:
    config = replace(
        SMALL,
        num_hidden_layers=8,
        hidden_size=128,
        intermediate_size=128,
        num_attention_heads=16,
        num_key_value_heads=16,
        vocab_size=200,
    )
    model = LlamaModel(config)
    initialize(model, 1, 0.02)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            assert (parameter == 1).all(), name
        else:
            smaller = name.endswith(("attention.out.weight", "mlp.down.weight"))
            assert parameter.std().item() == pytest.approx(0.005 if smaller else 0.02, rel=0.05), name
            assert abs(parameter.mean().item()) < 0.001, name


def test_initial_weights_depend_on_seed_and_name_alone() -> None:
    def first_weights(seed: int, turned: bool = False, on_meta: bool = False) -> dict[str, Tensor]:
        with torch.device("meta" if on_meta else "cpu"):
            model = LlamaModel(SMALL)
        if on_meta:
            model.to_empty(device="cpu")
        if turned:
            for module in list(model.modules()):
                module._modules = dict(reversed(module._modules.items()))
        torch.manual_seed(seed + turned)
        initialize(model, seed, 0.02)
        return model.state_dict()

    weights = first_weights(1)
    for others in (first_weights(1, turned=True), first_weights(1, on_meta=True)):
        assert all(torch.equal(others[name], weight) for name, weight in weights.items())
    assert list(first_weights(1, turned=True)) != list(weights)
    matrices = [weight for weight in weights.values() if weight.ndim > 1]
    again = [weight for name, weight in first_weights(2).items() if weight.ndim > 1]
    firsts = [matrix.flatten()[0].item() for matrix in matrices + again]
    assert len(set(firsts)) == len(firsts)


def test_parameters_that_would_stay_uninitialized_are_rejected() -> None:
    with torch.device("meta"):
        on_meta = LlamaModel(SMALL)
    with pytest.raises(AssertionError, match=r"embedding.weight is on the meta device"):
        initialize(on_meta, 1, 0.02)
    with_bias = LlamaModel(SMALL)
    with_bias.blocks[0].register_parameter("bias", nn.Parameter(torch.zeros(3)))
    with pytest.raises(AssertionError, match=r"blocks.0.bias: no rule"):
        initialize(with_bias, 1, 0.02)
    with_buffer = LlamaModel(SMALL)
    with_buffer.register_buffer("angles", torch.zeros(3))
    with pytest.raises(AssertionError, match="a buffer"):
        initialize(with_buffer, 1, 0.02)
