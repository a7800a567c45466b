"""The queues that shards are put into, Slurm's and submitit's on this machine, and what one job of them runs.

Whether a job lives is what `squeue` says: Slurm need not keep accounts. What jobs return is never unpickled.
"""

import re
import signal
import subprocess
import time
from contextlib import redirect_stderr, suppress
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from numerics.errors import InputError
from numerics.files import write_bytes
from numerics.hashes import sha256_of_bytes
from numerics.sweep.shards import compute

#: seconds between two questions to `squeue`, which answers for all jobs at once
_LOOK = 5.0
#: how sbatch says that the controller does not answer
_AWAY = re.compile("Unable to contact slurm controller|Socket timed out|Connection refused|Zero Bytes")


@dataclass(frozen=True)
class Asked:
    """What Slurm is asked for. ``cluster`` "slurm", or submitit's "local" for processes of this machine."""

    cluster: str
    folder: Path
    minutes: int
    partition: str | None = None
    gigabytes: float | None = None
    per_job: int = 8
    at_once: int = 256


def compute_all(tasks: list[str], folder: str) -> None:
    """What one job of an array runs: every task whose result is not there."""
    signal.signal(
        signal.SIGTERM, signal.SIG_DFL
    )  # submitit has jobs ignore it, and has the warning before a time limit
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # raise an exception, which would be taken for the shard's
    for task in tasks:
        if not file_of(Path(folder), task).exists():
            text = compute(task).encode()
            write_bytes(file_of(Path(folder), task), sha256_of_bytes(text).encode() + b"\n" + text)


def file_of(folder: Path, task: str) -> Path:
    """Where a task's result lies."""
    return folder / f"{sha256_of_bytes(task.encode())[:32]}.txt"


def text_of(path: Path) -> str | None:
    """The result in a file; None where its hash does not vouch for it."""
    digest, _, text = path.read_bytes().partition(b"\n")
    return text.decode() if sha256_of_bytes(text).encode() == digest else None


class Queue:
    """Slurm's queue: one name for all jobs of a folder, by which they are asked for and cancelled."""

    def __init__(self, asked: Asked) -> None:
        self.asked, self.looked, self.reached = asked, 0.0, False
        self.name = f"latedecay-{sha256_of_bytes(str(asked.folder.resolve()).encode())[:12]}"
        self.executor = self._executor()

    def _executor(self) -> Any:
        from submitit import AutoExecutor

        try:
            executor = AutoExecutor(folder=self.asked.folder, cluster=self.asked.cluster)
        except RuntimeError as error:
            rule = f"is not to be had ({error})"
            raise InputError("cluster", self.asked.cluster, rule, "submit from a login node") from None
        executor.update_parameters(**{name: value for name, value in self._parameters().items() if value is not None})
        return executor

    def _parameters(self) -> dict[str, Any]:
        asked = self.asked
        return {"name": self.name, "timeout_min": asked.minutes, "mem_gb": asked.gigabytes, "cpus_per_task": 1,
                "slurm_partition": asked.partition, "slurm_signal_delay_s": 1}  # fmt: skip

    def submitted(self, groups: list[list[str]], folder: str) -> list[Any]:
        """The jobs of an array; none where Slurm went away after the first. Raises InputError with what sbatch says."""
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        self.looked = time.monotonic()  # a look from before knows nothing of them
        try:
            with redirect_stderr(StringIO()):
                jobs = list(self.executor.map_array(compute_all, groups, [folder] * len(groups)))
            self.reached = True
            return jobs
        except (FailedJobError, FailedSubmissionError) as error:
            said = str(error).strip().rpartition("sbatch: error: ")[2].removeprefix("Batch job submission failed: ")
            if self.reached and _AWAY.search(said):
                return []
            rule = f"refused {len(groups)} jobs ({said})"
            raise InputError("cluster", "slurm", rule, "see --partition, --time, --memory, --jobs-at-once") from None

    def states(self) -> dict[str, str] | None:
        """State by number of the job; None between two looks, and where Slurm does not answer."""
        if time.monotonic() - self.looked < _LOOK:
            return None
        answer = _said("squeue", "--noheader", "--array", "--states=all", f"--name={self.name}", "--format=%i %T")
        self.looked = time.monotonic()
        return None if answer is None else dict(line.split()[:2] for line in answer.splitlines())

    def cancel(self) -> None:
        """End all jobs of the folder."""
        _said("scancel", "--quiet", f"--name={self.name}", seconds=3)


class Local(Queue):
    """submitit's processes of this machine."""

    def __init__(self, asked: Asked) -> None:
        super().__init__(asked)
        self.jobs: list[Any] = []

    def _parameters(self) -> dict[str, Any]:
        return {"timeout_min": self.asked.minutes}

    def submitted(self, groups: list[list[str]], folder: str) -> list[Any]:
        """A process each."""
        jobs = super().submitted(groups, folder)
        self.jobs += jobs
        return jobs

    def states(self) -> dict[str, str] | None:
        """What the processes are."""
        return {job.job_id: "COMPLETED" if job.done() else "RUNNING" for job in self.jobs}

    def cancel(self) -> None:
        """Interrupt those that run, unless they end by themselves in a moment, and wait for them."""
        if not self._ended(1.5):
            for job in self.jobs:
                with suppress(OSError):
                    job.cancel()
            self._ended(2.0)

    def _ended(self, seconds: float) -> bool:
        """Whether all have ended within that time."""
        until = time.monotonic() + seconds
        while not all([job.done() for job in self.jobs]):  # every one is asked: that is what reaps it
            if time.monotonic() > until:
                return False
            time.sleep(0.05)
        return True


def _said(*command: str, seconds: int = 30) -> str | None:
    """What a command of Slurm's prints; None where it fails or is silent for long."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds).stdout
    except (OSError, subprocess.SubprocessError):
        return None
