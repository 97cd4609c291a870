"""Training steps against a reference that trains on each document alone, without masks or micro-batches."""

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.end_to_end.training import fit_here, metrics_fields, write_config
from tests.trainer.made_corpus import corpora_of, counted, curriculum, documents, phase_of_steps
from tests.trainer.small_run import ALONE
from trainer.config import OptimizerSettings
from trainer.data.loader import IGNORED, Batch, Batches
from trainer.engine.distributed import shard
from trainer.engine.optimizer import make_optimizer
from trainer.engine.run_setup import read_setup
from trainer.engine.step import NotFinite, StepResult, TrainStep
from trainer.model.llama.model import LlamaModel
from trainer.model.llama.settings import LlamaConfig
from trainer.model.transformer import initialize

SHAPE = LlamaConfig(
    num_hidden_layers=2,
    hidden_size=16,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=4,
    intermediate_size=24,
    vocab_size=128,
    rope_theta=10_000.0,
    rms_norm_eps=1e-5,
    tie_word_embeddings=False,
)
# An epsilon as large as a gradient: with a small one, AdamW takes the same step whatever the gradient's scale.
SETTINGS = OptimizerSettings(beta1=0.7, beta2=0.8, epsilon=0.05, weight_decay=0.4, clip_norm=2.5)
RATES = (0.03, 0.1, 0.01)


class Step(NamedTuple):
    """Measurements of a step, and the weights after it."""

    loss: float
    grad_norm: float
    losses: dict[str, float]
    weights: dict[str, Tensor]

    @classmethod
    def of(cls, learned: StepResult, model: LlamaModel) -> "Step":
        return cls(learned.loss, learned.grad_norm, learned.losses, weights_of(model))


def weights_of(model: LlamaModel) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def by_hand(model: LlamaModel, batches: list[Batch], rates: list[float], settings: OptimizerSettings) -> Iterator[Step]:
    """Yield the reference steps on these batches at these rates, in float64."""
    model = model.double()
    spared = [parameter for name, parameter in model.named_parameters() if "norm" in name or name == "embedding.weight"]
    matrices = [parameter for parameter in model.parameters() if not any(parameter is each for each in spared)]
    groups = [
        {"params": spared, "weight_decay": 0.0},
        {"params": matrices, "weight_decay": settings.weight_decay},
    ]
    optimizer = torch.optim.AdamW(groups, betas=(settings.beta1, settings.beta2), eps=settings.epsilon, foreach=False)
    for batch, rate in zip(batches, rates, strict=True):
        losses: dict[str, list[Tensor]] = {}
        for source, *row in zip(batch.sources, batch.inputs_BT, batch.targets_BT, batch.segments_BT, strict=True):
            losses.setdefault(source, []).extend(losses_alone(model, *row))
        every = [loss for of_source in losses.values() for loss in of_source]
        mean = torch.stack(every).sum() / len(every)
        gradients = torch.autograd.grad(mean, list(model.parameters()))
        norm = sum(float(gradient.square().sum()) for gradient in gradients) ** 0.5
        scale = min(1.0, settings.clip_norm / (norm + 1e-6)) if settings.clip_norm else 1.0  # 1e-6: as torch has it
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            parameter.grad = gradient * scale
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        means = {name: sum(loss.item() for loss in found) / len(found) for name, found in losses.items() if found}
        yield Step(mean.item(), norm, means, weights_of(model))


def losses_alone(model: LlamaModel, *row: NDArray[np.integer]) -> Iterator[Tensor]:
    """Yield the loss of each target, with each segment as its own sequence."""
    inputs_T, targets_T, segments_T = (torch.from_numpy(each) for each in row)
    for number in range(int(segments_T[-1]) + 1):
        mine_T = segments_T == number
        logits_TV = model(inputs_T[mine_T][None])[0]
        for target, logits_V in zip(targets_T[mine_T].tolist(), logits_TV, strict=True):
            if target != IGNORED:
                yield logits_V.logsumexp(0) - logits_V[target]


