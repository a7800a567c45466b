"""The data of a job and the direction of its start; no simulator is imported for them."""

from numerics import data, start
from numerics.problem import Problem
from numerics.run.settings import Settings
from numerics.start import FloatArray


def load_problem(settings: Settings) -> Problem:
    """The data as a problem. A file is taken whole unless n is given. Raises InputError."""
    s = settings
    return data.load(s.data, n=s.rows, seed=s.seed, features=s.features, target=s.target)


def start_direction(settings: Settings, problem: Problem) -> FloatArray:
    """The unit vector ``(d,)`` in the null space of X along which the start lies: u0's where the data have one."""
    own = problem.u0 if problem.u0 is not None and problem.u0.shape == (problem.d,) else None
    return start.null_direction(problem, settings.seed, own)
