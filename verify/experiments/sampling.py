"""C2, C4, C9 for batches without replacement and shuffled epochs, and for label noise that is not Gaussian.

Each sampling has a covariance of its own; of the label noise's distribution the laws see the variance alone. What sees
more of it, the fourth moment of the residual, is checked too.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from numerics import sgd
from numerics.check import Check, Margin
from numerics.dynamics import Variant, VariantSGD, compact
from numerics.dynamics.variant import LabelNoise, Sampling
from numerics.epoch_law import EpochFluctuations, EpochMoments, orders
from numerics.moments import BatchMoments, Moments
from numerics.noise_floor import Fluctuations, stability_limit, without_replacement
from numerics.ray_law import RayLaw
from numerics.schedule import Constant
from theory.conditions import Situation
from verify import oracle
from verify.budget import Budget
from verify.case import Case, Setup
from verify.experiment import Control, Domain, Experiment, exact, sampled
from verify.experiments.common import THREADS, first_order

FLOOR_RESOLUTION, DRIFT_RESOLUTION, CHANGE = 0.1, 0.08, 0.2
_RECORDS = 48
_FREEDOM = 10.0


@dataclass(frozen=True)
class Drawn:
    """A case under a sampling and a distribution of the label noise: eta its share of the sampling's own limit, sigma
    such that the relative variance of the parameters is the case's.
    """

    case: Case
    sampling: Sampling
    label: LabelNoise = "gaussian"

    def moments(self, sigma: float) -> Moments:
        """Second moments at this label noise."""
        if self.sampling == "shuffle":
            return EpochMoments(self.case.batch, sigma)
        return BatchMoments(self.case.batch, sigma, self.sampling == "with-replacement")

    @cached_property
    def setup(self) -> Setup:
        """The setup with this sampling's learning rate and label noise."""
        draft = self.case.setup()
        moments = self.moments(1.0)
        eta = self.case.load * min(moments.limit(draft.manifold.kernel(x * draft.rho0)) for x in (0.8, 1.0, 1.1))
        C = moments.stationary(draft.kernel0, eta).covariance
        share = np.trace(np.linalg.solve(draft.kernel0, C)) / draft.r0**2
        return replace(draft, eta=eta, sigma=float(np.sqrt(self.case.noise / share)))

    def law(self, setup: Setup) -> RayLaw:
        """Floor and drift at the setup's label noise."""
        return RayLaw(setup.manifold, self.moments(setup.sigma))

    def situation(self) -> Situation:
        """Facts, with this sampling's load and noise share."""
        return self.setup.situation(load=self.case.load, noise_share=self.case.noise)

    def run(self, setup: Setup, steps: np.ndarray, replicas: int, seed: int) -> dict[str, np.ndarray]:
        """Observables ``(steps, R)`` of SGD in the n + 1 coordinates of C12."""
        reduced = setup.problem.reduced(setup.direction)
        variant = Variant(sampling=self.sampling, label=self.label, freedom=_FREEDOM)
        model = VariantSGD(compact(reduced), setup.parametrization, setup.model.scale, variant)
        states = model.start(reduced.coordinates(setup.u0), replicas)
        noise = replace(setup.noise, seed=seed)
        return sgd.simulate(model, states, Constant(setup.eta), steps, noise=noise, threads=THREADS)

    def floors(self, setup: Setup, replicas: int, seed: int) -> np.ndarray:
        """Train loss ``(R,)`` over the predicted one: the mean of records on all places of an epoch, after burn-in."""
        gap = int(np.ceil(1 / self._slowest(setup)))
        places = max(setup.problem.n // setup.batch, 1)
        gap += (1 - gap) % places  # one more than a multiple: the records walk through the epoch
        steps = np.concatenate([[0], 8 * gap + gap * np.arange(_RECORDS)])
        found = self.run(setup, steps, replicas, seed)["loss"][1:].mean(axis=0)
        return np.asarray(found / self.law(setup).floor(setup.rho0, setup.eta))

    def _slowest(self, setup: Setup) -> float:
        return float(setup.eta * np.linalg.eigvalsh(setup.kernel0)[0] / setup.problem.n)

    @cached_property
    def steps(self) -> np.ndarray:
        """0, burn-in, end: whole epochs."""
        setup, places = self.setup, max(self.setup.problem.n // self.case.batch, 1)
        burn = int(np.ceil(8 / self._slowest(setup)))
        length = int(CHANGE / abs(self.law(setup).log_rate(setup.rho0, setup.eta)))
        return np.array([0, burn, burn + length]) // places * places

    def scaled_steps(self, setup: Setup) -> np.ndarray:
        """The steps that give the same change at another label noise."""
        length = int((self.steps[2] - self.steps[1]) * (self.setup.sigma / setup.sigma) ** 2)
        return np.array([0, self.steps[1], self.steps[1] + max(length, 1)])

    def changes(self, setup: Setup, replicas: int, seed: int) -> np.ndarray:
        """Change of ln rho ``(R,)`` after burn-in."""
        table = self.run(setup, self.scaled_steps(setup), replicas, seed)
        log_rho = np.log(setup.manifold.relaxed(table["nu"][1:], table["r"][1:]))
        return np.asarray(log_rho[1] - log_rho[0])

    def predicted_change(self, setup: Setup, law: RayLaw | None = None) -> float:
        """The law's."""
        path = (law or self.law(setup)).path(setup.rho0, setup.eta, self.scaled_steps(setup))
        return float(np.log(path.rho[2] / path.rho[1]))


def floor_of(drawn: Drawn, budget: Budget) -> list[Check]:
    """Mean train loss over the floor of this sampling."""
    check = first_order(
        "C2",
        f"train loss / floor, {drawn.label}, {drawn.sampling}",
        drawn.setup,
        budget,
        predict=lambda s: 1.0,
        sample=drawn.floors,
        resolution=FLOOR_RESOLUTION,
        situation=drawn.situation(),
        least=256,
        most=4096,
        care=1.5,
    )
    return [check]


def drift_of(drawn: Drawn, budget: Budget) -> list[Check]:
    """Change of ln rho against the law of this sampling."""
    check = first_order(
        "C4",
        f"change of ln rho, {drawn.label}, {drawn.sampling}",
        drawn.setup,
        budget,
        predict=drawn.predicted_change,
        sample=drawn.changes,
        resolution=DRIFT_RESOLUTION * CHANGE,
        situation=drawn.situation(),
        most=512,
    )
    return [check]


def _with(
    run: Callable[[Drawn, Budget], list[Check]], sampling: Sampling, label: LabelNoise = "gaussian"
) -> Callable[[Setup, Budget], list[Check]]:
    def experiment(setup: Setup, budget: Budget) -> list[Check]:
        assert setup.case is not None
        return run(Drawn(setup.case, sampling, label), budget)

    return experiment


def equations(setup: Setup, budget: Budget) -> list[Check]:
    """C without replacement reproduces itself over every set of rows; C of an epoch against the recursion over the sets
    of rows already drawn; both limits where the definition's map has spectral radius one.
    """
    K, n, sigma = setup.kernel0, setup.problem.n, setup.sigma
    batch, rounding, facts = setup.batch, Margin(1e-12 * float(np.linalg.cond(K))), setup.situation(noise_share=0.0)
    finite = without_replacement(n, batch)
    eta = setup.load_share * stability_limit(K, batch=batch, finite=finite)
    C = Fluctuations(K, eta, batch, finite).covariance(sigma)
    again = oracle.distinct_moment_step(C, K, eta, batch, sigma)
    moments = EpochMoments(batch, sigma)
    limit = moments.limit(K)
    found = moments.stationary(K, setup.load_share * limit)
    mean, seen = oracle.epoch_stationary(K, setup.load_share * limit, batch, sigma)
    radius = oracle.epoch_radius(K, setup.load_share * limit, batch)
    mine = EpochFluctuations(K, setup.load_share * limit, orders(n, batch)[0]).spectral_radius
    at_limit = oracle.epoch_radius(K, limit, batch)
    return [
        exact("C2", "C without replacement", 0.0, _off(again, C), margin=rounding, situation=facts),
        exact("C2", "C over an epoch", 0.0, _off(found.covariance, mean), margin=rounding, situation=facts),
        exact("C2", "what drawn rows see", 0.0, _off(found.seen, seen), margin=rounding, situation=facts),
        exact("C2", "spectral radius of an epoch", radius, mine, margin=Margin(1e-10), situation=facts),
        exact("C2", "spectral radius at its limit", 1.0, at_limit, margin=Margin(1e-6), situation=facts),
    ]


def _off(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max() / np.abs(b).max())


#: fourth cumulant of label noise of variance 1
EXCESS = {"gaussian": 0.0, "rademacher": -2.0, "student": 6 / (_FREEDOM - 4)}


def fourth_moments(setup: Setup, budget: Budget) -> list[Check]:
    """One row, D = 1: q' = a q + b xi, so that E q^4 = 3 C^2 + b^4 excess/(1 - a^4) at rest, which sees the noise's
    distribution where C = b^2/(1 - a^2) does not.
    """
    flat = replace(setup, depth=1.0, sigma=0.3)
    flat = replace(flat, eta=0.4 * flat.limit)
    return [check for label in ("rademacher", "student") for check in _fourth(flat, label, label, budget)]


def _fourth(flat: Setup, label: LabelNoise, assumed: str, budget: Budget) -> list[Check]:
    drawn = Drawn(Case(n=1, depth=1.0), "with-replacement", label)
    rate = flat.eta * float(flat.kernel0[0, 0])
    noise = rate * flat.sigma / np.sqrt(flat.batch)
    C = noise**2 / (1 - (1 - rate) ** 2)
    fourth = 3 * C**2 + noise**4 * EXCESS[assumed] / flat.batch / (1 - (1 - rate) ** 4)
    burn = int(np.ceil(20 / rate))
    steps = np.concatenate([[0], burn + 4 * np.arange(8)])
    loss = drawn.run(flat, steps, 65536, flat.seed)["loss"][1:]
    second, values = (2 * loss).mean(axis=0) / C, (4 * loss**2).mean(axis=0) / fourth
    facts = flat.situation(noise_share=0.0)
    margin = Margin(resolution=0.04)
    return [
        sampled("C2", f"E q^2 / C, {label}", 1.0, second, margin=margin, budget=budget, situation=facts),
        sampled("C2", f"E q^4 / predicted, {label}", 1.0, values, margin=Margin(resolution=0.1), budget=budget,
                situation=facts),
    ]  # fmt: skip


_SHUFFLED = Case(depth=3.0, n=3, load=0.6, batch=1, noise=3e-5)
_PAIRS = Case(depth=2.0, n=4, load=0.5, batch=2, noise=3e-5)


def _other_floor(budget: Budget) -> list[Check]:
    """The floor with replacement for shuffled epochs."""
    drawn, assumed = Drawn(_PAIRS, "shuffle"), Drawn(_PAIRS, "with-replacement")
    setup = drawn.setup
    share = drawn.law(setup).floor(setup.rho0, setup.eta) / assumed.law(setup).floor(setup.rho0, setup.eta)
    values = drawn.floors(setup, 2048, setup.seed) * share
    facts, margin = drawn.situation(), Margin(resolution=0.05)
    return [sampled("C2", "train loss / floor", 1.0, values, margin=margin, budget=budget, situation=facts)]


def _wrong_drift(assumed: RayLaw, drawn: Drawn, budget: Budget) -> list[Check]:
    setup = drawn.setup
    want = drawn.predicted_change(setup, assumed)
    values = drawn.changes(setup, 64, setup.seed)
    margin = Margin(resolution=DRIFT_RESOLUTION * abs(want))
    facts = drawn.situation()
    return [sampled("C4", "change of ln rho", want, values, margin=margin, budget=budget, situation=facts)]


@dataclass(frozen=True)
class _MeanCovariance:
    """The epoch's mean covariance in place of what drawn rows see."""

    moments: EpochMoments

    def stationary(self, K: np.ndarray, eta: float):  # type: ignore[no-untyped-def]
        found = self.moments.stationary(K, eta)
        return replace(found, seen=found.covariance)

    def limit(self, K: np.ndarray) -> float:
        return self.moments.limit(K)


def _mean_in_place_of_seen(budget: Budget) -> list[Check]:
    drawn = Drawn(_SHUFFLED, "shuffle")
    moments = _MeanCovariance(EpochMoments(_SHUFFLED.batch, drawn.setup.sigma))
    return _wrong_drift(RayLaw(drawn.setup.manifold, moments), drawn, budget)


def _with_replacement_for_without(budget: Budget) -> list[Check]:
    drawn = Drawn(replace(_PAIRS, load=0.8), "without-replacement")
    moments = BatchMoments(_PAIRS.batch, drawn.setup.sigma)
    return _wrong_drift(RayLaw(drawn.setup.manifold, moments), drawn, budget)


def _gaussian_fourth_moment(budget: Budget) -> list[Check]:
    flat = replace(Case(n=1, depth=1.0, batch=1).setup(), depth=1.0, sigma=0.3)
    return _fourth(replace(flat, eta=0.4 * flat.limit), "rademacher", "gaussian", budget)


EXPERIMENTS = (
    Experiment(
        "C2",
        "samplings, equations",
        equations,
        (_PAIRS, Case(n=5, batch=1, load=0.8), Case(n=4, batch=4, load=0.9, spectrum="near-degenerate")),
        (),
        domain=Domain(batches=(1,), loads=(0.1, 0.9), largest_n=5),
        examples=6,
    ),
    Experiment(
        "C2", "floor, without replacement", _with(floor_of, "without-replacement"), (_PAIRS,), (), comparisons=2
    ),
    Experiment(
        "C2",
        "floor, shuffled",
        _with(floor_of, "shuffle"),
        (_PAIRS, _SHUFFLED),
        (Control("with replacement instead", _other_floor),),
        comparisons=2,
    ),
    Experiment(
        "C2",
        "fourth moment of the residual",
        fourth_moments,
        (Case(n=1, depth=1.0, batch=1),),
        (Control("Gaussian fourth moment", _gaussian_fourth_moment),),
        comparisons=4,
    ),
    Experiment(
        "C4",
        "drift, without replacement",
        _with(drift_of, "without-replacement"),
        (_PAIRS,),
        (Control("with replacement instead", _with_replacement_for_without),),
        comparisons=2,
    ),
    Experiment(
        "C4",
        "drift, shuffled",
        _with(drift_of, "shuffle"),
        (_PAIRS, _SHUFFLED),
        (Control("mean covariance in place of that seen", _mean_in_place_of_seen),),
        comparisons=2,
    ),
    Experiment(
        "C4", "drift, Rademacher", _with(drift_of, "with-replacement", "rademacher"), (_PAIRS,), (), comparisons=2
    ),
    Experiment("C4", "drift, Student", _with(drift_of, "with-replacement", "student"), (_PAIRS,), (), comparisons=2),
)
