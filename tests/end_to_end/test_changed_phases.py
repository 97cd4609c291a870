"""A phase that runs can become shorter or longer, and runs branch: the result is that of a run planned this way.

Verified to fail on each of these faults:
- a phase's end is taken from the checkpoint and not from the settings, or its length is compared: other lengths;
- the checkpoint of a phase that was shortened to it is not marked as its end: length 8;
- a branch does not take the moments, does not save its first checkpoint, or does not copy the rows: the branches;
- a fresh optimizer takes the moments; the origin of a run is not compared.
"""

import json
import shutil
from pathlib import Path

import pytest

from corpus.errors import InputError
from tests.end_to_end.training import checkpoint_tensors, fit_here, fit_until_killed, metrics_fields, write_config
from tests.trainer.torchrun import torchrun
from trainer.fit import fit

EXACT = ("step", "phase", "batch", "loss", "grad_norm", "learning_rate", "epochs", "losses", "tokens", "targets")
BATCH = 256
TRUNK, ANNEAL = 12, 6  # steps


def write(folder: Path, trunk: int, books: float = 0.7, **changes: object) -> Path:
    """Write a training file: a phase at a constant rate, and one in which it decays."""
    shares = {"books": books, "code": round(1 - books, 1)}
    settings = {
        "curriculum": [
            {"name": "trunk", "tokens": BATCH * trunk, "sequence_tokens": 32, "batch_tokens": BATCH, "max_epochs": 3,
             "learning_rate": {"peak": 1e-2}},
            {"name": "anneal", "tokens": BATCH * ANNEAL, "sequence_tokens": 64, "batch_tokens": BATCH,
             "shares": shares, "max_epochs": 3, "learning_rate": {"decay": 1, "end": 0}},
        ],
        "evaluate": {"sequence_tokens": 32, "tokens_per_source": 1},
    }  # fmt: skip
    return write_config(folder, **settings | changes)


def assert_same(run: Path, planned: Path) -> None:
    """Assert that the runs took the same steps to the same tensors."""
    assert metrics_fields(run, *EXACT) == metrics_fields(planned, *EXACT)
    assert checkpoint_tensors(run) == checkpoint_tensors(planned)


@pytest.fixture(scope="module")
def trunk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folder that is killed after step 8 of its first phase; the checkpoints are those of steps 4 and 8."""
    return fit_until_killed(write(tmp_path_factory.mktemp("trunk"), TRUNK), "renamed:8")


@pytest.mark.parametrize("steps", [8, 10, 15])
def test_a_running_phase_can_change_its_length(trunk: Path, tmp_path: Path, steps: int) -> None:
    run = Path(shutil.copytree(trunk, tmp_path / "run"))
    fit_here(write(tmp_path, steps, checkpoint={"every_steps": 2, "keep": 1}))
    assert_same(run, fit_here(write(tmp_path / "planned", steps)))
    kept = {path.name for path in run.glob("checkpoints/step-*")}
    assert {f"step-{steps:08d}", f"step-{steps + ANNEAL:08d}"} <= kept, "the ends of phases"
    evaluations = [json.loads(line)["after"] for line in (run / "evaluations.jsonl").read_text().splitlines()]
    assert evaluations == ["before", "after trunk", "after anneal"]


def test_a_phase_cannot_be_shorter_than_what_is_done(trunk: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(trunk, tmp_path / "run"))
    before = (run / "metrics.jsonl").read_bytes()
    with pytest.raises(InputError, match=r"`trunk`: 8 steps are done, and its `tokens` are 7 steps; expected 2048 tok"):
        fit_here(write(tmp_path, 7))
    assert (run / "metrics.jsonl").read_bytes() == before


EARLIER_CURSOR = {"epoch_tokens": 9, "epoch": 0, "unread": [[0, 9]], "sequence_tokens": 32, "done": 0}


@pytest.mark.parametrize("cursors", [{}, {"books": EARLIER_CURSOR}, None])
def test_a_run_that_read_in_another_order_is_refused(trunk: Path, tmp_path: Path, cursors: object) -> None:
    """Fails if a checkpoint of a release that cut sequences in another way resumes with other batches."""
    run = Path(shutil.copytree(trunk, tmp_path / "run"))
    path = run / "checkpoints/step-00000008/state.json"
    state = json.loads(path.read_text()) | {"cursors": cursors}
    del state["phase_settings"]["whole_documents"]
    path.write_text(json.dumps(state))
    with pytest.raises(InputError, match="is of a release that read the documents in another order, so that batches"):
        fit_here(write(tmp_path, TRUNK))


def test_a_phase_that_is_done_can_go_on(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The same holds for the last phase of a curriculum."""
    run = fit_here(write(tmp_path, 8), "trunk")
    capfd.readouterr()
    fit_here(write(tmp_path, 11))
    table, shown = capfd.readouterr()
    assert table.count("after trunk") == 1, "the evaluation at its earlier end is left out"
    assert "phase `trunk` has 11 steps; it had 8 when the checkpoint was saved, and 8 are done" in shown
    assert "learning rate of step 9: 0.01" in shown
    assert_same(run, fit_here(write(tmp_path / "planned", 11)))
    capfd.readouterr()

    constant = {"tokens": BATCH * 3, "learning_rate": {"peak": 1e-3, "jump": True}}
    config = write(tmp_path, 11)
    phases = json.loads(config.read_text())["curriculum"]
    fit_here(write(tmp_path, 11, curriculum=[*phases, phases[0] | constant | {"name": "more"}]), "more")
    phases += [phases[0] | constant | {"name": "more", "tokens": BATCH * 5}]
    fit_here(write(tmp_path, 11, curriculum=phases))
    assert_same(run, fit_here(write(tmp_path / "planned", 11, curriculum=phases)))
    fit_here(write(tmp_path, 11, curriculum=phases))
    assert "its last step was 22; to go on, raise `tokens` of `more` or add a phase" in capfd.readouterr().err


