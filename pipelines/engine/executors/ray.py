"""Runs tasks on a Ray cluster, or on one that is started on this machine for the build."""

import contextlib
import importlib.util
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal, cast

from pydantic import Field

from corpus.errors import CorpusError, InputError
from pipelines.engine.profile import ClusterProfile, batched
from pipelines.engine.wave import RunTasks, Wave

GB = 1024**3
OBJECT_STORE_BYTES = 100_000_000  # only the executor object passes through it
ACTORS_PER_WORKER = 4  # in a wave of many small tasks; each actor starts a process
RAY_LOGS = "/tmp/ray/session_latest/logs"
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


class Ray(ClusterProfile):
    """Actors that run several tasks each. Machines must share a disk and have the same Python environment."""

    executor: Literal["ray"] = "ray"
    address: str | None = None  # of a cluster; "auto": the one on this machine; None: start one for this build
    tasks_per_job: Annotated[int, Field(ge=1)] | None = None  # tasks of one actor, in sequence; None: by their number

    def check(self, out: Path) -> None:
        if importlib.util.find_spec("ray") is None:
            raise InputError("executor ray: Ray is not installed; run pip install 'gristmill[ray]'")

    @contextmanager
    def opened(self, out: Path) -> Iterator[None]:
        started_elsewhere = "ray" in sys.modules and sys.modules["ray"].is_initialized()  # by our caller
        try:
            yield
        finally:
            if not started_elsewhere and "ray" in sys.modules:
                sys.modules["ray"].shutdown()

    def run(self, wave: Wave) -> None:
        self._connect()
        import datatrove.executor.ray as datatrove_ray

        # each actor runs a batch of tasks that need the same resources
        batches: list[Sequence[int]] = []
        resources: list[Mapping[str, int]] = []
        workers = 0
        for group in self.groups(wave):
            profile = cast(Ray, group.profile)
            room = min(profile._room(wave), len(group.ranks))
            size = profile.tasks_per_job or -(-len(group.ranks) // (ACTORS_PER_WORKER * room))
            batches += batched(group.ranks, size)
            resources += [profile._resources()] * (len(batches) - len(resources))
            workers += room
        datatrove_ray.RankWorker, datatrove_ray.RayTaskManager = RankActor, _task_manager(resources)
        datatrove_ray.RayPipelineExecutor(
            pipeline=[RunTasks(wave, batches)],
            tasks=len(batches),
            workers=min(self.workers or workers, len(batches)),
            logging_dir=str(wave.logs),
            skip_completed=False,  # task manifests decide which tasks are done
        ).run()

    def diagnostics(self, wave: Wave, rank: int) -> list[str]:
        return [f"rank {rank} of {len(wave.work)}; Ray's logs are in {RAY_LOGS} on the machine where it ran"]

    def _connect(self) -> None:
        os.environ |= QUIET  # before the import; inherited by a cluster that we start
        import ray

        if ray.is_initialized():
            return
        on_stop = signal.getsignal(signal.SIGTERM)
        options: dict[str, object] = {"runtime_env": {"env_vars": QUIET}}
        if self.address is None:
            general = (self.workers or len(os.sched_getaffinity(0))) * self.cpus_per_task
            cpus = max(general, *(self.of_stage(stage).cpus_per_task for stage in self.stages), 1)
            options = {"num_cpus": cpus, "include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
        try:
            ray.init(self.address or "local", log_to_driver=False, logging_level="error", **options)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise CorpusError(f"Ray ({self.address or 'on this machine'}) is not reachable: {error}") from None
        finally:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, on_stop)  # Ray replaces it

    def _resources(self) -> Mapping[str, int]:
        """Return the resources of an actor, as Ray's options."""
        memory = self.cpus_per_task * self.memory_per_cpu * GB
        return {"num_cpus": self.cpus_per_task, "num_gpus": 0, "memory": memory}

    def _room(self, wave: Wave) -> int:
        """Return the number of actors that fit on the cluster at once, or `workers` if given."""
        import ray

        memory = self._resources()["memory"]
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        fits = [min(node.get("CPU", 0) // self.cpus_per_task, node.get("memory", 0) // memory) for node in nodes]
        if not sum(fits):
            problem = f"no Ray node has {self.cpus_per_task} CPUs and {memory // GB} GB of memory for a task"
            if self.address is None:
                raise CorpusError(f"{problem}; lower cpus_per_task or memory_per_cpu")
            wave.say(f"{problem}; waiting for one")
        return self.workers or max(1, int(sum(fits)))


class RankActor:
    """Replaces datatrove's actor, whose pool hangs when a worker is killed."""

    def run_for_rank(self, executor: object, ranks: Sequence[int]) -> object:
        """Run the tasks in sequence; a failed one does not stop the rest."""
        from datatrove.executor.base import PipelineExecutor
        from datatrove.utils.stats import PipelineStats

        failed: Exception | None = None
        for rank in ranks:
            try:
                PipelineExecutor._run_for_rank(executor, rank, local_rank=1)  # Ray's own keeps logs in a shared /tmp
            except Exception as error:
                failed = error
        if failed:
            raise failed
        return PipelineStats()


def _task_manager(resources: Sequence[Mapping[str, int]]) -> type:
    """Return a replacement of datatrove's manager, with resources by rank and without its own retries.

    Datatrove's waits for placement groups, whose tasks Ray can lose for ever if the workers that start are killed.
    """
    import ray

    class TaskManager:
        def __init__(self, *settings: object) -> None:
            self._actors: dict[object, object] = {}  # by task

        def submit_task(self, executor: object, ranks: Sequence[int], options: object) -> object:
            actor = ray.remote(RankActor).options(**resources[ranks[0]]).remote()
            task = actor.run_for_rank.remote(executor, ranks)
            self._actors[task] = actor
            return task

        def wait(self, tasks: list[object], num_returns: int, timeout: float) -> object:
            return ray.wait(tasks, num_returns=num_returns, timeout=timeout)

        def task_done(self, task: object) -> tuple[bool, None]:
            try:
                ray.get(task)
                return True, None
            except Exception:  # the tasks' notes and manifests say what happened
                return False, None
            finally:
                self._kill(self._actors.pop(task))

        def clean_up(self) -> None:
            for actor in self._actors.values():
                self._kill(actor)

        def _kill(self, actor: object) -> None:
            with contextlib.suppress(Exception):  # it has ended
                ray.kill(actor)

    return TaskManager


PROFILE = Ray
