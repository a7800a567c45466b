"""C7, C8: what remains after the decay, and when to decay."""

from dataclasses import replace

import numpy as np

from numerics import sgd, start
from numerics.check import Check, Margin
from numerics.schedule import Constant, StepDecay
from verify.budget import Budget, of_means, replicas_for, sequential
from verify.case import Case, Setup
from verify.experiment import Control, Domain, Experiment, exact, sampled
from verify.experiments.common import THREADS, measured_model, slowest_rate
from verify.experiments.noise_floor import predicted_floor

_FACTOR = 20.0  # of the decay
_RECORDS = 6
_RELAXED = 9.0  # e-foldings of the slowest residual after it


def relaxation_steps(setup: Setup, *, e_foldings: float = _RELAXED) -> int:
    """Steps after the decay that the slowest residual needs."""
    return int(np.ceil(e_foldings * _FACTOR / slowest_rate(setup)))


def decayed(
    setup: Setup, decay_at: int, replicas: int, seed: int, *, after: int | None = None
) -> dict[str, np.ndarray]:
    """Observables ``(R,)`` of a run that decays at step decay_at, averaged over records a relaxation apart
    at its end.
    """
    total = decay_at + (relaxation_steps(setup) if after is None else after)
    gap = relaxation_steps(setup, e_foldings=1.0)
    steps = np.array([0, *(total + gap * np.arange(_RECORDS if after is None else 1))])
    schedule = StepDecay(setup.eta, decay_at, _FACTOR)
    states = setup.model.start(setup.u0, replicas)
    noise = replace(setup.noise, seed=seed)
    table = sgd.simulate(setup.model, states, schedule, steps, noise=noise, threads=THREADS)
    return {name: values[1:].mean(axis=0) for name, values in table.items()}


def law_rho(setup: Setup, decay_at: int) -> float:
    """rho when the learning rate decays, and after it: the drift of the small rate included."""
    schedule = StepDecay(setup.eta, decay_at, _FACTOR) if decay_at else Constant(setup.eta / _FACTOR)
    steps = np.array([0, decay_at + relaxation_steps(setup)])
    return float(setup.law.solve(setup.law.log_rate, setup.rho0, schedule, steps)[-1])


def final_loss(setup: Setup, rho: float) -> float:
    """R at w_mn + rho zhat."""
    return float(setup.problem.test_loss(setup.problem.w_mn + rho * setup.direction))