def test_a_phase_before_the_running_one_keeps_its_length(tmp_path: Path) -> None:
    fit_until_killed(write(tmp_path, 8), "renamed:12")
    with pytest.raises(InputError, match="phase `anneal` begins at step 11, in the checkpoint at step 9: the phases"):
        fit_here(write(tmp_path, 10))


def test_two_anneals_branch_from_one_trunk(trunk: Path, tmp_path: Path) -> None:
    """Each branch equals a run that was planned this way from the start; the trunk does not change."""
    before = sorted((path, path.read_bytes()) for path in trunk.rglob("*") if path.is_file())
    for name, step, books in (("one", 8, 0.7), ("two", 8, 0.2), ("early", 4, 0.5)):
        config = write(tmp_path / name, step, books=books)
        fit(config, None, branch_from=f"{trunk}@{step}" if name != "one" else str(trunk))
        run = tmp_path / name / "run"
        assert_same(run, fit_here(write(tmp_path / name / "planned", step, books=books)))
        state = json.loads((run / f"checkpoints/step-{step:08d}/state.json").read_text())
        assert state["origin"] == {"run": str(trunk), "step": step, "fresh_optimizer": False} and state["phase_done"]
        assert json.loads((run / "starts.jsonl").read_text())["from"] == f"{trunk}@{step}"
        rows = [json.loads(line) for line in (run / "evaluations.jsonl").read_text().splitlines()]
        assert [row["after"] for row in rows] == ["before", "after trunk", "after anneal"]
    assert before == sorted((path, path.read_bytes()) for path in trunk.rglob("*") if path.is_file())


@pytest.mark.parametrize("again", [True, False])
def test_a_killed_branch_resumes_with_or_without_from_and_without_its_trunk(
    trunk: Path, tmp_path: Path, again: bool
) -> None:
    copy = Path(shutil.copytree(trunk, tmp_path / "trunk"))
    config = write(tmp_path, 10, checkpoint={"every_minutes": None})
    run = fit_until_killed(config, "step:9", branch_from=str(copy))
    assert [path.name for path in run.glob("checkpoints/step-*")] == ["step-00000008"]
    assert metrics_fields(run, "step") == [(step,) for step in range(1, 9)]
    if again:  # the trunk goes on
        fit_here(write(copy.parent / "other", TRUNK, out=str(copy)))
    else:
        shutil.rmtree(copy)
    fit(config, None, branch_from=str(copy) if again else None)
    assert_same(run, fit_here(write(tmp_path / "planned", 10)))


