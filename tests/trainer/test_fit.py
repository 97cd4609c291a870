"""`trainer fit`: errors, stopping and records. tests/end_to_end tests resuming."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from corpus.errors import CorpusError, InputError
from tests.end_to_end.training import (
    PHASE_1,
    STEPS,
    checkpoint_tensors,
    fit_here,
    fit_until_killed,
    metrics_fields,
    write_config,
)
from trainer.data.loader import Batch
from trainer.engine.run_setup import RunSetup, read_setup
from trainer.engine.step import NotFinite, StepAgreement, TrainStep
from trainer.errors import Stopped
from trainer.inspect.console import RunConsole
from trainer.inspect.trace import trace
from trainer.inspect.training_plan import make_plan
from trainer.model.llama.settings import LlamaConfig


def changed(config: Path, **settings: object) -> Path:
    config.write_text(json.dumps(json.loads(config.read_text()) | settings))
    return config


def test_phase_2_needs_the_end_of_phase_1_and_says_so(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"phase 2, `curated`, needs the last checkpoint of phase 1, `broad`.*--phase 1"
    ):
        fit_here(write_config(tmp_path), "2")


def test_a_finished_phase_is_not_trained_again(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    config = write_config(tmp_path, evaluate={"sequence_tokens": 32, "tokens_per_source": 1})
    run = fit_here(config, "1")
    before = checkpoint_tensors(run)
    fit_here(config, "broad")
    assert checkpoint_tensors(run) == before
    assert "broad: done" in capfd.readouterr().err


def test_phase_1_is_not_trained_again_during_phase_2(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    config = write_config(tmp_path)
    run = fit_until_killed(config, "step:19")
    before = (run / "metrics.jsonl").read_bytes()
    fit_here(config, "1")
    assert (run / "metrics.jsonl").read_bytes() == before
    assert f"broad: done; its last step was {PHASE_1}" in capfd.readouterr().err


def test_the_time_left_of_one_phase_is_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails if phases that this run does not train count."""
    seen: list[tuple[str, int]] = []

    def phase(_: RunConsole, name: str, index: int, count: int, first: int, last: int, tokens_after: int) -> None:
        seen.append((name, tokens_after))

    monkeypatch.setattr(RunConsole, "phase", phase)
    config = write_config(tmp_path, evaluate={"tokens_per_source": 1})
    fit_here(config, "1")
    fit_here(write_config(tmp_path / "all", evaluate={"tokens_per_source": 1}))
    assert seen == [("broad", 0), ("broad", 256 * (STEPS - PHASE_1)), ("curated", 0)]


