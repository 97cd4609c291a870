"""From a train.yaml to a model on its devices: what `fit`, `eval` and `generate` begin with."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.config import Training, find_config, read_training
from trainer.data.corpora import Corpora, open_corpora
from trainer.data.curriculum import Curriculum, resolve
from trainer.model.family import ModelConfig

if TYPE_CHECKING:
    from trainer.engine.parallel import Distributed, Precision
    from trainer.model.transformer import Transformer


@dataclass(frozen=True, slots=True)
class Setup:
    """A train.yaml with its corpora and resolved curriculum."""

    training: Training
    corpora: Corpora
    curriculum: Curriculum

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.training.folder

    @property
    def model_config(self) -> ModelConfig:
        """The model, with the vocabulary of the corpora's tokenizer."""
        return self.training.model.resolve(self.corpora.tokenizer.vocabulary)


def read_setup(config: Path | None, assignments: Sequence[str] = ()) -> Setup:
    """Reads and checks all that a run rests on. Raises InputError."""
    training = read_training(find_config(config), assignments)
    corpora = open_corpora(training.corpora)
    return Setup(training, corpora, resolve(training, corpora))


def build_model(setup: Setup, distributed: "Distributed", precision: "Precision", initial: bool) -> "Transformer":
    """The model, laid out over the devices, compiled by block if so set; with its initial weights, or none yet."""
    import torch

    from trainer.engine.parallel import compile_blocks, shard
    from trainer.model.transformer import build_transformer, initialize

    parallel = setup.training.parallel
    with torch.device("meta"):
        model = build_transformer(setup.model_config)
    if parallel.compile is True or (parallel.compile == "auto" and distributed.device.type == "cuda"):
        compile_blocks(model)
    shard(model, distributed, precision, parallel.reshard_after_forward)
    model.to_empty(device=distributed.device)
    if initial:
        initialize(model, setup.training.seed, setup.training.model.initializer_range)
    return model
