"""A run read from its folder alone: its page, its status, and a comparison of several."""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from corpus.errors import InputError
from tests.trainer.inspect.test_run_page import HOSTILE, STEP_TOKENS, charts, evaluation, steps
from trainer.config import Training
from trainer.engine.run_setup import append_line
from trainer.inspect.comparison import show_report
from trainer.inspect.metrics import evaluations_file, metrics_file
from trainer.inspect.recorded_run import read_record, record_end
from trainer.inspect.run_page import write_run_page
from trainer.inspect.run_status import status_of


def made_run(folder: Path, seed: int = 1, steps_done: int = 5) -> Path:
    """A run folder as `trainer fit` leaves it, of a run that was killed once and then finished."""
    document = {
        "format_version": 1,
        "name": "made",
        "seed": seed,
        "corpora": {"main": "gone"},
        "model": {"num_hidden_layers": 1, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 16},
        "curriculum": [
            {
                "name": name,
                "tokens": steps * STEP_TOKENS,
                "sequence_tokens": STEP_TOKENS,
                "batch_tokens": STEP_TOKENS,
                "learning_rate": {"peak": 0.1, "jump": index > 0},
            }
            for index, (name, steps) in enumerate((("broad", 30), ("curated", 10)))
        ],
    }
    folder.mkdir(parents=True)
    (folder / "train.json").write_text(Training.model_validate_json(json.dumps(document)).model_dump_json())
    for step in (0, 3):
        with (folder / "starts.jsonl").open("a") as file:
            line = {"time": "T", "step": step, "previous_end": 4 if step else None, "host": HOSTILE}
            file.write(json.dumps(line | {"processes": 2, "precision": "fp32"}) + "\n")
    record_end(folder, "stopped")
    for row in steps(steps_done):
        metrics_file(folder).write(row)
    evaluations_file(folder).write(evaluation(0, "before", {"books": 3.0}))
    evaluations_file(folder).write(evaluation(20, "after broad", {"books": 2.75}))  # of a phase that became longer
    evaluations_file(folder).write(evaluation(5, "step 5", {"books": 2.5 + seed / 100}))
    return folder


def test_a_page_is_written_without_the_corpus(tmp_path: Path) -> None:
    """Fails if a start without an end is not a kill, or if an end that a phase no longer has is shown."""
    assert [(start.end, start.step, start.last_step) for start in read_record(made_run(tmp_path / "kept")).starts] == [
        ("killed", 0, 4), ("stopped", 3, 5),
    ]  # fmt: skip
    markup = write_run_page(made_run(tmp_path / "run")).read_text()
    for text in ("gradient norm before clipping", "curriculum.curated.batch_tokens", "killed", "stopped"):
        assert text in markup
    assert "after broad" not in markup and "step 5" in markup and "<script" not in markup


def test_torn_and_odd_lines_of_starts_are_survived(tmp_path: Path) -> None:
    """Fails if a line that a kill left incomplete takes the next start with it, or shifts the ends."""
    folder = made_run(tmp_path / "run")
    with (folder / "starts.jsonl").open("ab") as file:
        file.write(b'\xff\xfe\n{"step": null, "processes": "two"}\n{"time": "T", "st')
    append_line(folder / "starts.jsonl", {"time": "T", "step": 5, "previous_end": 7})
    record_end(folder, "done")
    starts = read_record(folder).starts
    assert [(start.end, start.step, start.processes) for start in starts] == [
        ("killed", 0, 2), ("stopped", 3, 2), ("killed", 0, 1), ("done", 5, 1),
    ]  # fmt: skip
    assert status_of(folder).state == "done"
    (folder / "starts.jsonl").write_text("")
    with pytest.raises(InputError, match="no start is recorded"):
        status_of(folder)


def test_the_status_of_a_run(tmp_path: Path) -> None:
    """Fails if a held lock is not a run at work, or if a start after it counts as killed."""
    folder = made_run(tmp_path / "run")
    found = status_of(folder)
    assert (found.state, found.step, found.steps, found.phase, found.starts, found.kills) == (
        "stopped", 5, 40, "broad", 2, 1,
    )  # fmt: skip
    assert (found.tokens_per_s, found.left_s, found.bits_per_byte) == (2000, 17.5, pytest.approx(2.51))
    assert "to continue: the command that started it" in found.lines
    assert "to continue: trainer fit, without --phase" in replace(found, state="done").lines
    with (folder / "starts.jsonl").open("a") as file:
        file.write(json.dumps({"time": "T", "step": 5}) + "\n")
    assert status_of(folder).state == "killed" and status_of(folder).kills == 2
    holder = (
        "import sys\nfrom pathlib import Path\nfrom corpus.store.lock import locked\n"
        "with locked(Path(sys.argv[1]), '', ''):\n    print('held', flush=True)\n    sys.stdin.read()"
    )
    with Popen([sys.executable, "-c", holder, str(folder)], stdin=PIPE, stdout=PIPE) as process:
        assert process.stdout and process.stdout.readline() == b"held\n"
        assert status_of(folder).state == "running" and status_of(folder).kills == 1
        process.communicate()


def test_several_runs_on_one_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Fails if equal settings are listed, or names of folders are not escaped."""
    one, other = made_run(tmp_path / "one"), made_run(tmp_path / "<b>other", seed=2, steps_done=9)
    show_report([one, other], tmp_path / "page.html")
    assert capsys.readouterr().out == f"Report: {tmp_path / 'page.html'}\n"
    markup = (tmp_path / "page.html").read_text()
    assert "<b>other" not in markup and "2.510" in markup and "2.520" in markup
    assert re.findall(r"<td[^>]*>(seed|curriculum[^<]*)<", markup) == ["seed"]
    lines = charts(markup)["loss"].iter("polyline")
    assert len({line.attrib["stroke"] for line in lines}) == 2
    for runs in ([one, one], [tmp_path], [one] * 9):
        with pytest.raises(InputError):
            show_report(runs, tmp_path / "page.html")
