"""`advise-check`: the advisor against brute-force simulated search on random problems (C8). A stopped one goes on.

Each problem: the advised schedule, and the best of a search over learning rates and decay steps by simulation, both
simulated again on draws that neither has seen. Reported is the share of problems in which the advice is within 2 % of
the best found, with its Clopper-Pearson interval; the number of problems is fixed beforehand.
"""

import sys
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import numpy.typing as npt
import typer

from numerics.advice import Advisor
from numerics.errors import InputError
from numerics.problem import Problem
from numerics.radial_manifold import RadialManifold
from numerics.scalar_law import RadialLaw
from numerics.schedule import Constant, StepDecay
from numerics.start import null_direction, on_manifold, radial_from_predictor
from theory.parametrization import Radial, named

if TYPE_CHECKING:
    from numerics.decay_plan import Advice

FloatArray = npt.NDArray[np.float64]

#: final test loss over the best found, and the share of problems wanted below it
CLOSE, WANTED = 1.02, 0.95
REPLICAS = 24
FACTOR = 10.0
#: the advisor and the search may use learning rates up to this share of the stability limit
MARGIN = 0.9
ETAS = (0.3, 0.5, 0.7, 0.8, MARGIN)
#: decay steps that the search tries, as shares of the budget
DECAYS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
_SEARCHED, _FRESH = 11, 12  # seeds of the search's draws and of those that judge
#: what ratios depend on beside the problem
SETTINGS = {"replicas": REPLICAS, "factor": FACTOR, "margin": MARGIN, "etas": list(ETAS), "decays": list(DECAYS)}

Problems = Annotated[int, typer.Option(help="random problems")]
First = Annotated[int, typer.Option(help="seed of the first problem")]
Jobs = Annotated[int, typer.Option(help="problems at a time, one thread each")]
Out = Annotated[Path, typer.Option(help="folder for summary.json; finished problems are not run again")]


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("advise-check")(command)


def command(problems: Problems = 400, first: First = 0, jobs: Jobs = 1, out: Out = Path("out/advise-check")) -> None:
    """The advisor against brute-force simulated search. How often it is within 2 % of the best on random problems."""
    from numerics.files import write_json
    from numerics.provenance import provenance
    from numerics.run.memory import JOBS_REMEDY, advise_check
    from numerics.run.session import session

    started = time.perf_counter()
    for name, value in (("problems", problems), ("jobs", jobs)):
        if value < 1:
            raise InputError(name, value, "is below 1", "give at least 1")
    with session(out, needs=advise_check(jobs), remedy=JOBS_REMEDY) as folder:
        found = ratios(range(first, first + problems), folder.out, jobs)
        write_json(folder.staging / "summary.json", {
            "job": "advise-check",
            "settings": SETTINGS,
            "within": interval(_hits(found), len(found)),
            "ratios": {str(seed): ratio for seed, ratio in found.items()},
            "provenance": provenance(seed=first, started=started, threads=1),
        })  # fmt: skip
    typer.echo(f"{text(found)}\n\nsummary: {out / 'summary.json'}")


def ratios(seeds: range, out: Path, jobs: int) -> dict[int, float]:
    """Seed -> the advice's final test loss over the best found, each kept in ``out`` as it comes.

    Raises InputError where ``out`` holds ratios found with other settings or versions.
    """
    from numerics import journal
    from numerics.provenance import versions
    from numerics.workers import finish

    book = journal.resume(out, {"job": "advise-check", "settings": SETTINGS, **versions()})
    for name, wrong in book.problems.items():
        typer.echo(f"{name}: {wrong}; recomputed")
    kept = finish(book, {str(seed): seed for seed in seeds}, ratio_of_seed, jobs, _progress)
    values = {seed: kept[str(seed)]["ratio"] for seed in seeds}
    return {seed: float("inf") if value is None else value for seed, value in values.items()}


def ratio_of_seed(seed: int) -> dict[str, float | None]:
    """`ratio` of one random problem, for JSON: null where the advised schedule diverged."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        found = ratio(random_case(seed))
    return {"ratio": found if np.isfinite(found) else None}


def _progress(done: int, total: int) -> None:
    print(f"{done} of {total} problems", file=sys.stderr, flush=True)


def _hits(found: dict[int, float]) -> int:
    return sum(value < CLOSE for value in found.values())


def text(found: dict[int, float]) -> str:
    """The share with its interval, the ratio's quantiles, and the problems that missed."""
    values = np.array(list(found.values()))
    hits, count = _hits(found), len(values)
    low, high = interval(hits, count)
    quantiles = np.quantile(np.fmin(values, 99), [0, 0.5, 0.9, 0.95, 1])
    missed = ", ".join(f"{seed}: {value:.3f}" for seed, value in found.items() if not value < CLOSE)
    return "\n".join(
        [
            f"within 2 % of the best found: {hits} of {count} problems = {hits / count:.2%}",
            f"95 % interval: {low:.2%} to {high:.2%}; wanted: at least {WANTED:.0%}, "
            + ("shown" if low > WANTED else "not shown" if high > WANTED else "refuted"),
            "ratio, quantiles 0, 50, 90, 95, 100 %: " + ", ".join(f"{value:.4f}" for value in quantiles),
            f"missed (seed: ratio): {missed or 'none'}",
        ]
    )


