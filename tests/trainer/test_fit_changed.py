"""`trainer fit` resumed with other settings or corpora: refused, or trained on."""

import json
from pathlib import Path

import pytest

from corpus.errors import InputError
from tests.end_to_end.training import (
    GOLDEN,
    PHASE_1,
    STEPS,
    changed,
    fit_here,
    metrics_fields,
    write_config,
)
from tests.small_build import copy_build
from trainer.engine.run_setup import RunSetup, read_setup
from trainer.fit import fit
from trainer.inspect.metrics import evaluations_file
from trainer.inspect.trace import trace
from trainer.model.llama.settings import LlamaConfig


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


def test_another_corpus_may_have_other_sources(phase_1: Path, tmp_path: Path) -> None:
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


def test_a_step_to_skip_that_was_trained_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Fails if steps that were skipped are named too."""
    config = write_config(tmp_path)
    phases = json.loads(config.read_text())["curriculum"]
    fit_here(changed(config, curriculum=[phases[0] | {"skip": ["4"]}, phases[1]]), "1")
    fit_here(changed(config, curriculum=[phases[0] | {"skip": ["4", "6"]}, phases[1]]), "2")
    shown = " ".join(capfd.readouterr().err.split())
    assert f"skip: step 6 is already part of the checkpoint of step {PHASE_1}; to skip it, remove" in shown
    assert "step 4 is already" not in shown


def test_evaluations_with_other_settings_are_computed_again(phase_1: Path, tmp_path: Path) -> None:
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
