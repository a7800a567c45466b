"""The symbolic theory evaluated at numbers and held against definitions: what sympy derived is what is simulated."""

import numpy as np
import sympy

from numerics.check import Check, Margin
from numerics.epoch_law import EpochFluctuations, orders
from numerics.momentum_law import MomentumFluctuations
from numerics.noise_floor import Fluctuations
from theory import landscape, momentum, momentum_epochs, noise_floor, notation, scalar_law, selection
from verify import oracle
from verify.budget import Budget
from verify.case import Case, Setup
from verify.experiment import Experiment, exact

_ROUNDING = 1e-8


def _number(value: object) -> np.ndarray:
    return np.array(sympy.Matrix(value).evalf(30).tolist(), dtype=float)


def _apart(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


def _exact(claim: str, quantity: str, found: np.ndarray, wanted: np.ndarray, setup: Setup) -> Check:
    margin, facts = Margin(rounding=_ROUNDING), setup.situation(momentum=0.0)
    return exact(claim, quantity, 0.0, _apart(found, wanted), margin=margin, situation=facts)


def kernel(setup: Setup, budget: Budget) -> list[Check]:
    """K = A A^T of `theory.landscape` at a point off the manifold."""
    u, X = setup.u0 + 0.1 * setup.r0, setup.problem.X
    found = _number(landscape.kernel(setup.parametrization, sympy.Matrix(u), sympy.Matrix(X)))
    return [_exact("C1", "K of theory.landscape", found, oracle.tangent_kernel(X, u, setup.depth), setup)]


def floor(setup: Setup, budget: Budget) -> list[Check]:
    """The map of `theory.noise_floor` on a covariance that is not its fixed point, and at its fixed point."""
    K, n = setup.kernel0, setup.problem.n
    eta, B, sigma = (sympy.Float(x, 30) for x in (setup.eta, setup.batch, setup.sigma))
    C = Fluctuations(K, setup.eta, setup.batch).covariance(setup.sigma)
    Z = np.outer(np.arange(1, n + 1), np.ones(n)) * setup.sigma**2
    Z = Z + Z.T
    found = _number(noise_floor.next_covariance(sympy.Matrix(Z), sympy.Matrix(K), eta, B, sigma))
    source = setup.eta**2 * setup.sigma**2 / (setup.batch * n) * K @ K
    wanted = (oracle.second_moment_map(K, setup.eta, setup.batch) @ Z.ravel()).reshape(n, n) + source
    rest = _number(noise_floor.stationarity(sympy.Matrix(C), sympy.Matrix(K), eta, B, sigma))
    return [
        _exact("C2", "one step of C, theory.noise_floor", found, wanted, setup),
        _exact("C2", "stationarity, theory.noise_floor", source + rest, source, setup),
    ]


def trace(setup: Setup, budget: Budget) -> list[Check]:
    """psi(r) of `theory.scalar_law`, and the threshold of `theory.selection` against a numerical slope of it."""
    problem, g = setup.problem, setup.parametrization.g
    values = {
        notation.frobenius: float(np.linalg.norm(problem.X)),
        notation.label_norm: float(np.linalg.norm(problem.y)),
        notation.n: problem.n,
    }
    psi = scalar_law.trace_on_manifold(g).subs(values)
    found = np.array([float(psi.subs(notation.r, setup.r0))])
    wanted = np.array([np.trace(oracle.tangent_kernel(problem.X, setup.u0, setup.depth)) / problem.n])
    checks = [_exact("C4", "tr H of theory.scalar_law", found, wanted, setup)]
    ratio = selection.threshold(g)
    if ratio is not None:
        rest = problem.norm_w_mn**2 + setup.manifold.flattest_rho(50 * problem.norm_w_mn) ** 2
        edge = (setup.depth + 1) * np.sum(problem.y**2) / np.sum(problem.X**2)
        at = float(ratio.subs(notation.r, edge ** (1 / (2 * setup.depth))))
        same = np.array([at * np.sum(problem.y**2)]), np.array([np.sum(problem.X**2)])
        checks.append(_exact("C5", "threshold of theory.selection", *same, setup))
        checks.append(
            _exact("C5", "rest, closed form", np.array([max(edge, problem.norm_w_mn**2)]), np.array([rest]), setup)
        )
    return checks


def heavy_ball(setup: Setup, budget: Budget) -> list[Check]:
    """One step, and one shuffled epoch of single rows, of the second moment by `theory` and by the numeric laws."""
    K, n, beta = setup.kernel0, setup.problem.n, 0.7
    step = MomentumFluctuations(K, setup.eta, setup.batch, beta).transfer
    epoch = EpochFluctuations(K, setup.eta, orders(n, 1)[0], beta).transfer
    Z = np.diag(np.arange(1.0, 2 * n + 1)) + 0.1
    symbolic, (eta, zero, factor) = (
        (sympy.Matrix(Z), sympy.Matrix(K)),
        [sympy.Float(x, 30) for x in (setup.eta, 0, beta)],
    )
    after_step = _number(momentum.next_moment(*symbolic, eta, sympy.Integer(setup.batch), zero, factor))
    after_epoch = _number(momentum_epochs.next_moment(*symbolic, 1, eta, zero, factor))
    wanted = [(transfer @ Z.ravel()).reshape(Z.shape) for transfer in (step, epoch)]
    return [
        _exact("C13", "one step, theory.momentum", after_step, wanted[0], setup),
        _exact("C13", "one epoch, theory.momentum_epochs", after_epoch, wanted[1], setup),
    ]


_CASES = (Case(depth=3.0, n=2, extra=3), Case(depth=1.5, n=3, extra=2, batch=2))

EXPERIMENTS = (
    Experiment("C1", "symbolic kernel", kernel, _CASES, ()),
    Experiment("C2", "symbolic map", floor, _CASES, ()),
    Experiment("C4", "symbolic trace and threshold", trace, _CASES, ()),
    Experiment("C13", "symbolic map", heavy_ball, _CASES, ()),
)
