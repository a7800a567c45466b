"""`advise`: its tables against the law's own integrator and quadrature, its choices against a scan, every refusal."""

import subprocess
import sys
import time

import numpy as np
import pytest

from numerics.advice import Advisor
from numerics.decay_time import Drift, loss_weight, settling
from numerics.errors import InputError
from numerics.noise_floor import Fluctuations
from numerics.problem import Problem
from numerics.radial_manifold import RadialManifold
from numerics.run.cli import main
from numerics.scalar_law import RadialLaw
from numerics.schedule import Constant
from numerics.start import null_direction
from theory.parametrization import named

N, D_IN = 6, 30
TABLE = 2e-4  # model: a cubic through 24 nodes of the rate, and the trapezoid rule over its 3000 points
BISECTION = 1e-6  # rounding: 60 halvings, in a sum of exponentials
STRIDE = 0.02  # model: the advised step is a point of the table; rho^2 - rest^2 changes by 2 % between two of them


def problem_of(seed=0, teacher=True):
    draw = np.random.default_rng(seed)
    X, w_star = draw.standard_normal((N, D_IN)), draw.standard_normal(D_IN) / np.sqrt(D_IN)
    return Problem(X, X @ w_star, w_star=w_star if teacher else None)


def advisor_of(problem, depth=2.0, sigma=0.05, batch=4, direction_seed=0, **terms):
    law = RadialLaw(RadialManifold(named("radial", depth), problem.gram, problem.y, problem.norm_w_mn), batch, sigma)
    settings = {"margin": 0.8, "factor": 10.0, "tolerance": 0.01, "budget": None} | terms
    reduced = problem.reduced(null_direction(problem, direction_seed))
    return Advisor(law, reduced, 1.5 * problem.norm_w_mn, **settings)


@pytest.mark.parametrize("depth", [1.5, 2.0, 3.0])
def test_the_table_of_rho_is_the_laws_own_path(depth):
    advisor = advisor_of(problem_of(), depth=depth)
    eta = 0.6 * advisor.stability_limit
    drift = Drift(advisor.law, advisor.rho0, eta)
    steps = np.array([0, 2000, 20_000, 60_000])
    told = advisor.law.solve(advisor.law.log_rate, advisor.rho0, Constant(eta), steps)
    np.testing.assert_allclose([drift.rho(k) for k in steps], told, rtol=TABLE)
    assert drift.onward(drift.rho(2000), 18_000) == pytest.approx(told[2], rel=2 * TABLE)


def test_settling_starts_and_ends_at_the_two_covariances_and_follows_the_map_between():
    advisor = advisor_of(problem_of())
    law, rho, eta = advisor.law, advisor.rho0, 0.5 * advisor.stability_limit
    weight = loss_weight(law, advisor.reduced, rho)
    found = settling(law, rho, eta, eta / 10, weight)
    K = law.manifold.kernel(rho)
    for steps, rate in ((0, eta), (1e9, eta / 10)):
        C = Fluctuations(K, rate, law.batch).covariance(law.sigma)
        assert found.share(steps) == pytest.approx(float(np.sum(weight * C)), rel=1e-9)
    half = (found.share(0) + found.rest) / 2
    assert found.share(found.steps_until(half)) == pytest.approx(half, rel=BISECTION)
    assert found.steps_until(found.rest) == float("inf")


def test_the_share_of_the_fluctuations_is_that_of_the_laws_spread():
    advisor = advisor_of(problem_of())
    law, reduced, eta = advisor.law, advisor.reduced, 0.5 * advisor.stability_limit
    spread = law.predictor_spread(advisor.rho0, eta, reduced.factor)
    told = 0.5 * float(np.trace(reduced.T @ spread @ reduced.T.T))
    C = Fluctuations(law.manifold.kernel(advisor.rho0), eta, law.batch).covariance(law.sigma)
    assert float(np.sum(loss_weight(law, reduced, advisor.rho0) * C)) == pytest.approx(told, rel=1e-10)


@pytest.mark.parametrize("direction_seed", range(4))
@pytest.mark.parametrize("budget", [None, 4000, 40_000])
def test_no_decay_of_a_dense_scan_is_better_than_the_chosen_one(direction_seed, budget):
    from numerics.decay_plan import Plan

    advisor = advisor_of(problem_of(direction_seed), direction_seed=direction_seed, budget=budget)
    advice = advisor.advise()
    plan = Plan(advisor, advice.eta)
    scan = [plan.decay(k).final_loss for k in np.linspace(0, plan.horizon, 200)]
    gain = plan.decay(0).final_loss - min(scan)
    allowed = (
        0.001 if budget else 1.1 * advisor.tolerance
    )  # with no end the last per cent of the gain is not waited for
    assert advice.chosen.final_loss <= min(scan) + allowed * gain + 1e-9


