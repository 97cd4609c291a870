"""Row files: strict rows, appending, and resuming after a kill at any byte."""

import builtins
import errno
import os
from io import FileIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from corpus.errors import InputError
from tests.trainer.inspect.scored import evaluation_row, score
from trainer.errors import TrainerError
from trainer.inspect.metrics import RowFile, StepRow, TensorBoard, evaluations_file, metrics_file

BOOKS = score(400, 2.5)
CODE = score(100, 5.0, thin=True)


def step_row(step: int, /, **changes: object) -> StepRow:
    fields: dict[str, object] = {
        "step": step,
        "phase": "broad",
        "step_in_phase": step,
        "tokens": step * 1024,
        "targets": 1000,
        "loss": 5.0 + 1 / step,
        "grad_norm": 1.25,
        "learning_rate": 3e-3,
        "step_s": 0.5,
        "tokens_per_s": 2048.0,
        "losses": {"books": 5.0, "müller/\u2028": 6.0},
        "epochs": {"books": 0.1, "müller/\u2028": 0.2},
        "batch": "0123456789abcdef",
    }
    return StepRow.model_validate(fields | changes)


def written(folder: Path, steps: int) -> RowFile[StepRow]:
    file = metrics_file(folder)
    file.resume(0)
    for step in range(1, steps + 1):
        file.write(step_row(step))
    return file


def test_rows_read_back_as_they_were_written_and_at_once(tmp_path: Path) -> None:
    written(tmp_path, 3)
    assert list(metrics_file(tmp_path).rows()) == [step_row(step) for step in (1, 2, 3)]


def test_a_missing_file_has_no_rows(tmp_path: Path) -> None:
    assert list(metrics_file(tmp_path / "none").rows()) == []


def test_resuming_drops_the_rows_after_the_checkpoint(tmp_path: Path) -> None:
    written(tmp_path, 5)
    file = metrics_file(tmp_path)
    file.resume(3)
    assert [row.step for row in file.rows()] == [1, 2, 3]
    file.write(step_row(4, loss=1.0))
    assert [(row.step, row.loss) for row in file.rows()][-1] == (4, 1.0)
    assert [each.name for each in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_resuming_from_the_beginning_drops_everything(tmp_path: Path) -> None:
    written(tmp_path, 5).resume(0)
    assert (tmp_path / "metrics.jsonl").read_bytes() == b""


@given(st.integers(0, 12), st.integers(1, 14), st.integers(0, 30), st.integers(1, 3000))
def test_the_last_rows_are_those_at_the_end_of_all(
    tmp_path_factory: pytest.TempPathFactory, steps: int, count: int, cut: int, block: int
) -> None:
    """Fails if a line begins within what is read, or if one that is incomplete counts."""
    file = written(tmp_path_factory.mktemp("run"), steps)
    whole = file.path.read_bytes()
    file.path.write_bytes(whole[: max(0, len(whole) - cut)])
    expected = list(file.rows())[-count:]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("trainer.inspect.metrics.TAIL_BYTES", block)
        patched.setattr(RowFile, "rows", None)  # not read as a whole
        assert file.tail(count) == expected


def test_a_damaged_line_among_the_last_is_named_by_its_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.inspect.metrics.TAIL_BYTES", 500)
    path = written(tmp_path, 9).path
    lines = path.read_bytes().splitlines(True)
    path.write_bytes(b"".join([*lines[:8], b"{}\n", lines[8]]))
    with pytest.raises(InputError, match="line 9 is not a row of metrics"):
        metrics_file(tmp_path).tail(2)


@given(cut=st.integers(min_value=0), step=st.integers(0, 6))
def test_only_an_incomplete_last_line_is_dropped(tmp_path_factory: pytest.TempPathFactory, cut: int, step: int) -> None:
    folder = tmp_path_factory.mktemp("run")
    path = written(folder, 4).path
    whole = path.read_bytes()
    left = whole[: cut % (len(whole) + 1)]
    path.write_bytes(left)
    lines = whole.splitlines(True)
    complete = [number for number in range(1, 5) if sum(map(len, lines[:number])) - 1 <= len(left)]  # but for its end
    assert [row.step for row in metrics_file(folder).rows()] == complete
    file = metrics_file(folder)
    file.resume(step)
    file.write(step_row(9))
    kept = [number for number in complete if number <= step]
    assert path.read_bytes() == b"".join(lines[: len(kept)]) + step_row(9).model_dump_json().encode() + b"\n"


@pytest.mark.parametrize(("lost", "steps"), [(0, [1, 2, 3]), (1, [1, 2, 3]), (2, [1, 3]), (10, [1, 3])])
def test_writing_without_resuming_repairs_the_last_line_in_place(tmp_path: Path, lost: int, steps: list[int]) -> None:
    path = written(tmp_path, 2).path
    path.write_bytes(path.read_bytes()[: path.stat().st_size - lost])
    inode = path.stat().st_ino
    file = metrics_file(tmp_path)
    file.write(step_row(3))
    assert [row.step for row in file.rows()] == steps
    assert path.stat().st_ino == inode and path.read_bytes().endswith(b"}\n")


def test_an_incomplete_only_line_is_dropped(tmp_path: Path) -> None:
    path = written(tmp_path, 1).path
    path.write_bytes(path.read_bytes()[:20])
    metrics_file(tmp_path).write(step_row(2))
    assert [row.step for row in metrics_file(tmp_path).rows()] == [2]


def test_a_line_torn_by_a_full_disk_is_repaired_by_the_next_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Filling(FileIO):
        """Takes ten bytes, then none."""

        def write(self, line: bytes) -> int:  # type: ignore[override]
            if self.seek(0, os.SEEK_END) > size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(line[:10])

    file = written(tmp_path, 1)
    size = file.path.stat().st_size
    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", lambda path, mode, buffering: Filling(path, "ab+"))
        with pytest.raises(TrainerError, match="cannot be written: No space left"):
            file.write(step_row(2))
    assert file.path.stat().st_size == size + 10
    file.write(step_row(2))
    assert [row.step for row in file.rows()] == [1, 2]


@pytest.mark.parametrize("garbage", [b"\n", b"{}\n", b"\x00\xff\n", b'{"step": 1, "loss": NaN}\n', b"[1]\n"])
def test_an_invalid_line_before_the_last_is_an_error(tmp_path: Path, garbage: bytes) -> None:
    path = written(tmp_path, 2).path
    first, second = path.read_bytes().splitlines(True)
    path.write_bytes(first + garbage + second)
    for use in (lambda file: list(file.rows()), lambda file: file.resume(1)):
        with pytest.raises(InputError, match=r"metrics\.jsonl: line 2 is not a row of metrics: .*delete that line"):
            use(metrics_file(tmp_path))
    assert path.read_bytes() == first + garbage + second


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": float("nan")},
        {"grad_norm": float("inf")},
        {"losses": {"books": float("nan")}},
        {"epochs": {"books": -0.1}},
        {"step": -1},
        {"step": 1.0},
        {"step": "1"},
        {"batch": "0123"},
        {"batch": "0123456789ABCDEF"},
        {"lr": 1.0},
    ],
)
def test_rows_are_strict(changes: dict[str, object]) -> None:
    step_row(1)
    with pytest.raises(ValidationError):
        step_row(1, **changes)