def test_an_unknown_phase_names_the_existing_ones(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--phase 3: no such phase; the curriculum has 1 broad, 2 curated"):
        fit_here(write_config(tmp_path), "3")


@pytest.fixture(scope="module")
def phase_1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the config of a run that has finished its first phase."""
    config = write_config(tmp_path_factory.mktemp("phase-1"), evaluate={"tokens_per_source": 1})
    fit_here(config, "1")
    return config


@pytest.mark.parametrize(
    ("settings", "refusal"),
    [
        (
            {
                "model": {
                    "num_hidden_layers": 2,
                    "hidden_size": 64,
                    "num_attention_heads": 4,
                    "intermediate_size": 48,
                }
            },
            "hidden_size is 64, in the checkpoint 32",
        ),
        ({"seed": 5}, "seed is 5, in the checkpoint 1"),
    ],
)
def test_another_model_or_seed_is_refused(phase_1: Path, tmp_path: Path, settings: object, refusal: str) -> None:
    told = json.loads(phase_1.read_text()) | settings  # type: ignore[operator]
    config = tmp_path / "train.yaml"
    config.write_text(json.dumps(told))
    with pytest.raises(InputError, match=refusal):
        fit_here(config, "2")


def test_another_curriculum_before_the_checkpoint_is_refused(phase_1: Path, tmp_path: Path) -> None:
    written = json.loads(phase_1.read_text())
    written["curriculum"][0]["batch_tokens"] = 128
    config = tmp_path / "train.yaml"
    config.write_text(json.dumps(written))
    with pytest.raises(InputError, match="phase `broad`: batch_tokens is 128, in the checkpoint 256"):
        fit_here(config, "2")


def test_another_corpus_needs_other_corpus(phase_1: Path, tmp_path: Path) -> None:
    from tests.end_to_end.training import GOLDEN
    from tests.small_build import copy_build
    from trainer.fit import fit

    corpus = copy_build(GOLDEN, tmp_path / "corpus")
    manifest = json.loads((corpus / "manifest.json").read_text())
    manifest["chunk_tokens"] = 64
    (corpus / "manifest.json").write_text(json.dumps(manifest))
    written = json.loads(phase_1.read_text()) | {"corpora": {"golden": str(corpus)}}
    written["curriculum"][1]["tokens"] = 256
    config = tmp_path / "train.yaml"
    config.write_text(json.dumps(written))
    with pytest.raises(InputError, match=r"corpus `golden` is another one: .* --other-corpus"):
        fit_here(config, "2")
    copy_build(phase_1.parent / "run", tmp_path / "run")
    changed(config, out=str(tmp_path / "run"))
    fit(config, "2", other_corpus=True)
    assert metrics_fields(tmp_path / "run", "step")[-1] == (PHASE_1 + 1,)


def read_tokens(setup: RunSetup, steps: range, source: str) -> list[tuple[str, int]]:
    """Return (document, token in it) of each input token that these steps read of a source."""
    spans = [span for step in steps for span in trace(setup.corpora, setup.curriculum.phase_of(step), step)]
    return [
        (span.id, span.document_first + at)
        for span in spans
        if span.source.endswith(source)
        for at in range(span.last - span.first)
        if span.first + at < setup.curriculum.phases[0].sequence_tokens
    ]


def test_a_corpus_added_for_the_second_phase_leaves_the_first_in_its_order(tmp_path: Path) -> None:
    """Fails if a source's order depends on its name with the corpus, or if what was read is forgotten with it."""
    from tests.end_to_end.training import GOLDEN
    from tests.small_build import copy_build

    config = write_config(tmp_path, evaluate={"tokens_per_source": 1})
    written = json.loads(config.read_text())
    written["curriculum"][0]["shares"] = {"books": 0.5, "code": 0.2, "web": 0.3}
    written["curriculum"][1] |= {"shares": {"books": 1.0}, "sequence_tokens": 32, "tokens": 768}
    fit_here(changed(config, curriculum=written["curriculum"]), "1")
    written["curriculum"][0]["shares"] = {"golden/books": 0.5, "code": 0.2, "golden/web": 0.3}
    written["curriculum"][1]["shares"] = {"golden/books": 0.5, "poems": 0.5}
    added = copy_build(GOLDEN, tmp_path / "added")
    manifest = json.loads((added / "manifest.json").read_text())
    for source in manifest["sources"]:
        source["name"] = {"books": "books", "code": "poems"}.get(source["name"], source["name"])
    (added / "manifest.json").write_text(json.dumps(manifest))
    changed(config, curriculum=written["curriculum"], corpora={"golden": str(GOLDEN), "added": str(added)})
    run = fit_here(config, "2")
    assert metrics_fields(run, "step")[-1] == (PHASE_1 + 3,)
    setup = read_setup(config)
    tokens = read_tokens(setup, range(1, PHASE_1 + 4), "golden/books")
    assert len(set(tokens)) == len(tokens) > 0


def test_a_checkpoint_with_the_earlier_names_of_settings_is_resumed(phase_1: Path, tmp_path: Path) -> None:
    """Fails if the stored names are not translated, or if a missing setting does not take its default."""
    from tests.small_build import copy_build
    from trainer.fit import fit

    run = copy_build(phase_1.parent / "run", tmp_path / "run")
    earlier = {new: old for old, new in LlamaConfig.RENAMED.items()}
    for path in run.glob("checkpoints/step-*/state.json"):
        state = json.loads(path.read_text())
        state["model"] = {earlier.get(name, name): value for name, value in state["model"].items() if name != "family"}
        assert {"layers", "rope_base", "vocabulary"} < set(state["model"])
        del state["origin"]
        path.write_text(json.dumps(state))
    written = json.loads(phase_1.read_text()) | {"out": str(run)}
    written["curriculum"][1]["tokens"] = 256
    config = tmp_path / "train.yaml"
    config.write_text(json.dumps(written))
    fit(config, "2")
    assert metrics_fields(run, "step")[-1] == (PHASE_1 + 1,)


def test_sigterm_saves_and_the_same_command_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, learn = write_config(tmp_path, checkpoint={"keep": 1}), TrainStep.learn

    def asked(self: TrainStep, batch: object, targets: int, rate: float) -> object:
        if batch.step == 5:  # type: ignore[attr-defined]
            os.kill(os.getpid(), signal.SIGTERM)
        return learn(self, batch, targets, rate)  # type: ignore[arg-type]

    monkeypatch.setattr(TrainStep, "learn", asked)
    with pytest.raises(Stopped, match="stopped after step 5, which is saved") as stopped:
        fit_here(config)
    assert stopped.value.exit_code == 143
    monkeypatch.undo()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    run = tmp_path / "run"
    assert json.loads((run / "checkpoints/step-00000005/state.json").read_text())["step_in_phase"] == 5
    assert checkpoint_tensors(fit_here(config)) == checkpoint_tensors(fit_here(write_config(tmp_path / "whole")))


def test_a_loss_that_is_not_finite_stops_before_the_update_and_names_the_documents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, backward = write_config(tmp_path), TrainStep._backward

    def spoiled(self: TrainStep, batch: object, targets: int) -> object:
        losses_B = backward(self, batch, targets)  # type: ignore[arg-type]
        if batch.step == 6:  # type: ignore[attr-defined]
            losses_B[3] = np.nan
        return losses_B

    monkeypatch.setattr(TrainStep, "_backward", spoiled)
    with pytest.raises(NotFinite) as error:
        fit_here(config)
    monkeypatch.undo()
    setup = read_setup(config)
    mine = {span.id for span in trace(setup.corpora, setup.curriculum.phases[0], 6) if span.row == 3}
    message = str(error.value)
    assert message.startswith("step 6: the loss is nan; the weights were not updated")
    assert all(name in message for name in mine) and "trainer trace --step 6" in message
    assert metrics_fields(tmp_path / "run", "step") == [(step,) for step in range(1, 6)]

    phases = json.loads(config.read_text())["curriculum"]
    changed(config, curriculum=[phases[0] | {"skip": ["6"]}, phases[1]])
    assert metrics_fields(fit_here(config), "step") == [(step,) for step in range(1, STEPS + 1) if step != 6]


def test_a_step_to_skip_that_was_trained_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Fails if steps that were skipped are named too."""
    config = write_config(tmp_path)
    phases = json.loads(config.read_text())["curriculum"]
    fit_here(changed(config, curriculum=[phases[0] | {"skip": ["4"]}, phases[1]]), "1")
    fit_here(changed(config, curriculum=[phases[0] | {"skip": ["4", "6"]}, phases[1]]), "2")
    shown = " ".join(capfd.readouterr().err.split())
    assert f"skip: step 6 is already part of the checkpoint of step {PHASE_1}; to skip it, remove" in shown
    assert "step 4 is already" not in shown


def test_a_gradient_that_is_not_finite_stops_before_the_update(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.engine.step.clip", lambda *_: float("inf"))
    with pytest.raises(NotFinite, match="step 1: the norm of the gradient is inf"):
        fit_here(write_config(tmp_path))


def test_accumulation_changes_only_rounding(tmp_path: Path) -> None:
    runs = []
    for micro in (1, 8, None):
        config = write_config(tmp_path / str(micro), parallel={"precision": "fp32", "micro_batch_sequences": micro})
        runs.append(metrics_fields(fit_here(config, "1"), "step", "batch", "loss", "grad_norm"))
    for one, other in zip(runs[0] + runs[0], runs[1] + runs[2], strict=True):
        assert one[:2] == other[:2]
        assert one[2:] == pytest.approx(other[2:], rel=1e-5)


def test_a_second_run_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    """Fails if the folder is not locked, or if the lock outlives its process."""
    config = write_config(tmp_path)
    hold = "import sys\nfrom pathlib import Path\nfrom trainer.engine.run_setup import lock_run_folder\n"
    hold += "with lock_run_folder(Path(sys.argv[1])):\n    print('held', flush=True)\n    input()"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", hold, str(tmp_path / "run")], stdin=pipe, stdout=pipe) as other:
        assert other.stdout is not None and other.stdout.readline() == b"held\n"
        with pytest.raises(CorpusError, match="another `trainer fit` is at work"):
            fit_here(config)
        other.kill()
    fit_here(config, "1")


def test_files_of_a_run_folder(phase_1: Path) -> None:
    run = Path(json.loads(phase_1.read_text())["out"])
    left = {path.name for path in run.iterdir()} - {".lock"}
    assert left == {"train.json", "starts.jsonl", "ends.jsonl", "metrics.jsonl", "evaluations.jsonl", "samples.json",
                    "checkpoints", "report.html"}  # fmt: skip
    assert json.loads((run / "starts.jsonl").read_text().splitlines()[0])["versions"]["torch"] == torch.__version__
    row = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert row["tokens"] == 256 * PHASE_1 and row["learning_rate"] == 1e-2 and row["mfu"] is None
    assert set(row["epochs"]) == {"books", "code", "web"}


def test_a_checkpoint_has_the_planned_size(phase_1: Path) -> None:
    setup = read_setup(phase_1)
    planned = make_plan(setup.training, setup.curriculum, setup.corpora).checkpoint_bytes
    header = 20_000  # names and places of the tensors
    saved = max((setup.folder / "checkpoints").glob("step-*"))
    assert 0 < sum(file.stat().st_size for file in saved.glob("*.safetensors")) - planned < header


def test_tensorboard_gets_steps_and_evaluations_if_asked(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = fit_here(write_config(tmp_path, tensorboard=True), "1")
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    assert [point.step for point in events.Scalars("loss")] == list(range(1, PHASE_1 + 1))
    assert [point.step for point in events.Scalars("bits per byte")] == [0, PHASE_1]


def test_a_batch_emptied_by_a_takedown_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agree = TrainStep.agree

    def emptied(self: TrainStep, batch: Batch, stop: bool, save: bool) -> StepAgreement:
        found = agree(self, batch, stop, save)
        return found._replace(targets=0) if batch.step == 4 else found

    monkeypatch.setattr(TrainStep, "agree", emptied)
    run = fit_here(write_config(tmp_path, checkpoint={"every_steps": 4}), "1")
    assert metrics_fields(run, "step") == [(step,) for step in range(1, PHASE_1 + 1) if step != 4]
    assert (run / "checkpoints" / "step-00000005").is_dir()  # the one due at step 4


def test_a_page_that_cannot_be_written_does_not_end_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("trainer.inspect.run_page.write_run_page", full)
    run = fit_here(write_config(tmp_path), "1")
    assert metrics_fields(run, "step")[-1] == (PHASE_1,)
    assert "the page could not be written: OSError" in capfd.readouterr().err


def test_evaluations_with_other_settings_are_computed_again(phase_1: Path, tmp_path: Path) -> None:
    from tests.small_build import copy_build
    from trainer.inspect.metrics import evaluations_file

    run = copy_build(phase_1.parent / "run", tmp_path / "run")
    written = json.loads(phase_1.read_text()) | {"out": str(run), "evaluate": {"tokens_per_source": 200}}
    config = tmp_path / "train.yaml"
    config.write_text(json.dumps(written))
    fit_here(config, "1")
    rows = list(evaluations_file(run).rows())
    found = [(row.after, row.tokens_per_source) for row in rows]
    assert found == [("before", 1), ("after broad", 1), ("after broad", 200)]
    sequence_tokens = written["curriculum"][0]["sequence_tokens"]
    assert {(row.sequence_tokens, row.stride_tokens) for row in rows} == {(sequence_tokens, sequence_tokens)}


def test_another_corpus_may_have_other_sources(phase_1: Path, tmp_path: Path) -> None:
    from tests.end_to_end.training import GOLDEN
    from tests.small_build import copy_build
    from trainer.fit import fit

    corpus = copy_build(GOLDEN, tmp_path / "corpus")
    manifest = json.loads((corpus / "manifest.json").read_text())
    manifest["sources"][2]["name"] = "zebra"
    (corpus / "manifest.json").write_text(json.dumps(manifest))
    run = copy_build(phase_1.parent / "run", tmp_path / "run")
    written = json.loads(phase_1.read_text()) | {"corpora": {"golden": str(corpus)}, "out": str(run)}
    config = tmp_path / "train.yaml"
    config.write_text(json.dumps(written))
    fit(config, "2", other_corpus=True)
    assert metrics_fields(run, "step")[-1] == (STEPS,)


def test_a_damaged_shard_is_named_before_training_on_a_token_outside_the_vocabulary(tmp_path: Path) -> None:
    from tests.end_to_end.training import GOLDEN
    from tests.small_build import copy_build
    from trainer.errors import TrainerError

    corpus = copy_build(GOLDEN, tmp_path / "corpus")
    for file in (corpus / "shards").glob("books-train*"):
        raw = bytearray(file.read_bytes())
        raw[len(raw) // 2 | 1] = 0xFF
        file.write_bytes(raw)
    config = write_config(tmp_path, corpora={"golden": str(corpus)})
    with pytest.raises(TrainerError, match="less than the vocabulary of 384: a shard is damaged; run `corpus verify`"):
        fit_here(config)
