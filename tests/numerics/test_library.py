"""Jobs as functions: the command line's numbers, nothing written, and a result that a notebook can show."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from numerics.errors import InputError
from numerics.run.library import run
from numerics.run.phases import run_job
from numerics.run.report import Branch, Outcome

OPTIONS = {"data": "gaussian", "n": 4, "features": 12, "depth": 2.0, "sigma": 0.05, "replicas": 8, "records": 10}


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("empty"))
    try:
        made = run("phase2", steps=2000, **OPTIONS)
        assert not list(Path().iterdir())
        return made
    finally:
        os.chdir(before)


def test_the_function_gives_the_numbers_of_the_command(outcome: Outcome, tmp_path: Path) -> None:
    given = {**OPTIONS, "steps": "2000", "eta": "auto", "rho0": "auto", "decay_at": "auto", "out": tmp_path / "out"}
    run_job("phase2", given)
    written = json.loads((tmp_path / "out/summary.json").read_text())
    assert written["simulation"]["rho_mean"] == outcome.mean("rho")[0].tolist()


def test_a_notebook_shows_checks_figure_and_curves_with_units(outcome: Outcome) -> None:
    shown = outcome._repr_html_()
    assert all(part in shown for part in ("<table>", "<svg", "xarray.Dataset", "rho at step"))
    for variable in outcome.dataset.variables.values():
        assert variable.attrs.get("long_name")
        assert "units" in variable.attrs
    assert np.isfinite(outcome.dataset["rho_law"]).all()


@pytest.mark.parametrize("branch", [False, True])
def test_a_mean_over_survivors_passes_no_check(outcome: Outcome, branch: bool) -> None:
    assert {check.verdict for check in outcome.checks} >= {"pass"}
    final = np.array(outcome.simulation["loss"][-1])
    final[3] = np.nan
    if branch:
        found = replace(outcome, branches=[Branch(100, outcome.law, final)])
    else:
        found = replace(outcome, simulation=outcome.simulation | {"loss": np.vstack([final, final])})
    assert found.diverged == 1
    assert all("no replica diverged" in check.broken for check in found.checks)
    assert {check.verdict for check in found.checks} == {"outside conditions"}


def test_options_are_refused_as_on_the_command_line() -> None:
    with pytest.raises(InputError, match="batch = 0 is below 1"):
        run("phase2", batch=0)