def test_a_start_that_overshoots_decays_at_the_turning_point():
    """C8: with the start on the teacher's side, R falls until rho* and rises after: waiting twice as long loses."""
    found = [advisor_of(problem_of(0), direction_seed=seed).advise() for seed in range(12)]
    turning = [advice for advice in found if advice.later is not None and advice.gain_left[2] > 0.05]
    assert turning
    assert all(advice.later.final_loss > advice.chosen.final_loss for advice in turning)


def test_without_a_test_loss_it_waits_until_the_tolerance():
    advisor = advisor_of(problem_of(teacher=False), tolerance=0.02)
    advice = advisor.advise()
    assert not advice.test_known
    rest = advisor.law.resting_rho(advisor.rho0, advice.eta)
    path = advisor.law.solve(
        advisor.law.log_rate, advisor.rho0, Constant(advice.eta), np.array([0, advice.chosen.step])
    )
    assert (path[1] ** 2 - rest**2) / (advisor.rho0**2 - rest**2) == pytest.approx(0.02, rel=STRIDE)


def test_the_budget_is_used_to_its_end_and_the_margin_kept():
    advice = advisor_of(problem_of(), budget=5000, margin=0.7).advise()
    assert advice.chosen.step + advice.chosen.cooldown == 5000
    assert advice.eta <= 0.7 * advice.stability_limit * (1 + 1e-12)


@pytest.mark.parametrize(
    ("change", "said"),
    [({"sigma": 0.0}, "without label noise nothing drifts"), ({"depth": 1.0}, "depth 1")],
)
def test_where_nothing_drifts_it_says_so(change, said):
    advice = advisor_of(problem_of(), **change).advise()
    assert advice.chosen.step == 0
    assert any(said in note for note in advice.notes)


def test_outside_the_laws_conditions_it_says_so():
    assert any("outside conditions" in note for note in advisor_of(problem_of(), sigma=2.0, batch=1).advise().notes)


def test_the_advice_takes_less_than_a_second():
    advisor = advisor_of(problem_of(), budget=20_000)
    begin = time.process_time()
    advisor.advise()
    assert time.process_time() - begin < 1.0


def test_it_needs_no_torch_and_no_simulator():
    code = (
        "import sys; from numerics.run.advise import advise; from numerics.run.settings import validated;"
        "advise(validated(job='advise', n=5, out='.'),"
        "{'margin': .8, 'factor': 10., 'tolerance': .01, 'budget': None},"
        "rho0=None, eta=None); print([m for m in ('torch', 'numerics.sgd', 'numba') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_the_command_reads_a_file_and_writes_its_summary(tmp_path, capsys):
    own = problem_of()
    np.savez(tmp_path / "my.npz", X=own.X, w_star=own.w_star)
    arguments = ["advise", "--data", str(tmp_path / "my.npz"), "--depth", "2", "--sigma", "0.05", "--batch", "4"]
    with pytest.raises(SystemExit) as end:
        main([*arguments, "--budget", "9000", "--out", str(tmp_path / "out")])
    assert end.value.code == 0
    text = capsys.readouterr().out
    for line in (
        "stability limit",
        "large learning rate",
        "Phase I saturates",
        "decay at",
        "cooldown",
        "decay at half",
    ):
        assert line in text
    assert (tmp_path / "out" / "summary.json").exists()


REFUSED = [
    (["--budget", "1"], "budget = 1 leaves no step for the decay"),
    (["--margin", "1.2"], "margin = 1.2 is not between 0 and 1"),
    (["--tolerance", "0"], "tolerance = 0 is not between 0 and 1"),
    (["--decay-factor", "1"], "decay-factor = 1 is not above 1"),
    (["--rho0", "0"], "rho0 = 0 is not a positive distance"),
    (["--eta", "9"], "eta = 9 is not between 0 and the mean-square stability limit"),
    (["--batch", "0"], "batch = 0 is below 1"),
    (["--sigma", "-1"], "sigma = -1 is below 0"),
    (["--sigma", "nan"], "sigma = nan is not finite"),
    (["--depth", "0.5"], "depth = 0.5 is below 1"),
    (["--depth", "3", "--gamma", "1"], "gamma = 1 contradicts depth = 3"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED, ids=[" ".join(options) for options, _ in REFUSED])
def test_bad_input_is_one_line_and_exit_code_2(options, message, capsys):
    with pytest.raises(SystemExit) as end:
        main(["advise", "--n", "5", *options])
    assert end.value.code == 2
    line = capsys.readouterr().err
    assert message in line
    assert line.count("\n") == 1


def test_an_outward_drift_into_instability_is_seen():
    """Above the law's reach the loss is infinite, not extrapolated."""
    with pytest.raises(InputError):
        advisor_of(problem_of(), margin=0.0)