def aligned(setup: Setup, budget: Budget) -> list[Check]:
    """R after the decay is R at the law's rho, the loss is the small floor, and at rho = 0 the cosine is
    |w_mn|/|w*|.
    """
    N = int(0.2 / abs(setup.law.log_rate(setup.rho0, setup.eta)))
    coarse = replace(setup, sigma=2 * setup.sigma)
    pilot = decayed(coarse, N // 4, 48, setup.seed + 1)
    predicted = final_loss(setup, law_rho(setup, N))
    model = measured_model(pilot["test_loss"] - final_loss(coarse, law_rho(coarse, N // 4)), budget, ratio=4.0)
    moved = abs(predicted - final_loss(setup, setup.rho0))
    resolution = 0.1 * moved + 3 * predicted * setup.noise_share
    spread = float(np.std(pilot["test_loss"], ddof=1)) / 2  # a standard deviation goes with sigma
    found = decayed(setup, N, replicas_for(resolution, spread, budget, least=160, most=1024), setup.seed)
    margin = Margin(model=model, resolution=resolution)
    facts = setup.situation(relaxation=_RELAXED)
    low = replace(setup, eta=setup.eta / _FACTOR, rho0=law_rho(setup, N))
    ratio = found["loss"] / predicted_floor(low)
    floors = Margin(resolution=0.8)
    return [
        sampled(
            "C7", "test loss after decay", predicted, found["test_loss"], margin=margin, budget=budget, situation=facts
        ),
        sampled("C7", "train loss / small floor", 1.0, ratio, margin=floors, budget=budget, situation=facts),
        *cosine(setup),
    ]


def cosine(setup: Setup) -> list[Check]:
    """cos(w_mn, w*) = |w_mn|/|w*| for clean labels, and no interpolator in the row space does better."""
    problem = setup.problem
    if problem.w_star is None:
        return []
    norm = float(np.linalg.norm(problem.w_star))
    cos = float(problem.w_mn @ problem.w_star / (problem.norm_w_mn * norm))
    margin = Margin(rounding=1e-10)
    return [exact("C7", "cos(w_mn, w*)", problem.norm_w_mn / norm, cos, margin=margin, situation=setup.situation())]


def best_rho(setup: Setup) -> float:
    """rho* = max(0, zhat . w*)."""
    assert setup.problem.w_star is not None
    return max(0.0, float(setup.direction @ setup.problem.w_star))


def ladder(setup: Setup, budget: Budget) -> list[Check]:
    """Final test losses over a ladder of decay times against the law; lowest where rho is next to rho*, then little
    rise.
    """
    best = best_rho(setup)
    rungs = np.array([setup.rho0 * 0.95, (setup.rho0 + best) / 2, best, 0.7 * best])
    times = [int(setup.law.steps_between(setup.rho0, rho, setup.eta)) for rho in rungs]
    runs = [decayed(setup, N, 32, setup.seed + 10 * i)["test_loss"] for i, N in enumerate(times)]
    predicted = [final_loss(setup, law_rho(setup, N)) for N in times]
    coarse = replace(setup, sigma=2 * setup.sigma)
    pilot = decayed(coarse, times[1] // 4, 32, setup.seed + 5)["test_loss"]
    model = measured_model(pilot - final_loss(coarse, law_rho(coarse, times[1] // 4)), budget, ratio=4.0)
    span = max(predicted) - min(predicted)
    facts = setup.situation(relaxation=_RELAXED)
    margin = Margin(model=model, resolution=0.05 * span + 3 * setup.noise_share * predicted[0])
    checks = [
        sampled("C8", f"R, decayed at rho = {rho:.2f}", want, run, margin=margin, budget=budget, situation=facts)
        for rho, want, run in zip(rungs, predicted, runs, strict=True)
    ]
    means = [float(run.mean()) for run in runs]
    fall = float(np.diff(means[:3]).max())
    rise = means[3] - means[2]
    bound = 0.5 * best**2
    return [
        *checks,
        exact("C8", "R falls until rho*", 0.0, fall, margin=Margin(), situation=facts, side="upper"),
        exact("C8", "rise after rho*", bound, rise, margin=Margin(), situation=facts, side="upper"),
    ]


def independent_start(setup: Setup, budget: Budget) -> list[Check]:
    """E rho*^2 <= |P_N w*|^2/(d - n) over random directions: equal to half of it, by symmetry. Sequential."""
    assert setup.problem.w_star is not None
    null = setup.problem.null_part(setup.problem.w_star)
    bound = float(null @ null) / (setup.problem.d - setup.problem.n)
    samples: list[np.ndarray] = []

    def p_value(stage: int, size: int) -> float:
        seeds = range(10_000 * (stage + 1), 10_000 * (stage + 1) + size)
        directions = np.array([start.null_direction(setup.problem, seed + 2**20 * setup.seed) for seed in seeds])
        samples.append(np.maximum(0.0, directions @ null) ** 2)
        return of_means(samples[-1], bound / 2)

    outcome = sequential(p_value, level=budget.level, size=400)
    facts = setup.situation(relaxation=_RELAXED)
    mean = float(samples[-1].mean())
    return [
        exact("C8", "E rho*^2 below its bound", bound, mean, margin=Margin(), situation=facts, side="upper"),
        exact("C8", "E rho*^2 is half of it (sequential)", 1.0, outcome.passed, margin=Margin(), situation=facts),
    ]


_BASE = Case(depth=2.0, n=3, batch=2, noise=1e-4)
_LADDER = Case(depth=2.0, n=5, extra=15, load=0.5, noise=2e-4, rho0=2.5, seed=5)


def _decay_before_saturation(budget: Budget) -> list[Check]:
    """Decay at step 0 from a random start off the manifold, too few steps after it: the promised R is not reached."""
    setup = _BASE.setup()
    off = replace(setup)
    vars(off)["u0"] = 0.5 * setup.u0
    found = decayed(off, 0, 32, setup.seed, after=relaxation_steps(setup) // 100)
    predicted, facts = final_loss(setup, setup.rho0), setup.situation(saturated=False, relaxation=0.1)
    margin = Margin(resolution=0.02 * predicted)
    return [
        sampled(
            "C7", "test loss after decay", predicted, found["test_loss"], margin=margin, budget=budget, situation=facts
        )
    ]


def _not_relaxed(budget: Budget) -> list[Check]:
    """Hardly any steps after the decay: the train loss is still the large learning rate's."""
    setup = _BASE.setup()
    N = int(0.2 / abs(setup.law.log_rate(setup.rho0, setup.eta)))
    found = decayed(setup, N, 64, setup.seed, after=5)["loss"]
    low = replace(setup, eta=setup.eta / _FACTOR, rho0=law_rho(setup, N))
    facts, margin = setup.situation(relaxation=0.1), Margin(resolution=1.0)
    ratio = found / predicted_floor(low)
    return [sampled("C7", "train loss / small floor", 1.0, ratio, margin=margin, budget=budget, situation=facts)]


def _no_drift_no_gain(budget: Budget) -> list[Check]:
    """Without label noise late decay gains nothing: the ladder's prediction must fail."""
    setup = _LADDER.setup()
    best = best_rho(setup)
    N = int(setup.law.steps_between(setup.rho0, best, setup.eta))
    found = decayed(replace(setup, sigma=0.0), N, 8, setup.seed)["test_loss"]
    facts = setup.situation(noise="none", relaxation=_RELAXED)
    predicted = final_loss(setup, law_rho(setup, N))
    margin = Margin(resolution=0.05 * abs(predicted - final_loss(setup, setup.rho0)))
    return [sampled("C8", "R, decayed at rho*", predicted, found, margin=margin, budget=budget, situation=facts)]


def _aligned_start(budget: Budget) -> list[Check]:
    """A null direction along the teacher's: rho*^2 is the whole of |P_N w*|^2 and the bound on its mean is passed."""
    setup = _LADDER.setup()
    assert setup.problem.w_star is not None
    null = setup.problem.null_part(setup.problem.w_star)
    size = float(null @ null)
    facts = setup.situation(aligned_start=True, relaxation=_RELAXED)
    bound = size / (setup.problem.d - setup.problem.n)
    return [
        exact("C8", "rho*^2 below the bound on its mean", bound, size, margin=Margin(), situation=facts, side="upper")
    ]


EXPERIMENTS = (
    Experiment(
        "C7",
        "after the decay",
        aligned,
        (
            _BASE,
            Case(depth=3.0, n=5, load=0.3, noise=1e-4, rho0=2.0),
            Case(depth=2.0, n=3, spectrum="digits", noise=1e-4),
        ),
        (
            Control("decay before saturation", _decay_before_saturation),
            Control("not relaxed after decay", _not_relaxed),
        ),
        comparisons=3,
        domain=Domain(loads=(0.3, 0.8), noises=(5e-5, 2e-4), largest_n=4, depths=(1.5, 2.0, 2.5, 3.0)),
        examples=6,
    ),
    Experiment(
        "C8",
        "ladder of decay times",
        ladder,
        (_LADDER,),
        (Control("no label noise", _no_drift_no_gain), Control("start aligned with the teacher", _aligned_start)),
        comparisons=6,
        any_seed=False,
    ),
    Experiment("C8", "independent start", independent_start, (Case(n=3), Case(n=2, extra=10)), (), comparisons=2),
)