@pytest.fixture(scope="module")
def batches() -> Iterator[list[Batch]]:
    """Yield three batches of 7 sequences, with uneven documents, seams and a source emptied by a takedown."""
    made = {
        "books": documents([[9, 5, 12], [16, 1, 7]]),
        "code": counted([33, 21], 60),
        "gone": documents([[-40]]),
        "web": documents([[4, 1, 4, 6, 3] * 3]),
    }
    phase = phase_of_steps(3, 12, 7, shares={"books": 0.3, "code": 0.1, "gone": 0.2, "web": 0.4})
    with corpora_of(made, chunk_tokens=8, vocabulary=SHAPE.vocab_size) as corpora:
        found = list(Batches(corpora, curriculum(corpora, phase).phases[0]).iterate(1))
    assert len(found) == 3 and {name for batch in found for name in batch.sources} == set(made)
    assert all((np.diff(batch.segments_BT) > 0).any() and (batch.targets_BT == IGNORED).any() for batch in found)
    assert any((batch.targets_BT == IGNORED).all(axis=1).any() for batch in found)
    yield found


def made_model() -> LlamaModel:
    model = LlamaModel(SHAPE).double()
    initialize(model, 1, 0.3)
    return model


def train_step_of(
    model: LlamaModel,
    micro: int | None = None,
    clip_norm: float | None = SETTINGS.clip_norm,
) -> TrainStep:
    return TrainStep(
        model=model,
        optimizer=make_optimizer(model, SETTINGS),
        distributed=ALONE,
        micro_batch_sequences=micro,
        clip_norm=clip_norm,
    )


def agree_with(found: Step, expected: Step, tolerance: float) -> None:
    near = partial(pytest.approx, rel=tolerance)
    assert found.loss == near(expected.loss)
    assert found.grad_norm == near(expected.grad_norm)
    assert found.losses == near(expected.losses)
    assert found.weights.keys() == expected.weights.keys()
    for name, weight in found.weights.items():
        torch.testing.assert_close(weight.double(), expected.weights[name], rtol=0, atol=tolerance, msg=name)


