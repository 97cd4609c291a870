"""Runs each wave as Slurm job arrays, and watches the queue until no element is left."""

import getpass
import hashlib
import re
import shlex
import shutil
import subprocess
import sysconfig
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self, cast

from pydantic import AfterValidator, Field

from corpus.errors import CorpusError, InputError
from corpus.fetch.output import open_output
from pipelines.engine.profile import ClusterProfile, Resources, batched
from pipelines.engine.wave import RunTasks, Wave, last_line

COMMANDS = ("sbatch", "squeue", "scancel")
RESERVED = {"array", "chdir", "dependency", "error", "export", "job-name", "output", "requeue", "wait", "wrap"}
MANIFESTS_S = 0.5  # between checks for task manifests
QUEUE_S = (1.0, 20.0)  # between calls of squeue: at first, and at most
DISK_LAG_S = 5.0  # until a shared disk shows the files that a node wrote
CANCEL_S = 60.0  # until cancelled elements have ended; Slurm's KillWait is 30
PENDING_S = 60.0  # in the queue, before the user is told the reason
_OPTION = re.compile(r"[a-z][a-z-]*")
_PLAIN = re.compile(r"[\w./@:+=-]+")  # datatrove's script quotes no path, and Slurm expands % in log names


def _allowed(options: dict[str, str | int]) -> dict[str, str | int]:
    for name, value in options.items():
        if not _OPTION.fullmatch(name) or name in RESERVED:
            raise ValueError(f"`{name}` is not an sbatch option that may be set here; write long names without dashes")
        if not str(value).isprintable():
            raise ValueError(f"the value of `{name}` must be one line of text")
    return options


Partition = Annotated[str, Field(pattern=r"^[\w.,-]+$")]
TimeLimit = Annotated[str, Field(pattern=r"^(\d+-)?\d+:\d\d:\d\d$")]
Qos = Annotated[str, Field(pattern=r"^[\w.-]+$")]
SbatchOptions = Annotated[dict[str, str | int], AfterValidator(_allowed)]


class SlurmResources(Resources):
    """Settings of one stage's tasks; None: as for all stages."""

    partition: Partition | None = None
    time: TimeLimit | None = None
    qos: Qos | None = None
    sbatch: SbatchOptions | None = None  # in addition to those for all stages


