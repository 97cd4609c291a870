"""The command line: messages about invalid training files, and the output of the other commands."""

import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.end_to_end.training import GOLDEN, fit_here, write_config
from tests.small_build import copy_build
from trainer import cli


def trainer(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str
) -> tuple[int, str, str]:
    """Run a command; return its exit code, output and errors."""
    monkeypatch.setattr(sys, "argv", ["trainer", *arguments])
    monkeypatch.setenv("COLUMNS", "160")
    code: object = 0
    try:
        cli.main()
    except SystemExit as exit:
        code = exit.code
    out, err = capfd.readouterr()
    assert isinstance(code, int | None)
    return code or 0, out, err


def phases(first: dict[str, object] | None = None, second: dict[str, object] | None = None) -> list[dict[str, object]]:
    """The curriculum of the small run, with changes to each phase."""
    rate = {"peak": 1e-2}
    broad = {"name": "broad", "tokens": 2560, "sequence_tokens": 32, "batch_tokens": 256, "learning_rate": rate}
    curated = {**broad, "name": "curated", "shares": {"books": 1.0}, "learning_rate": {"decay": 0.5, "end": 0}}
    return [broad | (first or {}), curated | (second or {})]


MODEL = {"num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 48}
BAD = {
    "shares": ({"curriculum": phases(second={"shares": {"books": 0.5, "code": 0.4}})}, "shares sum to 0.9"),
    "source": ({"curriculum": phases(second={"shares": {"bokos": 1}})}, "no source `bokos`; did you mean `books`?"),
    "heads": (
        {"model": MODEL | {"num_attention_heads": 5}},
        "hidden_size 32 is not divisible by num_attention_heads 5",
    ),
    "num_key_value_heads": (
        {"model": MODEL | {"num_key_value_heads": 3}},
        "num_attention_heads 4 is not divisible by num_key_value_heads 3",
    ),
    "corpus too small": (
        {"curriculum": phases(second={"tokens": "1M"})},
        "source `books` holds 2,163 training tokens; by the end of this phase 995 k would be read",
    ),
    "missing manifest": ({"corpora": {"golden": "nowhere"}}, "corpus `golden`: nowhere: cannot read a manifest"),
    "rates that do not join": ({"curriculum": phases(second={"learning_rate": {"peak": 1e-3}})}, "set `jump: true`"),
    "unknown setting": ({"optimiser": {}}, "`optimiser` is not a setting; did you mean `optimizer`?"),
}


@pytest.mark.parametrize("command", ["fit", "plan"])
@pytest.mark.parametrize("name", BAD)
def test_an_invalid_training_file_gives_one_message_and_exit_2(
    name: str, command: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, message = BAD[name]
    config = write_config(tmp_path, **settings)  # type: ignore[arg-type]
    code, _, err = trainer(capfd, monkeypatch, command, "--config", str(config))
    assert code == 2 and message in err and "Traceback" not in err
    assert err.count("trainer: ") == 1 and not (tmp_path / "run").exists()


def test_phases_out_of_order_give_one_message_and_exit_2(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, err = trainer(capfd, monkeypatch, "fit", "--phase", "2", "--config", str(write_config(tmp_path)))
    assert code == 2 and "needs the last checkpoint of phase 1" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--from", "nowhere@5"],
            "--from nowhere@5: nowhere is not a run folder with checkpoints; expected RUN[@STEP]",
        ),
        (["--fresh-optimizer"], "--fresh-optimizer needs --from"),
    ],
)
def test_a_branch_from_nothing_gives_one_message_and_exit_2(
    options: list[str],
    message: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code, _, err = trainer(capfd, monkeypatch, "fit", *options, "--config", str(write_config(tmp_path)))
    assert code == 2 and message in err and not (tmp_path / "run").exists()


def test_another_tokenizer_gives_one_message_and_exit_2(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = copy_build(GOLDEN, tmp_path / "other")
    manifest = json.loads((other / "manifest.json").read_text())
    manifest["tokenizer"]["sha256"] = "0" * 64
    (other / "manifest.json").write_text(json.dumps(manifest))
    config = write_config(tmp_path, corpora={"golden": str(GOLDEN), "other": str(other)})
    code, _, err = trainer(capfd, monkeypatch, "fit", "--config", str(config))
    assert code == 2 and "corpora `golden` and `other` were made with different tokenizers" in err


def test_every_mistake_is_reported_at_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_config(
        tmp_path,
        model=MODEL | {"num_attention_heads": 5},
        curriculum=phases({"tokens": 10}, {"shares": {"books": 0.5}}),
    )
    code, _, err = trainer(capfd, monkeypatch, "fit", "--config", str(config))
    assert code == 2 and "3 mistakes" in err and err.count("  line ") == 3


def test_without_a_training_file_similar_files_are_listed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "train_large.yaml").touch()
    monkeypatch.chdir(tmp_path)
    code, _, err = trainer(capfd, monkeypatch, "fit")
    assert code == 2 and "name a training file with --config; found: recipes/train_large.yaml" in err


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The training file of a finished run."""
    config = write_config(tmp_path_factory.mktemp("cli"))
    fit_here(config)
    return config


def test_eval_shows_every_source_before_and_after_each_phase_beside_the_baselines(
    run: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, _ = trainer(capfd, monkeypatch, "eval", "--config", str(run))
    assert code == 0
    for word in ("books", "code", "web", "before", "after broad", "after curated", "unigram", "xz -9", "report.html"):
        assert word in out
    code, out, _ = trainer(capfd, monkeypatch, "eval", "--config", str(run), "--json")
    found = json.loads(out)
    assert [row["after"] for row in found["evaluations"]] == ["before", "after broad", "after curated"]
    assert set(found["baselines"]["sources"]) == {"books", "code", "web"}


def test_the_training_file_may_be_an_argument(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = str(write_config(tmp_path))
    planned = trainer(capfd, monkeypatch, "plan", "--config", config)
    assert planned[0] == 0 and trainer(capfd, monkeypatch, "plan", config) == planned
    for command in (["fit"], ["eval"], ["trace", "--step", "1"]):
        code, _, err = trainer(capfd, monkeypatch, *command, "none.yaml")
        assert code == 2 and "none.yaml: cannot read this training file" in err
    code, _, err = trainer(capfd, monkeypatch, "plan", config, "--config", "other.yaml")
    assert code == 2 and f"two training files: {config} and --config other.yaml; name one" in err


def test_generate_continues_a_prompt_and_repeats_with_the_same_seed(
    run: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    call = ("generate", "The miller", "--tokens", "12", "--config", str(run))
    first, again, other = (trainer(capfd, monkeypatch, *call, "--seed", seed) for seed in ("1", "1", "2"))
    assert first[0] == 0 and first[1].startswith("The miller")
    assert first == again and first != other


def test_generate_from_a_missing_checkpoint_lists_the_existing_ones(
    run: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, err = trainer(capfd, monkeypatch, "generate", "x", "--checkpoint", "5", "--config", str(run))
    assert code == 2 and "no checkpoint of step 5" in err and "step-00000012" in err and "trainer fit" not in err


def test_generate_without_a_checkpoint_says_what_to_do(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, err = trainer(capfd, monkeypatch, "generate", "x", "--config", str(write_config(tmp_path)))
    assert code == 2 and "run `trainer fit` first" in err


def test_trace_lists_the_documents_of_a_step(
    run: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, _ = trainer(capfd, monkeypatch, "trace", "--step", "13", "--config", str(run), "--json")
    spans = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and {span["row"] for span in spans} == {0, 1, 2, 3}
    assert sum(span["last"] - span["first"] for span in spans) == 4 * 65
    code, out, _ = trainer(capfd, monkeypatch, "trace", "--step", "13", "--config", str(run))
    assert code == 0 and spans[0]["id"] in out
    code, _, err = trainer(capfd, monkeypatch, "trace", "--step", "99", "--config", str(run))
    assert code == 2 and "the curriculum has steps 1 to 22" in err


def test_without_arguments_the_first_steps_are_shown(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = trainer(capfd, monkeypatch)
    assert (code, out, err) == (0, cli.FIRST_STEPS + "\n", "")
    for path in set(re.findall(r"recipes/\S+", out)):
        assert (Path(__file__).parents[2] / path).is_file()


def test_the_version_is_that_of_the_package(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert trainer(capfd, monkeypatch, "--version") == (0, f"gristmill {version('gristmill')}\n", "")


def test_help_imports_no_heavy_package() -> None:
    heavy = "{'torch', 'pyarrow', 'numpy', 'jinja2', 'tokenizers', 'numba', 'datatrove'}"
    code = f"""
import sys
sys.argv = ["trainer", "--help"]
from trainer.cli import main
try:
    main()
except SystemExit:
    pass
sys.exit(str({heavy} & set(sys.modules)) if {heavy} & set(sys.modules) else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "generate" in done.stdout
