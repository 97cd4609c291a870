"""Model families: settings, earlier names of settings, and the settings that old checkpoints hold."""

from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from corpus.errors import InputError
from tests.trainer.made_corpus import MODEL, phase_of_steps
from tests.trainer.made_corpus import training as made_training
from trainer.config import Training, read_training
from trainer.model.family import families
from trainer.model.llama.settings import LlamaConfig, LlamaSettings

OLD = {  # a checkpoint's model settings, as they were stored under their earlier names
    "layers": 1,
    "width": 8,
    "heads": 2,
    "kv_heads": 2,
    "head_width": 4,
    "mlp_width": 16,
    "vocabulary": 384,
    "rope_base": 500_000.0,
    "norm_epsilon": 1e-5,
    "tied_embeddings": False,
}


def training(**written: object) -> Training:
    return made_training(phase_of_steps(1, 16, 1), **written)


def read(tmp_path: Path, model: str) -> Training:
    path = tmp_path / "train.yaml"
    path.write_text(
        f"format_version: 1\nname: small\ncorpora: {{main: build}}\nmodel:\n{model}\ncurriculum:\n"
        "  - {name: all, tokens: 1M, sequence_tokens: 256, batch_tokens: 4Ki, learning_rate: {peak: 1e-3}}\n"
    )
    return read_training(path)


def mistakes(tmp_path: Path, model: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        read(tmp_path, model)
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


def test_each_folder_is_a_family() -> None:
    assert families() == {"llama": LlamaSettings}


def test_the_default_family_is_llama() -> None:
    assert isinstance(training().model, LlamaSettings)
    assert training(model=MODEL | {"family": "llama"}).model == training().model


def test_settings_survive_json() -> None:
    """A family's own settings must not be lost where the base class declares the field."""
    first = training(model=MODEL | {"rope_theta": 1e4})
    again = Training.model_validate_json(first.model_dump_json())
    assert again == first and again.model.rope_theta == 1e4


def test_an_unknown_family_is_rejected_with_the_known_ones(tmp_path: Path) -> None:
    (line,) = mistakes(tmp_path, "  family: lama\n  num_hidden_layers: 2")
    assert line == "line 5: `model.family`: no model family `lama`; did you mean `llama`?"


def test_earlier_names_are_rejected_with_the_new_ones_and_all_other_mistakes(tmp_path: Path) -> None:
    model = (
        "layers: 2",
        "width: 64",
        "num_attention_heads: many",
        "intermediate_size: 64",
        "hed_dim: 2",
        "init_std: 1e-2",
    )
    assert mistakes(tmp_path, "\n".join(f"  {line}" for line in model)) == [
        "line 5: `model.layers`: renamed to `num_hidden_layers`, as in Hugging Face's config.json; write that",
        "line 6: `model.width`: renamed to `hidden_size`, as in Hugging Face's config.json; write that",
        'line 7: `model.num_attention_heads`: input should be a valid integer; found "many"',
        "line 9: `model.hed_dim` is not a setting; did you mean `head_dim`?",
        "line 10: `model.init_std`: renamed to `initializer_range`, as in Hugging Face's config.json; write that",
    ]


def test_the_vocabulary_is_no_setting_of_a_training_file(tmp_path: Path) -> None:
    lines = mistakes(tmp_path, "\n".join(f"  {name}: {value}" for name, value in {**MODEL, "vocabulary": 384}.items()))
    assert len(lines) == 1 and "`model.vocabulary` is not a setting" in lines[0]


def test_checkpoint_settings_under_earlier_names_are_translated() -> None:
    """Fails if a renamed setting, or the family, is compared under its earlier name."""
    assert LlamaConfig.from_checkpoint(OLD) == asdict(training().model.resolve(384))  # type: ignore[arg-type]


@dataclass(frozen=True)
class NewerConfig(LlamaConfig):
    post_norms: bool = False


@dataclass(frozen=True)
class OtherFamilyConfig(LlamaConfig):
    family: str = "other"


def test_a_setting_that_a_checkpoint_lacks_takes_its_default() -> None:
    """Fails if a setting added later, with a default that is not None, makes an old checkpoint another model."""
    settings = asdict(training().model.resolve(384))
    assert NewerConfig.from_checkpoint(OLD) == settings | {"post_norms": False}  # type: ignore[arg-type]
    assert NewerConfig.from_checkpoint({**OLD, "post_norms": True})["post_norms"] is True


def test_a_checkpoint_without_a_family_is_of_the_first_family() -> None:
    assert OtherFamilyConfig.from_checkpoint(OLD)["family"] == "llama"  # type: ignore[arg-type]