class Slurm(ClusterProfile):
    """Job arrays, at least one per wave. The output folder and the cache must be on a disk that all nodes share."""

    executor: Literal["slurm"] = "slurm"
    partition: Partition
    time: TimeLimit = "12:00:00"  # of one element
    qos: Qos | None = None
    max_array_size: Annotated[int, Field(ge=1)] = 1001  # MaxArraySize of the cluster (scontrol show config)
    tasks_per_job: Annotated[int, Field(ge=1)] = 1  # tasks of one element, in sequence
    environment: str | None = None  # shell command that activates Python; None: the current environment
    sbatch: SbatchOptions = Field(default_factory=dict)
    stages: Mapping[str, SlurmResources] = Field(default_factory=dict)

    def of_stage(self, stage: str) -> Self:
        own, profile = self.stages.get(stage), super().of_stage(stage)
        return profile.model_copy(update={"sbatch": {**self.sbatch, **own.sbatch}}) if own and own.sbatch else profile

    def check(self, out: Path) -> None:
        if missing := [name for name in COMMANDS if shutil.which(name) is None]:
            raise InputError(f"executor slurm: {', '.join(missing)} not found; build on a machine with Slurm")
        if not _PLAIN.fullmatch(str(out)):
            raise InputError(f"{out}: a path for Slurm may hold letters, digits and ./@:+=- only; choose another --out")
        for stage in ("", *self.stages):
            test = _slurm("sbatch", "--test-only", *self.of_stage(stage)._options(), "--wrap=true")
            if test.returncode:
                what = f"the resources of the stage {stage}" if stage else "this profile"
                raise InputError(f"Slurm rejects {what}: {_error_text(test)}")

    def _options(self) -> list[str]:
        """Return the options of sbatch that decide where a task may run."""
        options = {
            "partition": self.partition,
            "time": self.time,
            "cpus-per-task": self.cpus_per_task,
            "mem-per-cpu": f"{self.memory_per_cpu}G",
            **({"qos": self.qos} if self.qos else {}),
            **self.sbatch,
        }
        return [f"--{name}={value}" if value != "" else f"--{name}" for name, value in options.items()]

    @contextmanager
    def opened(self, out: Path) -> Iterator[None]:
        name, deadline = arrays_name(out), time.monotonic() + CANCEL_S
        _cancel(name)  # arrays of a build that was killed
        while _queue(name) and time.monotonic() < deadline:
            time.sleep(MANIFESTS_S)
        yield

    def run(self, wave: Wave) -> None:
        name, ids = arrays_name(wave.out), _ArrayIds()
        shutil.rmtree(_log_folder(wave), ignore_errors=True)
        # submit all arrays and wait; cancel them if anything stops us
        try:
            for number, array in enumerate(self._arrays(wave)):
                array.profile._submit(wave, number, array, ids)
                _ids_file(wave).write_text(" ".join(ids))
            _wait(wave, name)
        except BaseException as stopped:
            _cancel(name)
            if isinstance(stopped, KeyboardInterrupt):
                raise KeyboardInterrupt(f"Slurm's array {', '.join(ids)} was cancelled") from None
            if isinstance(stopped, subprocess.CalledProcessError):
                raise CorpusError("sbatch rejected the array; its message is above") from None
            raise

    def _arrays(self, wave: Wave) -> "list[_Array]":
        """Divide the wave into arrays: by resources, and so that none exceeds the cluster's limit."""
        arrays = []
        for group in self.groups(wave):
            profile = cast(Slurm, group.profile)
            batches = batched(group.ranks, profile.tasks_per_job)
            count = -(-len(batches) // self.max_array_size)
            for part in batched(batches, -(-len(batches) // count)):
                arrays.append(_Array(profile, part))
        return _limited(arrays, self.workers)

    def _submit(self, wave: Wave, number: int, array: "_Array", ids: "_ArrayIds") -> None:
        """Submit one array through datatrove, in a folder of its own; its id is added to `ids`."""
        from datatrove.executor.slurm import SlurmPipelineExecutor

        executor = SlurmPipelineExecutor(
            pipeline=[RunTasks(wave, array.batches)],
            tasks=len(array.batches),
            time=self.time,
            partition=self.partition,
            cpus_per_task=self.cpus_per_task,
            mem_per_cpu_gb=self.memory_per_cpu,
            workers=array.limit or -1,
            depends_job_id=None if array.after is None else ids[array.after],
            run_on_dependency_fail=True,
            job_name=arrays_name(wave.out),
            qos=self.qos,
            env_command=self.environment or f"export PATH={shlex.quote(sysconfig.get_path('scripts'))}:$PATH",
            sbatch_args=self.sbatch,
            max_array_size=-1,
            job_id_retriever=ids,
            logging_dir=str(_array_folder(wave, number)),
            skip_completed=False,  # task manifests decide which tasks are done
            slurm_logs_folder=str(_log_folder(wave)),
            requeue_signals=None,
            requeue=False,  # run_wave tells killed tasks from failed ones and runs them again
            with_srun=False,
        )
        executor.launch_merge_stats = _nothing  # its job would wait forever for a failed array
        executor.launch_job()

    def diagnostics(self, wave: Wave, rank: int) -> list[str]:
        ids, arrays = _ids_file(wave).read_text().split(), self._arrays(wave)
        places = ((number, element) for number, array in enumerate(arrays) for element in array.elements_of(rank))
        number, element = next(places)
        log = _log_folder(wave) / f"{ids[number]}_{element}.out"
        script = shlex.quote(str(_array_folder(wave, number) / "launch_script.slurm"))
        log_note = f"its log is {log}" if log.exists() else f"it wrote no log {log}: do all nodes share that disk?"
        line, failure = last_line(log), wave.failure(rank)
        return [
            f"rank {rank} of {len(wave.work)}, element {element} of Slurm's array {ids[number]}; {log_note}",
            *([f"the log ends with: {line}"] if line and not (failure and failure.error[:100] in line) else []),
            f"to run this element alone: sbatch --array={element} {script}",
        ]


class _Array(NamedTuple):
    """A job array; each of its elements runs a batch of the wave's ranks in sequence."""

    profile: Slurm  # with the resources of these tasks
    batches: Sequence[Sequence[int]]
    limit: int | None = None  # elements that run at once
    after: int | None = None  # number of the array that must have ended before

    def elements_of(self, rank: int) -> list[int]:
        """Return the elements that run a rank: one or none."""
        return [element for element, batch in enumerate(self.batches) if rank in batch]


def _limited(arrays: Sequence[_Array], workers: int | None) -> list[_Array]:
    """Share `workers` out among the arrays by their sizes, at least 1 each, because Slurm limits each array alone.

    Of more arrays than workers, each waits for an earlier one to end.
    """
    if workers is None:
        return list(arrays)
    if workers < len(arrays):
        waits_for = [number - workers if number >= workers else None for number in range(len(arrays))]
        return [array._replace(limit=1, after=after) for array, after in zip(arrays, waits_for, strict=True)]
    sizes = [len(array.batches) for array in arrays]
    spare, ends = workers - len(arrays), list(accumulate(sizes))
    shares = [spare * end // ends[-1] - spare * (end - size) // ends[-1] for end, size in zip(ends, sizes, strict=True)]
    return [array._replace(limit=1 + share) for array, share in zip(arrays, shares, strict=True)]


class _ArrayIds(list[str]):
    """Collects the array ids from the output of sbatch."""

    def __call__(self, printed: str) -> str:
        self.append(printed.split()[-1])
        return self[-1]


def _nothing() -> None:
    pass


def arrays_name(out: Path) -> str:
    """Return the job name of all arrays of this output folder, and of no others."""
    return f"gristmill-{hashlib.sha256(str(out).encode()).hexdigest()[:12]}"


def _log_folder(wave: Wave) -> Path:
    return wave.logs / "slurm"


def _array_folder(wave: Wave, number: int) -> Path:
    return wave.logs / f"array-{number}"


def _ids_file(wave: Wave) -> Path:
    return wave.logs / "arrays"


def _slurm(*command: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"{command[0]} did not answer for 120 s")


def _error_text(answer: subprocess.CompletedProcess[str]) -> str:
    return " ".join(answer.stderr.split()) or f"{answer.args[0]} exited with {answer.returncode}"


def _cancel(name: str) -> None:
    _slurm("scancel", f"--name={name}", f"--user={getpass.getuser()}")


def _queue(name: str) -> Sequence[tuple[str, str]] | str:
    """Return state and reason of each element in the queue, or the error text of squeue."""
    answer = _slurm("squeue", "-h", "-r", f"--name={name}", f"--user={getpass.getuser()}", "-o", "%T|%r")
    if answer.returncode:
        return _error_text(answer)
    return [(state, reason) for state, _, reason in (line.partition("|") for line in answer.stdout.splitlines())]


def _wait(wave: Wave, name: str) -> None:
    """Return when all tasks are done, or the queue is empty."""
    began = checked_at = time.monotonic()
    pause, warned = QUEUE_S[0], False
    poll_s = open_output(wave.out).poll_s
    while _unfinished(wave):
        time.sleep(poll_s)
        if time.monotonic() - checked_at < pause:
            continue
        checked_at, pause, queue = time.monotonic(), min(pause * 1.5, QUEUE_S[1]), _queue(name)
        if queue == []:
            break
        stuck = isinstance(queue, str) or all(state == "PENDING" for state, _ in queue)
        if stuck and not warned and checked_at - began > PENDING_S:  # the controller restarts, or the cluster is full
            wave.say(f"Slurm: {queue}" if isinstance(queue, str) else f"Slurm: {len(queue)} wait: {queue[0][1]}")
            warned = True
    deadline = time.monotonic() + DISK_LAG_S
    while time.monotonic() < deadline and any(wave.failure(rank) is None for rank in _unfinished(wave)):
        time.sleep(0.5)


def _unfinished(wave: Wave) -> Sequence[int]:
    """Return the ranks of unfinished tasks; all of them if storage does not answer this time."""
    try:
        return wave.unfinished()
    except CorpusError:
        return range(len(wave.work))


PROFILE = Slurm
