"""The training file: every mistake in one message, each with its line."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.errors import InputError
from trainer.config import LearningRateSettings, Training, find_config, read_training, skipped_steps

GOOD = """\
format_version: 1
name: small
corpora:
  main: build/small
model:
  num_hidden_layers: 2
  hidden_size: 64
  num_attention_heads: 4
  intermediate_size: 128
curriculum:
  - name: broad
    tokens: 1M
    sequence_tokens: 256
    batch_tokens: 4Ki
    shares: {web: 70%, books: 0.3}
    learning_rate: {peak: 1e-3, warmup: 2%}
  - name: fine
    tokens: 100_000
    sequence_tokens: 512
    batch_tokens: 8Ki
    shares: {books: 1.0}
    max_epochs: 2
    learning_rate: {decay: 80%, end: 0, shape: linear}
    skip: [300, 310-312, "320"]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(text: str, assignments: Sequence[str] = ()) -> Training:
    path = Path("some.yaml")
    path.write_text(text)
    return read_training(path, assignments)


def told(text: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        read(text)
    heading, *lines = str(caught.value).splitlines()
    assert heading == f"some.yaml: {len(lines)} mistake{'s' if len(lines) > 1 else ''}"
    return [line.strip() for line in lines]


def other(**replaced: str) -> str:
    """The valid file with some lines replaced, by line number."""
    lines = GOOD.splitlines()
    for number, line in replaced.items():
        at = int(number.removeprefix("l")) - 1
        indent = len(lines[at]) - len(lines[at].lstrip())
        keep = "- " if lines[at].lstrip().startswith("- ") else ""
        lines[at] = " " * indent + keep + line
    return "\n".join(lines)


def test_a_valid_file_and_its_defaults(folder: Path) -> None:
    training = read(GOOD)
    broad, fine = training.curriculum
    assert (broad.tokens, broad.sequence_tokens, broad.batch_tokens) == (1_000_000, 256, 4096)
    assert broad.shares == {"web": 0.7, "books": 0.3}
    assert (broad.max_epochs, fine.max_epochs) == (1.0, 2.0)
    assert (broad.learning_rate.peak, broad.learning_rate.warmup, fine.learning_rate.peak) == (1e-3, 0.02, None)
    assert (fine.learning_rate.end, fine.learning_rate.shape) == (0.0, "linear")
    assert skipped_steps(fine.skip) == (range(300, 301), range(310, 313), range(320, 321))
    assert (training.seed, training.folder, training.model.num_key_value_heads) == (1, Path("runs/small"), None)
    assert read(GOOD + "out: elsewhere/x\n").folder == Path("elsewhere/x")


def test_the_shipped_training_files_are_valid() -> None:
    recipes = sorted((Path(__file__).parents[2] / "recipes").glob("train*.yaml"))
    assert [read_training(path).format_version for path in recipes] == [1] * len(recipes) and recipes


def test_set_overrides_a_setting(folder: Path) -> None:
    """Fails if overrides are not applied, or applied after validation."""
    training = read(GOOD, ["curriculum.fine.tokens=200k", "model.hidden_size=128", "corpora.main=build/other"])
    assert (training.curriculum[1].tokens, training.model.hidden_size) == (200_000, 128)
    assert training.corpora == {"main": "build/other"}
    with pytest.raises(InputError, match="200 tokens are less than one batch"):
        read(GOOD, ["curriculum.fine.tokens=200"])


MISTAKES = {
    "shares": ("line 15: phase `broad`: the shares sum to 0.9; they must sum to 1", {"l15": "shares: {web: 0.9}"}),
    "no shares": ("line 15: phase `broad`: the shares sum to 0; they must sum to 1", {"l15": "shares: {}"}),
    "over": ("line 21: phase `fine`: the shares sum to 1.01; they must", {"l21": "shares: {web: 1%, books: 1}"}),
    "heads": (
        "line 8: hidden_size 64 is not divisible by num_attention_heads 5; change one, or set head_dim",
        {"l8": "num_attention_heads: 5"},
    ),
    "odd": ("line 8: head_dim is 1; rotary embeddings need an even number", {"l8": "num_attention_heads: 64"}),
    "none": ("line 8: head_dim is 0", {"l8": "num_attention_heads: 65"}),
    "head width": ("line 6: head_dim is 7; rotary", {"l6": "head_dim: 7\n  num_hidden_layers: 2"}),
    "kv": (
        "line 6: num_attention_heads 4 is not divisible by num_key_value_heads 3; change one",
        {"l6": "num_key_value_heads: 3\n  num_hidden_layers: 2"},
    ),
    "batch": (
        "line 14: phase `broad`: batch_tokens 4000 is not a multiple of sequence_tokens 256; the nearest is 4096",
        {"l14": "batch_tokens: 4k"},
    ),
    "small batch": ("not a multiple of sequence_tokens 256; the nearest is 256", {"l14": "batch_tokens: 20"}),
    "tokens": (
        "line 12: phase `broad`: 4095 tokens are less than one batch of 4096",
        {"l12": "tokens: 4095"},
    ),
    "twice": ("line 17: two phases are named `broad`", {"l17": "name: broad"}),
    "digits": ("line 17: phase `2`: a name of digits would be read as a number", {"l17": 'name: "2"'}),
    "rates": (
        "line 16: phase `broad`: warmup 50% and decay 60% are longer than the phase",
        {"l16": "learning_rate: {peak: 1, warmup: 50%, decay: 60%}"},
    ),
    "rates in tokens": (
        "line 16: phase `broad`: warmup 50% and decay 60% are longer than the phase",
        {"l16": "learning_rate: {peak: 1, warmup: 500k, decay: 60%, end: 0}"},
    ),
    "span": (
        "expected a share of the phase such as 2%, or tokens such as 100M; found '120%'",
        {"l16": "learning_rate: {peak: 1, warmup: 120%}"},
    ),
    "percent": (
        "a warmup of 2 tokens is less than one batch of 4096; write shares with a percent sign",
        {"l16": "learning_rate: {peak: 1, warmup: 2}"},
    ),
    "decay": (
        "line 16: phase `broad`: `decay` without `end`; add one",
        {"l16": "learning_rate: {peak: 1, decay: 20%}"},
    ),
    "end": (
        "line 16: phase `broad`: `end` without `decay`; add one",
        {"l16": "learning_rate: {peak: 1, end: 0}"},
    ),
    "skip": ("line 24: phase `fine`: expected a step such as 1200, or steps such as", {"l24": "skip: [7-5]"}),
    "skip of a word": ("found 'last'", {"l24": "skip: [1, last]"}),
    "skip below 0": ("found '-3'", {"l24": "skip: [-3]"}),
    "skip of a half": ("line 24: `curriculum.1.skip.0`: input should be a valid string", {"l24": "skip: [1.5]"}),
    "skip of truth": ("input should be a valid string; found true", {"l24": "skip: [true]"}),
    "unknown": ("line 12: `curriculum.0.token` is not a setting; did you mean `tokens`?", {"l12": "token: 1M"}),
    "unknown rate": (
        "line 16: `curriculum.0.learning_rate.warm_up` is not a setting; did you mean `warmup`?",
        {"l16": "learning_rate: {peak: 1, warm_up: 1%}"},
    ),
    "shape": ("found \"linea\"; did you mean `linear`?", {"l23": "learning_rate: {decay: 80%, shape: linea}"}),
    "name": ("line 17: `curriculum.1.name`: string should match pattern", {"l17": "name: Fine!"}),
    "share": ("line 21: `curriculum.1.shares.books`: expected a share between 0 and 1", {"l21": "shares: {books: 2}"}),
    "sequence": ("line 13: `curriculum.0.sequence_tokens`: input should be greater", {"l13": "sequence_tokens: 1"}),
    "epochs": ("line 22: `curriculum.1.max_epochs`: input should be greater than 0", {"l22": "max_epochs: 0"}),
    "infinite": ("line 22: `curriculum.1.max_epochs`: input should be a", {"l22": "max_epochs: .inf"}),
    "corpora": ("line 3: `corpora`: ", {"l3": "corpora: {}\nx:"}),
    "version": ("line 1: `format_version`: input should be 1; found 2", {"l1": "format_version: 2"}),
    "model": ("line 5: `model.num_hidden_layers` is required", {"l6": "rms_norm_eps: 1e-6"}),
    "layers": ("line 6: `model.num_hidden_layers`: input should be less than", {"l6": "num_hidden_layers: 100000000"}),
    "empty": ("line 2: `out` is empty; name a folder, or remove it", {"l2": 'out: " "\nname: small'}),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_reported_with_its_line_and_remedy(mistake: str, folder: Path) -> None:
    """Fails for each check that is removed from trainer/config.py."""
    expected, replaced = MISTAKES[mistake]
    lines = told(other(**replaced))
    assert any(expected in line for line in lines), lines


def test_all_mistakes_are_reported_at_once(folder: Path) -> None:
    """Fails if the check stops at the first phase, or the first kind of mistake."""
    lines = told(
        other(
            l8="num_attention_heads: 5",
            l14="batch_tokens: 4k",
            l15="shares: {web: 0.9}",
            l16="learning_rate: {peak: 1, warmup: 50%, decay: 60%, end: 0}",
            l17="name: broad",
            l18="tokens: 8000",
            l24="skip: [9-]",
        )
    )
    assert [line.split(": ")[0] for line in lines] == [f"line {n}" for n in (8, 14, 15, 16, 17, 18, 24)]


def test_all_invalid_values_are_reported_at_once(folder: Path) -> None:
    lines = told(other(l6="layer: 2", l7="hidden_size: wide", l12="tokens: many", l22="max_epoch: 2"))
    assert [line.split(": ")[0] for line in lines] == [f"line {n}" for n in (5, 6, 7, 12, 22)]


@given(st.integers(1, 9_999), st.sampled_from([100, 1_000, 10_000]), st.booleans())
@settings(max_examples=40)
def test_shares_that_sum_to_1_as_written_are_valid(
    tmp_path_factory: pytest.TempPathFactory, part: int, whole: int, percent: bool
) -> None:
    """Fails if shares are summed as floats: 0.1 + 0.2 + 0.7 is not 1."""
    path = tmp_path_factory.getbasetemp() / "shares.yaml"
    part %= whole
    third = part // 3
    parts = [third, part - third, whole - part]
    written = [f"{100 * each / whole:.10g}%" if percent else str(each / whole) for each in parts]
    named = ", ".join(f"{name}: {share}" for name, share in zip("abc", written, strict=True))
    path.write_text(other(l15=f"shares: {{{named}}}"))
    shares = read_training(path).curriculum[0].shares
    assert shares == {name: each / whole for name, each in zip("abc", parts, strict=True)}


@pytest.mark.parametrize(("warmup", "decay"), [(0.58, 0.42), (0.07, 0.93), (0.0, 1.0), (0.3, 0.7)])
def test_warmup_and_decay_can_fill_the_phase(folder: Path, warmup: float, decay: float) -> None:
    """Fails if a constant part is required between them."""
    training = read(other(l16=f"learning_rate: {{peak: 1, warmup: {warmup}, decay: {decay}, end: 0}}"))
    assert training.curriculum[0].learning_rate.decay == decay


@pytest.mark.parametrize(
    ("written", "read_as"), [("2%", 0.02), ("0.5", 0.5), ("1", 1.0), ("200k", 2e5), ("8Ki", 8192.0)]
)
def test_warmup_is_a_share_or_tokens(folder: Path, written: str, read_as: float) -> None:
    training = read(other(l16=f"learning_rate: {{peak: 1, warmup: {written}}}"))
    assert training.curriculum[0].learning_rate.warmup == read_as
    assert LearningRateSettings.model_validate(training.curriculum[0].learning_rate.model_dump()).warmup == read_as


@pytest.mark.parametrize("written", ["", "x", "-1", "1-", "-", "1-0", "1.5", "1 - 2", "1-2-3", "+1", "1e3"])
def test_invalid_steps_to_skip_are_rejected(written: str) -> None:
    with pytest.raises(ValueError, match="expected a step such as 1200, or steps such as 1200-1209; found"):
        skipped_steps([written])


def test_steps_to_skip() -> None:
    """Fails if the last step of a range is omitted."""
    assert skipped_steps(["0", "7-7", "3-5"]) == (range(0, 1), range(7, 8), range(3, 6))


def test_the_default_training_file(folder: Path) -> None:
    """Fails if recipes/train.yaml precedes ./train.yaml, or if similar files are not listed."""
    (folder / "recipes").mkdir()
    (folder / "recipes" / "train_quickstart.yaml").touch()
    (folder / "train_small.yaml").touch()
    with pytest.raises(
        InputError, match=r"no train\.yaml and no recipes/train\.yaml; name a training file with --config"
    ) as caught:
        find_config(None)
    assert str(caught.value).endswith("; found: recipes/train_quickstart.yaml, train_small.yaml")
    (folder / "recipes" / "train.yaml").touch()
    assert find_config(None) == Path("recipes/train.yaml")
    (folder / "train.yaml").touch()
    assert find_config(None) == Path("train.yaml")
    assert find_config(Path("other.yaml")) == Path("other.yaml")
    with pytest.raises(InputError, match=r"other\.yaml: cannot read this training file"):
        read_training(Path("other.yaml"))
