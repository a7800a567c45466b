"""Heavy ball under shuffled epochs, at any learning rate: the equation for an epoch, what drawn rows see, the drift.

Averages are exact enumerations, as in `theory.sampling`: of every order of the rows, and of xi_b = +-1. In z = (q, A p)
batch T of an epoch is linear, so given the order z at a batch has the second moment M Z M^T + N, with M the product of
the maps of the batches before, N what their label noise leaves, and Z = E[z z^T] at the epoch's beginning.
"""

import functools
import itertools
from collections.abc import Iterator

import sympy
from sympy import Expr, MatrixBase

from theory import momentum, noise_floor, notation
from theory.derivation import Derivation, entries, matrix, symmetric, vector

eta, B, sigma, beta = notation.eta, notation.B, notation.sigma, notation.beta
Order = tuple[tuple[int, ...], ...]  # the batches of an epoch, each a tuple of rows


def orders(n: int, batch: int) -> list[Order]:
    """Every sequence of disjoint batches of the rows 0..n-1, equally likely; ``batch`` divides n."""
    starts = range(0, n, batch)
    every = itertools.permutations(range(n))
    return sorted({tuple(tuple(sorted(order[i : i + batch])) for i in starts) for order in every})


def batch_map(K: MatrixBase, rows: tuple[int, ...], eta: Expr, beta: Expr) -> MatrixBase:
    """[[I - (eta/B) K P_T, -eta beta I], [K P_T / B, beta I]], (2n, 2n), P_T the projector on the rows drawn."""
    n, drawn = K.rows, K * _projector(K.rows, rows) / len(rows)
    identity = sympy.eye(n)
    return sympy.Matrix(sympy.BlockMatrix([[identity - eta * drawn, -eta * beta * identity], [drawn, beta * identity]]))


def label_noise(K: MatrixBase, rows: tuple[int, ...], eta: Expr, sigma: Expr) -> MatrixBase:
    """Second moment of what the batch's label noise adds to (q, A p), (2n, 2n)."""
    drawn = K * _projector(K.rows, rows) / len(rows)
    enter = sympy.Matrix.vstack(eta * drawn, -drawn)
    return sigma**2 * enter * enter.T


def _projector(n: int, rows: tuple[int, ...]) -> MatrixBase:
    return sympy.diag(*[int(i in rows) for i in range(n)])


def moments(Z: MatrixBase, K: MatrixBase, order: Order, eta: Expr, sigma: Expr, beta: Expr) -> list[MatrixBase]:
    """E[z z^T] before each batch of an epoch in this order and at its end, from Z at its beginning, each (2n, 2n)."""
    found = [Z]
    for rows in order:
        M = batch_map(K, rows, eta, beta)
        found.append(M * found[-1] * M.T + label_noise(K, rows, eta, sigma))
    return found


def next_moment(Z: MatrixBase, K: MatrixBase, batch: int, eta: Expr, sigma: Expr, beta: Expr) -> MatrixBase:
    """E[z z^T] at the end of an epoch from Z at its beginning, the mean over every order, (2n, 2n)."""
    return _mean([moments(Z, K, order, eta, sigma, beta)[-1] for order in orders(K.rows, batch)])


def floor(Z: MatrixBase, K: MatrixBase, batch: int, eta: Expr, sigma: Expr, beta: Expr) -> MatrixBase:
    """E[q q^T] over the batches of an epoch, (n, n): what the loss sees."""
    n = K.rows
    every = [moments(Z, K, order, eta, sigma, beta)[:-1] for order in orders(n, batch)]
    return _mean([moment[:n, :n] for found in every for moment in found])


def seen(Z: MatrixBase, K: MatrixBase, batch: int, eta: Expr, sigma: Expr, beta: Expr) -> MatrixBase:
    """Column i is E[q q_i] when row i is drawn, (n, n): what the drift sees."""
    n = K.rows
    columns = [_mean(list(_when_drawn(i, Z, K, batch, eta, sigma, beta))) for i in range(n)]
    return sympy.Matrix.hstack(*columns)


def _when_drawn(
    i: int, Z: MatrixBase, K: MatrixBase, batch: int, eta: Expr, sigma: Expr, beta: Expr
) -> Iterator[MatrixBase]:
    for order in orders(K.rows, batch):
        found = moments(Z, K, order, eta, sigma, beta)
        yield next(moment[: K.rows, i] for moment, rows in zip(found, order, strict=False) if i in rows)


def _mean(values: list[MatrixBase]) -> MatrixBase:
    return sum(values[1:], values[0]) / len(values)


