"""Shards as Slurm jobs, submitted through submitit; each shard is a text file as soon as it is computed.

A lost job has therefore lost only the shard it was at, and a coordinator that was killed finds what its jobs computed.
"""

import re
import shutil
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numerics.errors import InputError
from numerics.sweep.engines import Lost, Results, foreign
from numerics.sweep.slurm_queue import Asked, Local, Queue, file_of, text_of
from numerics.workers import LIVES

#: jobs of one array; Slurm's own limit is 1000 unless a cluster sets another
_ARRAY = 500
#: that many jobs lost before any shard was computed are not the shards' fault
_HOPELESS = 10
#: what `squeue` calls a job that has ended; one it does not know has, too
_ENDED = {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED",
          "REVOKED", "TIMEOUT"}  # fmt: skip
_EXCEPTION = re.compile(r"^(?:\w+\.)*(\w*(?:Error|Exception)): (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Slurm(Asked):
    """Slurm as an engine of sweeps."""

    def __call__(self, tasks: list[str]) -> Results:
        """Jobs of ``per_job`` tasks each, ``at_once`` of them in the queue. A task that loses three jobs is given up.

        Raises InputError where Slurm refuses the jobs, or where they cannot even begin.
        """
        queue = Local(self) if self.cluster == "local" else Queue(self)
        try:
            queue.cancel()  # what a coordinator that was killed left behind
            yield from _Run(self, queue, tasks).results()
            shutil.rmtree(self.folder, ignore_errors=True)  # what is left behind is of use where something went wrong
        finally:
            queue.cancel()


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
    queue: Queue
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
        self.names = {file_of(self.folder, task).name: i for i, task in enumerate(self.tasks)}
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
                text = text_of(path)
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