def test_a_full_disk_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")

    class Full(FileIO):
        def write(self, line: bytes) -> int:  # type: ignore[override]
            with FileIO("/dev/full", "w") as full:
                return full.write(line)

    file = written(tmp_path, 1)
    monkeypatch.setattr(Path, "open", lambda path, mode, buffering: Full(path, "ab+"))
    with pytest.raises(TrainerError, match="cannot be written: No space left"):
        file.write(step_row(2))


def test_evaluations_resume_like_the_steps(tmp_path: Path) -> None:
    file = evaluations_file(tmp_path)
    for step, after in ((0, "before"), (4, "after broad"), (8, "after curated")):
        file.write(evaluation_row(step, after, {"books": BOOKS, "code": CODE}))
    file.resume(4)
    assert [row.after for row in file.rows()] == ["before", "after broad"]
    assert next(file.rows()) == evaluation_row(0, "before", {"books": BOOKS, "code": CODE})
    assert (tmp_path / "evaluations.jsonl").is_file()


def test_two_writers_of_evaluations_lose_no_row(tmp_path: Path) -> None:
    """Fails if `write` rewrites the file, or keeps it open."""
    fit, asked, again = (evaluations_file(tmp_path) for _ in range(3))
    fit.resume(0)
    for step, file in enumerate((fit, asked, fit, asked, fit)):
        file.write(evaluation_row(step, "x", {"books": BOOKS}))
    again.resume(9)  # puts a new file in its place
    for step, file in enumerate((fit, asked, again), 5):
        file.write(evaluation_row(step, "x", {"books": BOOKS}))
    assert [row.step for row in fit.rows()] == list(range(8))


def test_bits_per_byte_are_total_bits_over_total_bytes() -> None:
    assert evaluation_row(1, "x", {"books": BOOKS, "code": CODE}).bits_per_byte == 1500 / 500
    assert evaluation_row(1, "x", {}).bits_per_byte is None


def test_tensorboard_shows_the_rows_and_hides_dropped_steps(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="needs tensorboard: pip install gristmill[tensorboard]")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = TensorBoard(tmp_path)
    board.evaluation(evaluation_row(0, "before", {"books": BOOKS, "code": CODE}))
    for step in (1, 2, 3):
        board.step(step_row(step, mfu=0.25))
    board.close()
    board = TensorBoard(tmp_path, step=2)
    board.step(step_row(3, loss=1.0))
    board.close()
    found = EventAccumulator(str(tmp_path / "tensorboard"))
    found.Reload()
    points = {name: [(each.step, each.value) for each in found.Scalars(name)] for name in found.Tags()["scalars"]}
    assert points["loss"] == [(1, 6.0), (2, 5.5), (3, 1.0)]
    assert points["mfu"] == [(1, 0.25), (2, 0.25)]
    assert points["loss by source/books"] == [(1, 5.0), (2, 5.0), (3, 5.0)]
    assert points["bits per byte"] == [(0, 3.0)] and points["bits per byte/code"] == [(0, 5.0)]
    assert "mfu with attention" not in points


def test_missing_tensorboard_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ordinary = builtins.__import__

    def without(name: str, *rest: object) -> object:
        if name.startswith("torch.utils.tensorboard"):
            raise ImportError(name)
        return ordinary(name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"pip install 'gristmill\[tensorboard\]'"):
        TensorBoard(tmp_path)