def _walk(q: MatrixBase, a: MatrixBase, K: MatrixBase, order: Order, signs: tuple[int, ...]) -> list[MatrixBase]:
    """(q, A p) before each batch and at the end, heavy ball as defined: A p <- beta A p + K s, q <- q - eta A p."""
    found = [sympy.Matrix.vstack(q, a)]
    for rows in order:
        s = sympy.zeros(len(q), 1)
        for row in rows:
            s[row] = (q[row] - sigma * signs[row]) / len(rows)
        a = beta * a + K * s
        q = q - eta * a
        found.append(sympy.Matrix.vstack(q, a))
    return found


def _state(n: int) -> tuple[MatrixBase, MatrixBase, MatrixBase, MatrixBase]:
    """q, A p, K and z z^T."""
    q, a, K = vector("q", n), vector("a", n), symmetric("K", n)
    z = sympy.Matrix.vstack(q, a)
    return q, a, K, z * z.T


def derive_batch() -> Derivation:
    """One batch of known rows, from the step in parameters: A v and A p under every sign of the label noise."""
    n, parts = 2, []
    for batch in (1, 2):
        A, v, p = matrix("A", n, 2), vector("v", 2), vector("p", 2)
        rows = tuple(range(batch))
        ends = []
        for signs in itertools.product((-1, 1), repeat=batch):
            errors = [(A[i, :] * v)[0] - sigma * sign for i, sign in zip(rows, signs, strict=True)]
            force = sum((A[i, :].T * error for i, error in zip(rows, errors, strict=True)), sympy.zeros(2, 1)) / batch
            velocity = beta * p + force
            ends.append(sympy.Matrix.vstack(A * (v - eta * velocity), A * velocity))
        K, z = A * A.T, sympy.Matrix.vstack(A * v, A * p)
        mean = batch_map(K, rows, eta, beta) * z
        spread = _mean([(end - mean) * (end - mean).T for end in ends]) - label_noise(K, rows, eta, sigma)
        parts += [*(_mean(ends) - mean), *_distinct(spread)]
    one, drawn = sympy.symbols("I KP_T")
    shown = sympy.Matrix([[one - eta * drawn / B, -eta * beta * one], [drawn / B, beta * one]])
    text = "Under shuffled epochs the rows T of a batch are known given the order; in (q, A p) its mean map is"
    return Derivation("momentum-epoch-batch", "C13", text, shown, entries(*parts))


def derive_epoch() -> Derivation:
    """n = 2, B = 1: the second moment of (q, A p) over an epoch, over both orders and every sign."""
    n = 2
    q, a, K, Z = _state(n)
    ends = [_walk(q, a, K, order, signs)[-1] for order in orders(n, 1) for signs in _signs(n)]
    after = _mean([end * end.T for end in ends]) - next_moment(Z, K, 1, eta, sigma, beta)
    M_, N_, Z_ = sympy.symbols("M N Z", commutative=False)
    E_, MT = sympy.Symbol("E", commutative=False), sympy.Symbol("M^T", commutative=False)
    text = (
        "The second moment Z of (q, A p) at the epochs' beginnings solves one linear equation of (2n)^2 unknowns, the "
        "mean over orders, M the product of the maps of an epoch's batches and N what their label noise leaves:"
    )
    shown = sympy.Eq(Z_, E_ * (M_ * Z_ * MT + N_), evaluate=False)
    return Derivation("momentum-epoch", "C13", text, shown, entries(*_distinct(after)))


def _distinct(symmetric: MatrixBase) -> list[Expr]:
    """The entries of a symmetric matrix, each once."""
    return [symmetric[i, j] for i in range(symmetric.rows) for j in range(i + 1)]


def _signs(n: int) -> Iterator[tuple[int, ...]]:
    return itertools.product((-1, 1), repeat=n)


def derive_seen() -> Derivation:
    """n = 2, B = 1: E[q q^T] over the batches, and E[q q_i] at the batches that draw row i, over every order."""
    n = 2
    q, a, K, Z = _state(n)
    every: list[MatrixBase] = []
    drawn: list[list[MatrixBase]] = [[] for _ in range(n)]
    for order, signs in itertools.product(orders(n, 1), _signs(n)):
        for z, (row,) in zip(_walk(q, a, K, order, signs)[:-1], order, strict=True):
            every.append(z[:n, 0] * z[:n, 0].T)
            drawn[row].append(z[:n, 0] * z[row])
    by_row = sympy.Matrix.hstack(*[_mean(values) for values in drawn])
    parts = _mean(every) - floor(Z, K, 1, eta, sigma, beta), by_row - seen(Z, K, 1, eta, sigma, beta)
    text = (
        "Within an epoch Z moves on with the order's own maps. The loss sees the mean of its qq block over the "
        "batches; the drift, by the mean of (q_i - sigma xi) H_i A^T K^-1 q over the steps that draw row i, has in "
        "place of C"
    )
    return Derivation("momentum-epoch-seen", "C13", text, sympy.Symbol("E[q q_i | i drawn]"), entries(*parts))