def test_a_save_that_any_process_asks_for_is_one_of_all(batches: list[Batch], monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails if only this process's clock counts."""
    there = [0, 100, 1]  # stop, targets, save
    monkeypatch.setattr(
        "trainer.engine.step.sums", lambda _, here: [one + other for one, other in zip(here, there, strict=True)]
    )
    targets = int((batches[0].targets_BT != IGNORED).sum())
    assert train_step_of(made_model()).agree(batches[0]) == (False, targets + 100, True)
    there[2] = 0
    assert train_step_of(made_model()).agree(batches[0]) == (False, targets + 100, False)
    assert train_step_of(made_model()).agree(batches[0], save=True).save


@pytest.mark.parametrize(("micro", "clip_norm"), [(1, 2.5), (3, 2.5), (None, 2.5), (2, None)])
def test_steps_match_a_calculation_by_hand(batches: list[Batch], micro: int | None, clip_norm: float | None) -> None:
    model, settings = made_model(), SETTINGS.model_copy(update={"clip_norm": clip_norm})
    train_step = train_step_of(model, micro, clip_norm)
    expected = list(by_hand(made_model(), batches, list(RATES), settings))
    norms = [step.grad_norm for step in expected]
    assert min(norms) < 2.5 < max(norms), norms  # some are clipped, some are not
    for batch, rate, step in zip(batches, RATES, expected, strict=True):
        agreed = train_step.agree(batch)
        assert not agreed.stop and agreed.targets == (batch.targets_BT != IGNORED).sum()
        learned = train_step.learn(batch, agreed.targets, rate)
        agree_with(Step.of(learned, model), step, 1e-10)
        assert (learned.learning_rate, learned.batch) == (rate, f"{batch.digest():016x}")


def state(train_step: TrainStep) -> list[bytes]:
    """Return the bytes of weights and optimizer state."""
    found = []
    for parameter in train_step.model.parameters():
        kept = train_step.optimizer.state[parameter]
        assert set(kept) == {"step", "exp_avg", "exp_avg_sq"}
        found += [each.detach().numpy().tobytes() for each in (parameter, *kept.values())]
    return found


def test_a_loss_that_is_not_finite_prevents_the_update_and_names_its_rows(batches: list[Batch]) -> None:
    train_step, (first, batch, _) = train_step_of(made_model(), micro=2), batches
    train_step.learn(first, train_step.agree(first).targets, 0.1)
    has_target_BT = batch.targets_BT != IGNORED
    held_of = {
        token: tuple(((batch.inputs_BT == token) & has_target_BT).any(axis=1).nonzero()[0].tolist())
        for token in np.unique(batch.inputs_BT)
        if (batch.targets_BT[batch.inputs_BT == token] != IGNORED).all()  # else its row may have no loss behind it
    }
    token, held = max(held_of.items(), key=lambda item: (len(item[1]) < 7, len(item[1])))
    assert 1 <= len(held) < 7
    with torch.no_grad():
        train_step.model.embedding.weight[token] = torch.nan
    before = state(train_step)
    with pytest.raises(NotFinite, match=f"step {batch.step}: the loss is nan; the weights were not updated") as error:
        train_step.learn(replace(batch, first_row=14), train_step.agree(batch).targets, 0.1)
    assert error.value.rows == tuple(14 + row for row in held)
    assert state(train_step) == before


@pytest.mark.parametrize("clip_norm", [2.0, None])
def test_a_gradient_that_is_not_finite_prevents_the_update(batches: list[Batch], clip_norm: float | None) -> None:
    train_step, (first, batch, _) = train_step_of(made_model(), clip_norm=clip_norm), batches
    train_step.learn(first, train_step.agree(first).targets, 0.1)
    train_step.model.norm.weight.register_hook(lambda gradient: gradient.abs() * torch.inf)  # type: ignore[no-untyped-call]
    before = state(train_step)
    with pytest.raises(NotFinite, match="the norm of the gradient is inf; the weights were not updated") as error:
        train_step.learn(batch, train_step.agree(batch).targets, 0.1)
    assert error.value.rows == ()
    assert state(train_step) == before


def test_the_forward_pass_runs_under_autocast_in_bf16(batches: list[Batch]) -> None:
    model, inside = made_model(), []
    shard(model, ALONE, "bf16", reshard_after_forward=True)
    model.blocks[0].register_forward_hook(lambda *_: inside.append(torch.is_autocast_enabled("cpu")))
    train_step = train_step_of(model, micro=3)
    train_step.learn(batches[0], train_step.agree(batches[0]).targets, 0.1)
    assert inside == [True] * 3 and not torch.is_autocast_enabled("cpu")


def test_fit_takes_the_steps_of_its_settings_and_records_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails if a setting of the optimizer, learning rate or micro-batch does not reach the step."""
    config = write_config(
        tmp_path,
        optimizer=json.loads(SETTINGS.model_dump_json()),
        curriculum=[
            phase_of_steps(5, 32, 4, "one", skip=["3"], learning_rate={"peak": 0.03, "warmup": 0.4}),
            phase_of_steps(2, 16, 4, "two", learning_rate={"decay": 1, "end": 0.01, "shape": "linear"}),
        ],
        model={
            "num_hidden_layers": 1,
            "hidden_size": 16,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "intermediate_size": 24,
            "initializer_range": 0.4,
        },
        parallel={"precision": "fp32", "micro_batch_sequences": 3},
        checkpoint={},
        evaluate={"tokens_per_source": 1},
    )
    rates, taken, found, learn = [0.015, 0.03, 0.03, 0.03, 0.02, 0.01], [], [], TrainStep.learn

    def recorded(self: TrainStep, batch: Batch, targets: int, rate: float) -> StepResult:
        taken.append((batch, rate, self.micro_batch_sequences))
        learned = learn(self, batch, targets, rate)
        found.append(Step.of(learned, self.model))
        return learned

    monkeypatch.setattr(TrainStep, "learn", recorded)
    run, setup = fit_here(config), read_setup(config)
    batches = [batch for batch, _, _ in taken]
    assert [(batch.step, micro) for batch, _, micro in taken] == [(step, 3) for step in (1, 2, 4, 5, 6, 7)]
    assert [rate for _, rate, _ in taken] == pytest.approx(rates)
    model = LlamaModel(setup.model_config)
    initialize(model, setup.training.seed, 0.4)
    expected = list(by_hand(model, batches, rates, setup.training.optimizer))
    norms = [step.grad_norm for step in expected]
    assert min(norms) < 2 < max(norms), norms
    for mine, step in zip(found, expected, strict=True):
        agree_with(mine, step, 1e-4)
    rows = metrics_fields(run, "step", "learning_rate", "loss", "grad_norm", "losses", "targets", "batch")
    assert rows == [
        (batch.step, rate, each.loss, each.grad_norm, each.losses,
         (batch.targets_BT != IGNORED).sum(), f"{batch.digest():016x}")
        for (batch, rate, _), each in zip(taken, found, strict=True)
    ]  # fmt: skip
