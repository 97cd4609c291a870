"""`trainer plan`: figures of the real curriculum, and refusal of a corpus that is too small."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.errors import InputError
from trainer.config import Training, read_training
from trainer.data.corpora import Corpora, TokenizerFile, TokenShardFile, TokenSource
from trainer.data.curriculum import resolve
from trainer.inspect.plan_tables import print_plan, show_plan
from trainer.inspect.training_plan import TrainingPlan, make_plan

ROOT = Path(__file__).parents[3]
RECIPE, GOLDEN = ROOT / "recipes/train.yaml", ROOT / "tests/golden/corpus"

SMALL = f"""
format_version: 1
name: small
corpora: {{golden: {json.dumps(str(GOLDEN))}}}
model: {{num_hidden_layers: 2, hidden_size: 32, num_attention_heads: 2, intermediate_size: 64}}
curriculum:
  - {{name: first, tokens: 2048, sequence_tokens: 16, batch_tokens: 64, learning_rate: {{peak: 1e-3, warmup: 10%}}}}
  - name: second
    tokens: 1000
    sequence_tokens: 32
    batch_tokens: 64
    shares: {{books: 75%, code: 25%}}
    max_epochs: 2
    learning_rate: {{decay: 100%, end: 1e-4}}
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


def _json(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


def test_the_real_curriculum_without_a_corpus(capsys: pytest.CaptureFixture[str]) -> None:
    show_plan(RECIPE, [], without_corpus=True, as_json=True)
    plan = _json(capsys)
    total, tokens = 1_040_254_976, 23_998_758_912
    assert (plan["vocabulary"], plan["from_corpora"]) == (32_768, False)
    assert plan["parameters"] == {
        "embedding": 67_108_864,
        "head": 0,
        "blocks": 973_078_528,
        "norms": 67_584,
        "total": total,
        "non_embedding": 973_146_112,
        "multiplied": total,
    }
    assert plan["tokens"] == tokens
    assert plan["tokens_per_parameter"] == pytest.approx(23.0701, abs=1e-4)
    short, long = (15_258 + 5_722) * 2**20, 1_907 * 2**20  # tokens read at 2,048 and at 8,192
    attention = 12 * 16 * 2048 * (2048 * short + 8192 * long)
    assert plan["flops_6nd"] == pytest.approx(6 * total * tokens, rel=1e-12)
    assert plan["flops"] == pytest.approx(6 * total * tokens + attention, rel=1e-12)
    assert plan["device_hours"] == pytest.approx((6 * total * tokens + attention) / (989.4e12 * 0.4) / 3600)
    assert plan["device_hours"] == pytest.approx(122.09, abs=0.01)
    assert plan["days"] == pytest.approx(122.09 / 8 / 24, abs=1e-4)
    assert plan["price"] == pytest.approx(305.23, abs=0.01)
    assert plan["checkpoint_bytes"] == 12 * total
    assert plan["checkpoints"] == 3 + 2 + 5 + 1  # ends of phases, last ones, every 4,000 steps, the one being written
    sources = plan["sources"]
    assert isinstance(sources, list)
    assert {each["name"]: each["held_tokens"] for each in sources} == dict.fromkeys(
        ["arxiv", "books", "code", "web", "wikipedia"]
    )


def test_the_phases_of_the_real_curriculum(capsys: pytest.CaptureFixture[str]) -> None:
    show_plan(RECIPE, [], without_corpus=True, as_json=True)
    phases = _json(capsys)["phases"]
    assert isinstance(phases, list)
    assert [(each["name"], each["steps"], each["batch_sequences"], each["sequence_tokens"]) for each in phases] == [
        ("broad", 15_258, 512, 2048),
        ("refine", 5_722, 512, 2048),
        ("anneal", 1_907, 128, 8192),
    ]
    assert [(each["rate_start"], each["rate_peak"], each["rate_end"]) for each in phases] == [
        (0.0, 4e-4, 4e-4),
        (4e-4, 4e-4, 1e-4),
        (1e-4, 1e-4, 0.0),
    ]
    for phase in phases:
        assert sum(each["tokens"] for each in phase["sources"]) == phase["tokens"] == phase["steps"] * 2**20
        for each in phase["sources"]:
            assert each["share"] == pytest.approx(each["share_asked"])
            assert each["tokens"] == pytest.approx(each["share"] * phase["tokens"], abs=phase["sequence_tokens"])
        memory = phase["memory"]
        assert memory["moments_bytes"] == 1_040_254_976
        assert sum(memory.values()) < 80e9, "the recipe says that it fits the device"
        assert phase["micro_batch_sequences"] * phase["sequence_tokens"] == 2**15, "level over phases"


@pytest.mark.parametrize(
    ("setting", "fits", "told"),
    [
        (
            "micro_batch_tokens=1Mi",
            False,
            r"does not fit: 1\d\d GB of 72 GB .*; set parallel\.micro_batch_tokens: 32768",
        ),
        ("micro_batch_tokens=32Ki", True, r"fits: \d\d(\.\d)? GB of 72 GB"),
        (
            "micro_batch_tokens=null",
            True,
            r"the whole batch at once does not fit \(1\d\d GB\), micro-batches of 32,768",
        ),
    ],
)
def test_the_real_curriculum_fits_in_micro_batches(
    setting: str, fits: bool, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    show_plan(RECIPE, [f"parallel.{setting}"], without_corpus=True, as_json=False)
    assert re.search(told, capsys.readouterr().out)
    show_plan(RECIPE, [f"parallel.{setting}"], without_corpus=True, as_json=True)
    plan = _json(capsys)
    assert plan["fits"] is fits and plan["usable_memory_bytes"] == 72e9
    assert (plan["device_memory_bytes"] <= 72e9) is fits  # type: ignore[operator]


def test_the_sources_of_the_real_curriculum_are_its_recipes() -> None:
    named = set(re.findall(r"- name: (\w+)", (ROOT / "recipes/web_books_code.yaml").read_text()))
    for phase in read_training(RECIPE).curriculum:
        assert set(phase.shares or {}) == named


def test_vocabulary_and_epochs_come_from_the_corpus(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show_plan(small, [], without_corpus=False, as_json=True, vocabulary=7)
    plan = _json(capsys)
    assert (plan["vocabulary"], plan["from_corpora"]) == (384, True)
    first, second = plan["phases"]  # type: ignore[misc]
    held = {"books": 2163, "code": 2156, "web": 2884}
    assert {each["name"]: each["share_asked"] for each in first["sources"]} == dict.fromkeys(held)
    for each in first["sources"]:
        assert each["share"] == pytest.approx(held[each["name"]] / sum(held.values()), abs=1e-3)
        assert each["epochs"] == each["cursor_tokens"] / held[each["name"]]
    assert second["steps"] == 15
    books, code = second["sources"]
    assert (books["tokens"] + code["tokens"], books["share_asked"]) == (960, 0.75)
    before = {each["name"]: each["tokens"] for each in first["sources"]}
    assert books["cursor_tokens"] == before["books"] + books["tokens"]
    totals = {each["name"]: each for each in plan["sources"]}  # type: ignore[attr-defined]
    assert {name: each["held_tokens"] for name, each in totals.items()} == held
    assert totals["web"]["tokens"] == before["web"]


def test_the_tables_show_the_figures(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show_plan(small, ["cluster.price_per_hour=2"], without_corpus=False, as_json=False)
    told = capsys.readouterr().out
    for expected in (
        "vocabulary 384 (the corpora's)",
        "0 → 0.001",
        "0.001 → 0.0001",
        "75.00%",
        "by size",
        "under Chinchilla's 20",
        "at 40.0% of H100: 989.4 TFLOP/s",
        "at 2.00 a device-hour",
        " each, at most 5 at a time: ",
    ):
        assert expected in told
    assert max(map(len, told.splitlines())) <= 100


def test_a_corpus_that_is_too_small_is_shown_and_refused(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    large = ["curriculum.first.tokens=20480"]
    with pytest.raises(InputError, match=r"phase `first`: source `books` holds 2,163 training tokens") as refused:
        show_plan(small, large, without_corpus=False, as_json=False)
    assert refused.value.exit_code == 2
    told = capsys.readouterr().out
    assert re.search(r"first +books .* 2\.8\d +1 +over", told), told
    assert "device-hours" in told
    with pytest.raises(InputError, match="source `books`"):
        show_plan(small, large, without_corpus=False, as_json=True)
    assert capsys.readouterr().out == "", "half a plan is no JSON"


def test_without_a_corpus_shares_must_be_stated(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match=r"must state its `shares`; phase `first` would take them"):
        show_plan(small, [], without_corpus=True, as_json=False)
    assert capsys.readouterr().out == ""


def test_a_missing_corpus_suggests_without_corpus(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"corpus `main`: .*\n.*--without-corpus"):
        show_plan(RECIPE, [f"corpora.main={tmp_path}/none"], without_corpus=False, as_json=False)


def test_without_a_corpus_the_vocabulary_can_be_given(capsys: pytest.CaptureFixture[str]) -> None:
    show_plan(RECIPE, [], without_corpus=True, as_json=False, vocabulary=1000)
    told = capsys.readouterr().out
    assert "vocabulary 1,000 (assumed: no corpus was read)" in told
    assert "2,048,000" in told
    assert "epochs" not in told.replace("max_epochs", "")
    with pytest.raises(InputError, match="--vocabulary 0"):
        show_plan(RECIPE, [], without_corpus=True, as_json=False, vocabulary=0)


@pytest.mark.parametrize(
    ("assignment", "told"),
    [
        ("cluster.accelerator=H1000", "unknown accelerator `H1000`; did you mean `H100`"),
        ("cluster.devices=7", "phase `broad`: a batch of 512 sequences cannot be shared evenly by 7 devices"),
        ("curriculum.refine.learning_rate.peak=1", "phase `refine`: learning_rate: the previous phase ends"),
    ],
)
def test_invalid_settings_are_refused(assignment: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match=re.escape(told)):
        show_plan(RECIPE, [assignment], without_corpus=True, as_json=False)
    assert capsys.readouterr().out == ""


def _made(held: Mapping[str, int]) -> Corpora:
    sources = {
        name: TokenSource(
            name=name,
            identity=name,
            chunk_tokens=64,
            train=(TokenShardFile(Path(), tokens, 1, ""),),
            holdout=(),
            holdout_thin=False,
        )
        for name, tokens in held.items()
    }
    return Corpora(sources, TokenizerFile(Path(), "", 384, 0, ""), {})


def _plan(training: Training, held: Mapping[str, int]) -> TrainingPlan:
    corpora = _made(held)
    return make_plan(training, resolve(training, corpora), corpora)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 99), st.integers(64, 10**5), st.floats(0.01, 10), st.floats(0.01, 10))
def test_the_needed_tokens_suffice_and_two_sequences_less_do_not(
    books: int, tokens: int, first: float, second: float
) -> None:
    training = read_training(RECIPE, ["cluster.devices=1"])
    phase = training.curriculum[0]
    shares = {"books": books / 100, "code": (100 - books) / 100}
    small = phase.model_copy(
        update={"tokens": tokens, "sequence_tokens": 16, "batch_tokens": 64, "shares": shares, "max_epochs": first}
    )
    again = small.model_copy(update={"name": "again", "shares": {"books": 1.0}, "max_epochs": second})
    training = training.model_copy(update={"curriculum": (small, again)})
    needed = {each.name: each.needed_tokens for each in _plan(training, {"books": 10**9, "code": 10**9}).sources}
    resolve(training, _made(needed))
    for name, least in needed.items():
        if least > 32:  # the last sequence of an epoch may be short, so that one less may suffice
            with pytest.raises(InputError, match=f"source `{name}`"):
                resolve(training, _made(needed | {name: least - 32}))


def test_control_characters_in_names_are_escaped_in_tables(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    training = read_training(small, ["curriculum.second.shares=null"])
    name = "bo\x1b[2Joks [red]\u202ered"
    print_plan(_plan(training, {name: 10**6, "code": 10**6}))
    told = capsys.readouterr().out
    assert "bo\\u001b[2Joks [red]\\u202ered" in told
    assert "\x1b" not in told


@pytest.mark.parametrize(
    ("assignment", "part", "more"),
    [
        ("parallel.precision=fp32", "activations_bytes", True),
        ("parallel.micro_batch_sequences=1", "activations_bytes", False),
        ("parallel.micro_batch_tokens=16", "activations_bytes", False),
        ("parallel.recompute=full", "activations_bytes", False),
        ("parallel.recompute=operations", "activations_bytes", False),
        ("parallel.recompute=2", "activations_bytes", False),
        ("parallel.loss_chunk_tokens=4", "working_bytes", False),
        ("parallel.compile=false", "activations_bytes", True),
        ("evaluate.batch_sequences=17", "evaluation_bytes", True),
        ("parallel.reshard_after_forward=false", "gathered_bytes", True),
        ("cluster.devices=1", "moments_bytes", True),
    ],
)
def test_parallel_settings_change_the_memory(small: Path, assignment: str, part: str, more: bool) -> None:
    held = {"books": 10**6, "code": 10**6}
    written = ["model.num_hidden_layers=4", "cluster.devices=2"]
    plain = _plan(read_training(small, written), held).phases[0].memory
    changed = _plan(read_training(small, [*written, assignment]), held).phases[0].memory
    assert (getattr(changed, part) > getattr(plain, part)) is more
    assert getattr(changed, part) != getattr(plain, part)