def derive_drift() -> Derivation:
    """An epoch of three batches, each with its own mean force along M, the velocity back where it began."""
    p, forces = sympy.Symbol("p", real=True), sympy.symbols("m1:4", real=True)
    velocities = [p]
    for force in forces:
        velocities.append(beta * velocities[-1] + force)
    steady = sympy.solve(velocities[-1] - p, p)[0]
    moved = -eta * sum(velocities[1:], sympy.S.Zero).subs(p, steady)
    P_T, h_ = sympy.symbols("P_T h", commutative=False)
    shown = sympy.Eq(sympy.Symbol("du/dk"), -eta / (2 * (1 - beta)) * P_T * h_, evaluate=False)
    text = (
        "Forces that differ from batch to batch move the slow point over an epoch by their sum, -eta / (1 - beta) "
        "times: the drift is that of C13 with the mean over the epoch's draws,"
    )
    return Derivation("momentum-epoch-drift", "C13", text, shown, entries(moved + eta / (1 - beta) * sum(forces)))


def derive_small_rate() -> Derivation:
    """n = 2, B = 1: the leading orders of plain heavy ball solve the epoch's equation; floor and drift see its C."""
    n, K = 2, symmetric("K", 2)
    qq, qa, aa = symmetric("F", n), matrix("Y", n, n), symmetric("V", n)
    known = dict(zip([*qq, *qa, *aa], itertools.chain(*momentum.small_rate(K, sympy.S.One)), strict=True))
    Z = sympy.Matrix(sympy.BlockMatrix([[eta * qq, eta * qa], [eta * qa.T, aa]]))

    def order(block: MatrixBase, k: int) -> MatrixBase:
        return block.applyfunc(lambda x: x.expand().coeff(eta, k)).subs(known)

    change = next_moment(Z, K, 1, eta, sigma, beta) - Z
    blocks = (change[:n, :n], 2), (change[:n, n:], 1), (change[n:, n:], 0)
    parts = [order(block, k) for block, last in blocks for k in range(last + 1)]
    parts += [order(found(Z, K, 1, eta, sigma, beta), 1) - qq.subs(known) for found in (floor, seen)]
    shown = sympy.Eq(noise_floor.C_, eta * sigma**2 * noise_floor.K_ / (2 * B * (1 - beta)))
    text = "For small eta shuffling changes neither floor nor drift; both see plain heavy ball's"
    return Derivation("momentum-epoch-small-eta", "C13", text, shown, entries(*parts))


def derive_orthogonal() -> Derivation:
    """Two orthogonal rows, one to a batch: where I minus the map of one row's three moments is singular."""
    k, one = sympy.Symbol("k", positive=True), symmetric("z", 2)
    K, names = k * sympy.eye(2), (one[0, 0], one[0, 1], one[1, 1])
    Z = sympy.Matrix(4, 4, lambda i, j: one[i // 2, j // 2] if i % 2 == j % 2 else 0)  # rows apart: no moment of both
    after = next_moment(Z, K, 1, eta, sigma, beta)
    change = sympy.Matrix([after[i, j] - Z[i, j] for i, j in ((0, 0), (0, 2), (2, 2))])
    rest = sympy.solve(list(change), names, dict=True)[0][names[0]]
    waiting = sympy.sqrt(2 * (1 - beta**2) / beta)
    turning = 4 * (1 + beta) * (1 + beta**2) / (2 + 3 * beta + 2 * beta**2 - beta**3)
    singular, load = change.jacobian(names).det(), eta * k
    stated = load / 4 * beta * (load**2 - waiting**2) * (2 + 3 * beta + 2 * beta**2 - beta**3) * (turning - load)
    plain = rest.subs(beta, 0) - eta * sigma**2 * k / (2 - load)
    apart = seen(Z, K, 1, eta, sigma, beta)[0, 1]
    text = (
        "Two orthogonal rows (K = k, B = 1): without momentum an epoch leaves no noise from the choice of rows, stable "
        "below eta k = 2; with it the time between two draws of a row is random and tells. Stable below eta k ="
    )
    shown = sympy.Min(waiting, turning)
    return Derivation("momentum-epoch-orthogonal", "C9, C13", text, shown, entries(singular - stated, plain, apart))


@functools.cache
def derivations() -> tuple[Derivation, ...]:
    """Return the equation of an epoch, what loss and drift see of it, its limit of small eta, a case in closed form."""
    return (
        derive_batch(),
        derive_epoch(),
        derive_seen(),
        derive_drift(),
        derive_small_rate(),
        derive_orthogonal(),
    )
