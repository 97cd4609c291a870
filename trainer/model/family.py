"""Model families: each is a folder of trainer/model/ that states its choices.

A family's folder holds `settings.py`, with the family's `ModelSettings` as `SETTINGS`, and `model.py`, with its
`Transformer` as `MODEL`. A training file selects the folder with `model.family`. Nothing here imports torch.
"""

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache
from typing import Annotated, ClassVar, NamedTuple

from pydantic import Field, JsonValue, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

import trainer.model
from corpus.settings import Strict, nearest

DEFAULT_FAMILY = "llama"
MAX_LAYERS = 10_000  # memory is estimated layer by layer
Positive = Annotated[int, Field(ge=1)]
Real = Annotated[float, Field(strict=False)]  # accepts 1 as well as 1.0


@dataclass(frozen=True, slots=True)
class Parameters:
    """Number of parameters in each part of a model."""

    embedding: int
    head: int  # 0 if tied to the embedding
    blocks: int  # matrices of attention and MLP
    norms: int

    @property
    def total(self) -> int:
        """Number of all parameters; a tied matrix counts once."""
        return self.embedding + self.head + self.blocks + self.norms

    @property
    def non_embedding(self) -> int:
        """Number of parameters without embedding and head.

        Source: Kaplan et al. 2020 (arXiv 2001.08361), section 2.1.
        """
        return self.blocks + self.norms

    @property
    def multiplied(self) -> int:
        """Number of parameters that each token is multiplied with: N in 6ND.

        An untied embedding is excluded, because a token only copies one of its rows. The matrix of the output head is
        always included.
        """
        return self.total - (self.embedding if self.head else 0)


class Activations(NamedTuple):
    """Types and kernels that decide how many bytes a block keeps for the backward pass."""

    bf16: bool = True
    autocast: bool = False  # the residual stream stays fp32, and each product casts its input
    compiled: bool = False
    fused_norms: bool = True  # uncompiled on a CPU, norms are several operations, which keep more

    @property
    def element_bytes(self) -> int:
        """Bytes of a number that products are computed with."""
        return 2 if self.bf16 else 4

    @property
    def stream_bytes(self) -> int:
        """Bytes of a number of the residual stream."""
        return 2 if self.bf16 and not self.autocast else 4


