"""Run a test's program under torchrun, with gloo, on this machine."""

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
TIMEOUT_S = 240


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port


def torchrun(
    processes: int, *arguments: str, env: Mapping[str, str] | None = None, check: bool = True, restarts: int = 0
) -> subprocess.CompletedProcess[str]:
    """Runs `arguments` in so many processes: a file, `-m module`, or `-c code`, each with its own arguments.

    They see no GPU, and one thread each; `env` is added. On a failure the output is part of the error, if `check`.
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command += ["--max-restarts", str(restarts)]
    program = ["--no-python", sys.executable] if arguments[0] == "-c" else []  # torchrun itself knows no -c
    path = os.pathsep.join(filter(None, (str(REPOSITORY), os.environ.get("PYTHONPATH"))))
    settings = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": path}
    with subprocess.Popen(
        [*command, *program, *arguments],
        env={**os.environ, **settings, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            stdout, stderr = process.communicate(timeout=TIMEOUT_S)
        except BaseException:
            _end(process)
            raise
    if check and process.returncode:
        raise AssertionError(f"exit {process.returncode}\n{stdout}\n{stderr}")
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def _end(process: subprocess.Popen[str]) -> None:
    """Terminate first, so that torchrun ends its workers, which are in sessions of their own."""
    process.terminate()
    try:
        process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