def interval(hits: int, count: int) -> tuple[float, float]:
    """Clopper-Pearson, 95 %."""
    from scipy.stats import beta

    low = beta.ppf(0.025, hits, count - hits + 1) if hits else 0.0
    high = beta.ppf(0.975, hits + 1, count - hits) if hits < count else 1.0
    return float(low), float(high)


@dataclass(frozen=True, eq=False)
class Case:
    """A random problem and its budget in steps."""

    problem: Problem
    direction: FloatArray
    depth: float
    batch: int
    sigma: float
    rho0: float
    budget: int

    @cached_property
    def manifold(self) -> RadialManifold:
        """The ray of minima."""
        return RadialManifold(self.parametrization, self.problem.gram, self.problem.y, self.problem.norm_w_mn)

    @cached_property
    def parametrization(self) -> Radial:
        """The power law of this depth."""
        found = named("radial", self.depth)
        if not isinstance(found, Radial):
            raise TypeError("the radial parametrization is Radial")
        return found

    def advice(self) -> "Advice":
        """What the law says."""
        law, reduced = RadialLaw(self.manifold, self.batch, self.sigma), self.problem.reduced(self.direction)
        terms = {"margin": MARGIN, "factor": FACTOR, "tolerance": 0.01}
        return Advisor(law, reduced, self.rho0, **terms, budget=self.budget).advise()

    def start(self) -> tuple[Any, FloatArray]:
        """Simulator, and REPLICAS states on the manifold."""
        from numerics.sgd import RadialSGD

        norm = float(np.hypot(self.problem.norm_w_mn, self.rho0))
        model = RadialSGD(self.problem.reduced(self.direction), self.parametrization, norm)
        w = on_manifold(self.problem, self.rho0, self.direction)
        return model, model.start(radial_from_predictor(w, self.manifold.radius(self.rho0)), REPLICAS)

    def losses(self, eta: float, decays: tuple[int, ...], seed: int) -> list[float]:
        """Mean final test loss of SGD for each decay step (increasing), branched off one trunk; inf if one diverged."""
        from numerics.sgd import Noise, simulate

        model, states = self.start()
        noise, at, found = Noise(self.batch, self.sigma, seed), 0, []
        for decay_at in decays:
            simulate(model, states, Constant(eta), np.array([at, decay_at]), noise=noise, threads=1)
            at, branch, steps = decay_at, states.copy(), np.array([decay_at, self.budget])
            table = simulate(model, branch, StepDecay(eta, decay_at, FACTOR), steps, noise=noise, threads=1)
            mean = float(np.mean(table["test_loss"][-1]))
            found.append(mean if np.isfinite(mean) else float("inf"))
        return found


def random_case(seed: int) -> Case:
    """n, d, depth, batch, sigma, start, test loss (teacher or noisy held-out rows) and budget all drawn at random."""
    draw = np.random.default_rng([7, seed])
    n = int(draw.integers(2, 13))
    d = n + int(draw.integers(n, 5 * n))
    scales = np.exp(draw.uniform(-0.5, 0.5, d))
    X = draw.standard_normal((n, d)) * scales
    w_star = draw.standard_normal(d) / np.sqrt(d)
    if draw.random() < 0.5:
        problem = Problem(X, X @ w_star, w_star=w_star)
    else:
        held = draw.standard_normal((60, d)) * scales
        problem = Problem(X, X @ w_star, X_test=held, y_test=held @ w_star + 0.1 * draw.standard_normal(60))
    size = float(np.sqrt(np.mean(problem.y**2)))
    return Case(
        problem,
        null_direction(problem, seed),
        depth=float(draw.uniform(1.5, 4)),
        batch=int(draw.integers(1, 9)),
        sigma=size * float(np.exp(draw.uniform(np.log(0.03), np.log(0.2)))),
        rho0=problem.norm_w_mn * float(draw.uniform(0.5, 2)),
        budget=int(np.exp(draw.uniform(np.log(3000), np.log(30000)))),
    )


def search(case: Case, limit: float) -> tuple[float, int]:
    """Brute force: the (eta, decay step) of least simulated final test loss."""
    decays = tuple(round(share * case.budget) for share in DECAYS)
    found = []
    for eta in (share * limit for share in ETAS):
        found += [(loss, eta, at) for loss, at in zip(case.losses(eta, decays, _SEARCHED), decays, strict=True)]
    _, eta, decay_at = min(found)
    return eta, decay_at


def ratio(case: Case) -> float:
    """The advised schedule's simulated loss over that of the search's best, on fresh draws."""
    advice = case.advice()
    eta, decay_at = search(case, advice.stability_limit)
    (ours,) = case.losses(advice.eta, (advice.chosen.step,), _FRESH)
    (best,) = case.losses(eta, (decay_at,), _FRESH)
    return ours / best