@pytest.mark.parametrize("fresh", [False, True])
def test_a_branch_killed_in_its_first_save_begins_again_without_from(
    trunk: Path, tmp_path: Path, fresh: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copytree(trunk, tmp_path / "trunk"))
    config = write(tmp_path, 10)
    run = fit_until_killed(config, "saving:8", branch_from=str(copy))
    assert not list(run.glob("checkpoints/step-*"))
    if fresh:  # as if it had been started with --fresh-optimizer
        starts = (run / "starts.jsonl").read_text()
        (run / "starts.jsonl").write_text(starts.replace('"fresh_optimizer": false', '"fresh_optimizer": true'))
    fit_here(config)
    assert f"branching from {copy} at step 8" in " ".join(capfd.readouterr().err.split())
    state = json.loads((run / "checkpoints/step-00000010/state.json").read_text())
    assert state["origin"] == {"run": str(copy), "step": 8, "fresh_optimizer": fresh}
    assert any(name.startswith("optimizer.") for name in checkpoint_tensors(run, 8)) != fresh
    if not fresh:
        assert_same(run, fit_here(write(tmp_path / "planned", 10)))
    shutil.rmtree(copy)
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(InputError, match=r"last start was a branch from .*trunk; bring that run back, or choose an"):
        fit_here(config)


@pytest.mark.slow
def test_two_processes_branch(trunk: Path, tmp_path: Path) -> None:
    config = write(tmp_path, 8)
    torchrun(2, "-m", "trainer", "fit", "--config", str(config), "--from", f"{trunk}@8")
    planned = fit_here(write(tmp_path / "planned", 8))
    assert metrics_fields(tmp_path / "run", "step", "batch") == metrics_fields(planned, "step", "batch")
    for (loss,), (expected,) in zip(*(metrics_fields(run, "loss") for run in (tmp_path / "run", planned)), strict=True):
        assert loss == pytest.approx(expected, abs=1e-5)


def test_a_fresh_optimizer_takes_weights_and_no_moments(trunk: Path, tmp_path: Path) -> None:
    config = write(tmp_path, 9)
    fit(config, "1", branch_from=f"{trunk}@8", fresh_optimizer=True)
    begin, first = (checkpoint_tensors(tmp_path / "run", step) for step in (8, 9))
    saved = checkpoint_tensors(trunk, 8)
    assert begin == {name: value for name, value in saved.items() if name.startswith("model.")}
    steps = {value for name, value in first.items() if name.endswith(".step")}
    assert steps == {checkpoint_tensors(fit_here(write(tmp_path / "one", 1), "1"))["optimizer.embedding.weight.step"]}


def test_a_branch_says_what_is_left_of_its_phase(
    trunk: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    fit(write(tmp_path, 10), None, branch_from=str(trunk))
    shown = " ".join(capfd.readouterr().err.split())
    assert f"branching from {trunk} at step 8" in shown
    remedy = "--set curriculum.trunk.tokens=2048"
    assert f"phase `trunk` has 2 steps left; to begin `anneal` at once, add {remedy}" in shown
    with pytest.raises(InputError, match=f"phase 2, `anneal`, needs .*, or end that phase here with {remedy}"):
        fit(write(tmp_path / "other", 10), "anneal", branch_from=str(trunk))


def test_a_branch_that_cannot_begin_says_why(trunk: Path, tmp_path: Path) -> None:
    config = write(tmp_path, 8)
    with pytest.raises(InputError, match=r"--from nowhere@8: nowhere is not a run folder with checkpoints; expected"):
        fit(config, None, branch_from="nowhere@8")
    with pytest.raises(InputError, match=r"no checkpoint of step 5 in .*; found: step-00000004, step-00000008"):
        fit(config, None, branch_from=f"{trunk}@5")
    with pytest.raises(InputError, match="--fresh-optimizer needs --from"):
        fit(config, None, fresh_optimizer=True)
    with pytest.raises(InputError, match="this is the folder of the new run too; choose another `out`"):
        fit(write(tmp_path, 8, out=str(trunk)), None, branch_from=str(trunk))
    with pytest.raises(InputError, match=r"a branch keeps model, seed and all that was trained\n  seed is 2, in the c"):
        fit(write(tmp_path, 8, seed=2), None, branch_from=str(trunk))
    assert not list(tmp_path.glob("run/checkpoints/*"))


def test_a_run_of_its_own_is_not_taken_for_a_branch(trunk: Path, tmp_path: Path) -> None:
    config = write(tmp_path, 4)
    fit(config, "1", branch_from=f"{trunk}@4")
    with pytest.raises(InputError, match=r"holds a run that branched from .*@4; to resume it, omit --from; to branch"):
        fit(config, None, branch_from=f"{trunk}@8")
    config = write(tmp_path / "own", 4)
    fit_here(config, "1")
    with pytest.raises(InputError, match="holds a run that did not branch from another run; to resume it, omit --from"):
        fit(config, None, branch_from=str(trunk))