@dataclass(frozen=True)
class ModelConfig(ABC):
    """Settings that determine a model's parameters and what it computes.

    A family adds fields of its own. Each needs a default, because checkpoints saved before it lack it.
    """

    num_hidden_layers: int
    hidden_size: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    intermediate_size: int
    vocab_size: int
    rope_theta: float
    rms_norm_eps: float
    tie_word_embeddings: bool
    family: str = DEFAULT_FAMILY

    RENAMED: ClassVar[Mapping[str, str]] = {}  # earlier names of settings, in training files and checkpoints

    @abstractmethod
    def count_parameters(self) -> Parameters:
        """Count the parameters of each part."""

    @abstractmethod
    def attention_flops_per_token(self, sequence_tokens: int) -> int:
        """Return the FLOPs per token of attention scores and their product with the values, forward and backward."""

    @abstractmethod
    def activation_bytes_per_token(self, types: Activations) -> int:
        """Return the bytes per token that a block keeps for the backward pass, if it recomputes nothing."""

    @abstractmethod
    def product_bytes_per_token(self, types: Activations) -> int:
        """Return the bytes per token of a block's input, and of the results of its products and attention."""

    @classmethod
    def from_checkpoint(cls, stored: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        """Return a checkpoint's settings under their present names, with defaults for those it lacks."""
        defaults = {field.name: field.default for field in fields(cls) if field.default is not MISSING}
        renamed = {cls.RENAMED.get(name, name): value for name, value in stored.items()}
        return {**defaults, "family": DEFAULT_FAMILY, **renamed}


class ModelSettings(Strict):
    """The `model` section of a training file, named as in Hugging Face's config.json.

    A family adds settings of its own and sets the defaults. The corpora's tokenizer determines the vocabulary.
    """

    CONFIG: ClassVar[type[ModelConfig]]

    family: str = DEFAULT_FAMILY
    num_hidden_layers: Annotated[int, Field(ge=1, le=MAX_LAYERS)]
    hidden_size: Positive
    num_attention_heads: Positive
    num_key_value_heads: Positive | None = None  # null: num_attention_heads
    head_dim: Positive | None = None  # null: hidden_size / num_attention_heads
    intermediate_size: Positive
    rope_theta: Annotated[Real, Field(gt=1)]
    rms_norm_eps: Annotated[Real, Field(gt=0, lt=1)]
    tie_word_embeddings: bool
    initializer_range: Annotated[Real, Field(gt=0, lt=1)]  # standard deviation of the initial weights

    def resolve(self, vocab_size: int) -> ModelConfig:
        """Return the configuration of the model for a vocabulary of `vocab_size` tokens."""
        written = self.model_dump(exclude={"initializer_range"})
        written["num_key_value_heads"] = self.num_key_value_heads or self.num_attention_heads
        written["head_dim"] = self.head_dim or self.hidden_size // self.num_attention_heads
        return self.CONFIG(vocab_size=vocab_size, **written)

    def problems(self) -> list[tuple[str, str]]:
        """Return the settings that contradict each other, each with an explanation."""
        problems = []
        heads, key_value_heads = self.num_attention_heads, self.num_key_value_heads
        if self.head_dim is None and self.hidden_size % heads:
            message = f"hidden_size {self.hidden_size} is not divisible by num_attention_heads {heads}"
            problems.append(("num_attention_heads", f"{message}; change one, or set head_dim"))
        head_dim = self.head_dim or self.hidden_size // heads
        if head_dim % 2 or head_dim == 0:
            setting = "head_dim" if self.head_dim else "num_attention_heads"
            problems.append((setting, f"head_dim is {head_dim}; rotary embeddings need an even number of at least 2"))
        if key_value_heads is not None and heads % key_value_heads:
            message = (
                f"num_attention_heads {heads} is not divisible by num_key_value_heads {key_value_heads}; change one"
            )
            problems.append(("num_key_value_heads", message))
        return problems


@cache
def families() -> Mapping[str, type[ModelSettings]]:
    """Return the settings class of each family, by the name of its folder."""
    names = sorted(module.name for module in pkgutil.iter_modules(trainer.model.__path__) if module.ispkg)
    return {name: importlib.import_module(f"trainer.model.{name}.settings").SETTINGS for name in names}


def validate_model(written: object) -> object:
    """Validate a `model` section with the settings class of its family (a pydantic `BeforeValidator`).

    Raises ValidationError with every mistake; a setting under an earlier name is one, and names the new one.
    """
    if not isinstance(written, dict):
        return written  # pydantic rejects it, unless it is validated already
    name = str(written.get("family", DEFAULT_FAMILY))
    family = families().get(name)
    if family is None:
        message = f"no model family `{name}`{nearest(name, list(families()))}"
        raise ValidationError.from_exception_data("model", [_mistake("family", message, name)])
    renamed = {old: new for old, new in family.CONFIG.RENAMED.items() if old in written and new in family.model_fields}
    mistakes = [
        _mistake(old, f"renamed to `{new}`, as in Hugging Face's config.json; write that", written[old])
        for old, new in renamed.items()
    ]
    try:
        settings = family.model_validate({renamed.get(name, name): value for name, value in written.items()})
    except ValidationError as error:
        mistakes += [
            InitErrorDetails(type=fault["type"], loc=fault["loc"], input=fault["input"], ctx=fault.get("ctx", {}))
            for fault in error.errors(include_url=False)
        ]
    if mistakes:
        raise ValidationError.from_exception_data("model", mistakes)
    return settings


def _mistake(setting: str, message: str, value: object) -> InitErrorDetails:
    error = PydanticCustomError("value_error", "{message}", {"message": message})
    return InitErrorDetails(type=error, loc=(setting,), input=value)
