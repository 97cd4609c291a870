"""A second model family is a folder: it plans, trains, resumes and evaluates without changes to other files."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import trainer.model
from corpus.errors import InputError
from tests.end_to_end.training import PHASE_1, STEPS, fit_here, metrics_fields, write_config
from trainer.inspect.plan_tables import show_plan
from trainer.model.family import families

SETTINGS = """
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from trainer.model.family import ModelConfig
from trainer.model.llama.settings import LlamaConfig, LlamaSettings


@dataclass(frozen=True)
class CappedConfig(LlamaConfig):
    final_logit_softcapping: float = 30.0


class CappedSettings(LlamaSettings):
    CONFIG: ClassVar[type[ModelConfig]] = CappedConfig

    final_logit_softcapping: Annotated[float, Field(gt=0)] = 30.0


SETTINGS = CappedSettings
"""
MODEL = """
import torch

from trainer.model.llama.model import LlamaModel


class CappedModel(LlamaModel):
    def __init__(self, config):
        super().__init__(config)
        cap = config.final_logit_softcapping
        self.cap = lambda logits: cap * torch.tanh(logits / cap)


MODEL = CappedModel
"""
WRITTEN = {
    "family": "capped",
    "num_hidden_layers": 2,
    "hidden_size": 32,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "final_logit_softcapping": 20.0,
}


@pytest.fixture
def capped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Add the folder of a family, here outside the package."""
    folder = tmp_path / "families" / "capped"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "settings.py").write_text(SETTINGS)
    (folder / "model.py").write_text(MODEL)
    monkeypatch.setattr(trainer.model, "__path__", [*trainer.model.__path__, str(folder.parent)])
    families.cache_clear()
    yield
    families.cache_clear()


@pytest.mark.usefixtures("capped")
def test_a_family_is_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sorted(families()) == ["capped", "llama"]
    config = write_config(tmp_path, model=WRITTEN)
    show_plan(config, [], without_corpus=False, as_json=True)
    assert json.loads(capsys.readouterr().out)["parameters"]["total"] > 0
    # Train the phases in two runs, so that the second loads a checkpoint.
    run = fit_here(config, "1")
    assert len(metrics_fields(run, "step")) == PHASE_1
    (checkpoint,) = run.glob(f"checkpoints/step-*{PHASE_1}")
    stored = json.loads((checkpoint / "state.json").read_text())["model"]
    assert (stored["family"], stored["final_logit_softcapping"]) == ("capped", 20.0)
    # A setting of its own is compared on resuming, and so is the family.
    for model, difference in (
        ({**WRITTEN, "final_logit_softcapping": 30.0}, r"final_logit_softcapping is 30.0, in the checkpoint 20.0"),
        ({**WRITTEN, "family": "llama"}, "`model.final_logit_softcapping` is not a setting"),
        ({name: WRITTEN[name] for name in list(WRITTEN)[1:-1]}, r"family is llama, in the checkpoint capped"),
    ):
        config.write_text(json.dumps(json.loads(config.read_text()) | {"model": model}))
        with pytest.raises(InputError, match=difference):
            fit_here(config, "2")
    config.write_text(json.dumps(json.loads(config.read_text()) | {"model": WRITTEN}))
    assert len(metrics_fields(fit_here(config), "step")) == STEPS
