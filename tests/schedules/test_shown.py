"""The demonstration outside the benchmark: its form, and that a finished task is not run again."""

import pytest

torch = pytest.importorskip("torch")

from numerics.run import schedules_bench  # noqa: E402
from numerics.schedules import bench_shown  # noqa: E402
from numerics.schedules.bench_tasks import TASKS, Task  # noqa: E402

torch.set_num_threads(1)
TINY = Task("tiny", "wine", 40, "wide", "squared", "gauss", 0.3, 8, 0.01, 40)


def test_a_task_shows_three_forms_and_every_decay_and_is_run_once(tmp_path, monkeypatch):
    page, record = schedules_bench._shown([TINY], (0, 1), tmp_path, 1)
    (text,) = record["parts"]
    for form in ("- budget: decays", "- budget and looks: decays", "- no budget: decays"):
        assert form in text
    rows = [line for line in text.splitlines() if line.startswith("| ") and line[2].isdigit()]
    assert [int(row.split()[1]) for row in rows] == [round(share * 40) for share in bench_shown.SHARES]
    monkeypatch.setattr(bench_shown, "shown", lambda *_: pytest.fail("run again"))
    assert schedules_bench._shown([TINY], (0, 1), tmp_path, 1) == (page, record)
    assert text in page


def test_its_tasks_are_not_the_benchmarks():
    assert not {task.source for task in bench_shown.TASKS} & {task.source for task in TASKS}
    assert not {task.network for task in bench_shown.TASKS} & {task.network for task in TASKS}
