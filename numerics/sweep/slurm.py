"""Shards as Slurm jobs, submitted through submitit; each shard is a text file as soon as it is computed.

A lost job has therefore lost only the shard it was at, and a coordinator that was killed finds what its jobs computed.
Whether a job lives is what `squeue` says: Slurm need not keep accounts. What jobs return is never unpickled.
"""

import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, suppress
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

from numerics.errors import InputError
from numerics.files import write_bytes
from numerics.hashes import sha256_of_bytes
from numerics.sweep.engines import Lost, Results, foreign
from numerics.sweep.shards import compute
from numerics.workers import LIVES

#: jobs of one array; Slurm's own limit is 1000 unless a cluster sets another
_ARRAY = 500
#: seconds between two questions to `squeue`, which answers for all jobs at once
_LOOK = 5.0
#: that many jobs lost before any shard was computed are not the shards' fault
_HOPELESS = 10
#: what `squeue` calls a job that has ended; one it does not know has, too
_ENDED = {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED",
          "REVOKED", "TIMEOUT"}  # fmt: skip
#: how sbatch says that the controller does not answer
_AWAY = re.compile("Unable to contact slurm controller|Socket timed out|Connection refused|Zero Bytes")
_EXCEPTION = re.compile(r"^(?:\w+\.)*(\w*(?:Error|Exception)): (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Slurm:
    """What Slurm is asked for. ``cluster`` "slurm", or submitit's "local" for processes of this machine."""

    cluster: str
    folder: Path
    minutes: int
    partition: str | None = None
    gigabytes: float | None = None
    per_job: int = 8
    at_once: int = 256

    def __call__(self, tasks: list[str]) -> Results:
        """Jobs of ``per_job`` tasks each, ``at_once`` of them in the queue. A task that loses three jobs is given up.

        Raises InputError where Slurm refuses the jobs, or where they cannot even begin.
        """
        queue = _Local(self) if self.cluster == "local" else _Queue(self)
        try:
            queue.cancel()  # what a coordinator that was killed left behind
            yield from _Run(self, queue, tasks).results()
            shutil.rmtree(self.folder, ignore_errors=True)  # what is left behind is of use where something went wrong
        finally:
            queue.cancel()


def compute_all(tasks: list[str], folder: str) -> None:
    """What one job of an array runs: every task whose result is not there."""
    signal.signal(
        signal.SIGTERM, signal.SIG_DFL
    )  # submitit has jobs ignore it, and has the warning before a time limit
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # raise an exception, which would be taken for the shard's
    for task in tasks:
        if not _file(Path(folder), task).exists():
            text = compute(task).encode()
            write_bytes(_file(Path(folder), task), sha256_of_bytes(text).encode() + b"\n" + text)


def _file(folder: Path, task: str) -> Path:
    """Where a task's result lies."""
    return folder / f"{sha256_of_bytes(task.encode())[:32]}.txt"


def _text(path: Path) -> str | None:
    """The result in a file; None where its hash does not vouch for it."""
    digest, _, text = path.read_bytes().partition(b"\n")
    return text.decode() if sha256_of_bytes(text).encode() == digest else None


@dataclass
class _Job:
    """A job and its tasks, in the order in which it computes them; ``ended``: so said the last look."""

    group: list[int]
    submitted: Any
    ended: bool = False

    @property
    def complaint(self) -> str:
        """The last line that it left on stderr."""
        lines = self.log.strip().splitlines()
        return lines[-1].strip() if lines else "without a word"

    @property
    def log(self) -> str:
        try:
            return str(self.submitted.paths.stderr.read_text(errors="replace"))
        except OSError:
            return ""


@dataclass
class _Run:
    """One sweep's tasks: ``lives`` of those that are not computed, groups of them that wait, jobs that run."""

    asked: Slurm
    queue: "_Queue"
    tasks: list[str]
    lives: dict[int, int] = field(default_factory=dict)
    waiting: list[list[int]] = field(default_factory=list)
    running: list[_Job] = field(default_factory=list)
    names: dict[str, int] = field(default_factory=dict)
    computed: int = 0
    lost: int = 0

    @property
    def folder(self) -> Path:
        """Where jobs put what they have computed."""
        return self.asked.folder.resolve() / "results"

    def results(self) -> Results:
        """Submit, collect, and submit again what was lost."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.lives = dict.fromkeys(range(len(self.tasks)), LIVES)
        self.names = {_file(self.folder, task).name: i for i, task in enumerate(self.tasks)}
        yield from self._collected()
        left = list(self.lives)
        self.waiting = [left[a : a + self.asked.per_job] for a in range(0, len(left), self.asked.per_job)]
        while self.lives:
            self._submit()
            states = self.queue.states()
            yield from self._collected()
            if states is not None:
                yield from self._buried(states)
            time.sleep(0.5 if self.lives else 0)

    def _submit(self) -> None:
        """Fill the queue up; in portions, since Slurm prefers few large arrays."""
        room = min(self.asked.at_once - len(self.running), _ARRAY)
        if self.waiting and room >= min(len(self.waiting), -(-self.asked.at_once // 4)):
            groups = self.waiting[:room]
            jobs = self.queue.submitted([[self.tasks[i] for i in group] for group in groups], str(self.folder))
            self.running += [_Job(group, job) for group, job in zip(groups, jobs, strict=False)]
            self.waiting = self.waiting[len(jobs) :]

    def _collected(self) -> Results:
        """What has been computed since the last look. A damaged file is as good as none."""
        for path in list(self.folder.iterdir()):
            i = self.names.get(path.name)
            if i in self.lives:
                text = _text(path)
                if text is not None:
                    del self.lives[i]
                    self.computed += 1
                    yield i, text
                path.unlink()
        self.running = [job for job in self.running if any(i in self.lives for i in job.group)]

    def _buried(self, states: dict[str, str]) -> Results:
        """Give up jobs that two looks in a row found ended: between them, a slow disk had time to show results."""
        for job in list(self.running):
            state = states.get(job.submitted.job_id, "forgotten")
            if (state in _ENDED or state == "forgotten") and job.ended:
                self.running.remove(job)
                yield from self._again(job, state)
            job.ended = state in _ENDED or state == "forgotten"

    def _again(self, job: _Job, state: str) -> Results:
        """The task that the job was at goes alone, so that a deadly one is found; the others go on without it."""
        first, *others = [i for i in job.group if i in self.lives]
        self.lost += 1
        print(f"\njob {job.submitted.job_id} was lost ({state}; {job.complaint})", file=sys.stderr, flush=True)
        self._refuse_hopeless(job)
        self.lives[first] -= 1
        if self.lives[first] == 0:
            del self.lives[first]
            yield first, Lost(f"its job was lost {LIVES} times ({state}; {job.complaint})")
        else:
            self.waiting.append([first])
        self.waiting += [others] if others else []

    def _refuse_hopeless(self, job: _Job) -> None:
        """`compute` raises no exception: one in the log comes from an installation that is not ours."""
        raised = _EXCEPTION.findall(job.log)
        if raised:
            raise foreign("Slurm", *raised[-1])
        if self.computed == 0 and self.lost >= _HOPELESS:
            rule = f"lost {self.lost} jobs and computed nothing ({job.complaint})"
            remedy = f"see the logs in {self.asked.folder}; nodes have to share it"
            raise InputError("cluster", self.asked.cluster, rule, remedy)


class _Queue:
    """Slurm's queue: one name for all jobs of a folder, by which they are asked for and cancelled."""

    def __init__(self, asked: Slurm) -> None:
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


class _Local(_Queue):
    """submitit's processes of this machine."""

    def __init__(self, asked: Slurm) -> None:
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
        """Interrupt those that run."""
        for job in self.jobs:
            with suppress(OSError):
                job.cancel()


def _said(*command: str, seconds: int = 30) -> str | None:
    """What a command of Slurm's prints; None where it fails or is silent for long."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds).stdout
    except (OSError, subprocess.SubprocessError):
        return None
