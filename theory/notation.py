"""The one table of symbols: name in formulas, name in options, shape, meaning, LaTeX.

Formulas everywhere in this package use the names of this table, and options spell them out. Source: the field's usual
notation (Li, Wang, Arora 2022; Damian, Ma, Lee 2021; Ren, Ma, Ying 2024).
"""

from dataclasses import dataclass

import sympy

# Scalars of the derivations. Positivity is declared where the mathematics has it: sympy then merges powers.
r = sympy.Symbol("r", positive=True)
q = sympy.Symbol("q", positive=True)
rho = sympy.Symbol("rho", positive=True)
nu = sympy.Symbol("nu", positive=True)
u = sympy.Symbol("u", real=True)
a = sympy.Symbol("a", real=True)
b = sympy.Symbol("b", real=True)
D = sympy.Symbol("D", positive=True)
eta = sympy.Symbol("eta", positive=True)
B = sympy.Symbol("B", positive=True)
sigma = sympy.Symbol("sigma", positive=True)
beta = sympy.Symbol("beta", positive=True)
n = sympy.Symbol("n", positive=True)
frobenius = sympy.Symbol("X_F", positive=True)  # Frobenius norm of X
label_norm = sympy.Symbol("y_norm", positive=True)
w_mn_norm = sympy.Symbol("w_mn_norm", positive=True)


@dataclass(frozen=True)
class Entry:
    """One row of the table: a symbol, the option that sets it ('' for none), shape, meaning, LaTeX."""

    symbol: str
    option: str
    shape: str
    meaning: str
    latex: str


TABLE = (
    Entry("X", "data", "(n, d)", "training inputs, rows x_i, full row rank, n < d", "X"),
    Entry("y", "data", "(n,)", "training labels", "y"),
    Entry("w_star", "data", "(d,)", "teacher", "w_\\star"),
    Entry("u", "", "(p,)", "trainable parameter; for a diagonal network the concatenation of a and b", "u"),
    Entry("a", "", "(d,)", "first factor of a diagonal network", "a"),
    Entry("b", "", "(d,)", "second factor of a diagonal network", "b"),
    Entry("w", "", "(d,)", "effective linear predictor F(u)", "w"),
    Entry("J", "", "(d, p)", "Jacobian of F", "J"),
    Entry("A", "", "(n, p)", "X J, rows g_i = gradient of f_i", "A"),
    Entry("K", "", "(n, n)", "tangent-kernel Gram matrix A A^T", "K"),
    Entry("C", "", "(n, n)", "stationary covariance of the residuals X F(u) - y", "C"),
    Entry("S", "", "(p, p)", "stationary covariance of the parameters, A^T K^-1 C K^-1 A", "S"),
    Entry("H", "", "(p, p)", "Hessian of the train loss; A^T A / n on the manifold", "H"),
    Entry("P_T", "", "(p, p)", "projector on the tangent space of the manifold", "P_T"),
    Entry("L", "", "scalar", "train loss |X F(u) - y|^2 / (2 n)", "L"),
    Entry("R", "", "scalar", "test loss", "R"),
    Entry("M", "", "set", "minima manifold, X F(u) = y", "\\mathcal{M}"),
    Entry("w_mn", "", "(d,)", "minimum-norm interpolator", "w_{\\mathrm{mn}}"),
    Entry("r", "", "scalar", "norm of u", "r"),
    Entry("q", "", "scalar", "squared norm of u (in kernels); residual vector (in noise derivations)", "q"),
    Entry("rho", "rho0", "scalar", "norm of the part of w in the null space of X", "\\rho"),
    Entry("nu", "", "scalar", "norm of the part of u in the null space of X", "\\nu"),
    Entry("D", "depth", "scalar", "depth, real, at least 1", "D"),
    Entry("eta", "eta", "scalar", "learning rate", "\\eta"),
    Entry("B", "batch", "scalar", "batch size, drawn with replacement", "B"),
    Entry("sigma", "sigma", "scalar", "standard deviation of the label noise", "\\sigma"),
    Entry("beta", "momentum", "scalar", "heavy-ball momentum", "\\beta"),
    Entry("n", "n", "scalar", "number of training samples", "n"),
    Entry("d", "d", "scalar", "dimension of the inputs", "d"),
)

# How a symbol is written where its name is not it: (readable text, LaTeX).
SPELLING = {
    "X_F": ("‖X‖", r"\|X\|_F"),
    "y_norm": ("‖y‖", r"\|y\|"),
    "w_mn_norm": ("‖w_mn‖", r"\|w_{\mathrm{mn}}\|"),
    "|w|^2": ("‖w‖²", r"\|w\|^2"),
    "rho": ("ρ", r"\rho"),
    "nu": ("ν", r"\nu"),
    "eta": ("η", r"\eta"),
    "sigma": ("σ", r"\sigma"),
    "beta": ("β", r"\beta"),
    "lambda": ("λ", r"\lambda"),
    "psi": ("ψ", r"\psi"),
    "psi'": ("ψ′", r"\psi'"),
    "X*X^T": ("X Xᵀ", r"XX^\top"),
    "y*y^T": ("y yᵀ", r"yy^\top"),
    "X^T": ("Xᵀ", r"X^\top"),
    "A^T": ("Aᵀ", r"A^\top"),
    "A^T*A": ("Aᵀ A", r"A^\top A"),
    "e^T*K*e": ("eᵀ K e", r"e^\top K e"),
    "sum_i(e_i*Hess_f_i)": ("Σ_i e_i Hess f_i", r"\textstyle\sum_i e_i\nabla^2 f_i"),
    "sum_i H_i S g_i": ("Σ_i H_i S g_i", r"\textstyle\sum_i H_i S g_i"),
    "(sum_i (e_i^2 + sigma^2) g_i g_i^T / n - grad_L grad_L^T)": (
        "[Σ_i (e_i² + σ²) g_i g_iᵀ / n - ∇L ∇Lᵀ]",
        r"\left[\tfrac1n\textstyle\sum_i (e_i^2+\sigma^2) g_i g_i^\top - \nabla L\nabla L^\top\right]",
    ),
    "sum_{i<j} (v_i z_i - v_j z_j)^2": (
        "Σ_{i<j} (v_i z_i - v_j z_j)²",
        r"\textstyle\sum_{i<j}(v_i z_i - v_j z_j)^2",
    ),
    "tr[(dK/dr)*K^-1*C]": ("tr[(dK/dr) K⁻¹ C]", r"\operatorname{tr}[(dK/dr)K^{-1}C]"),
    "log_det(I-eta*H/2)": ("log det(I - η H / 2)", r"\log\det(I-\eta H/2)"),
    "|X|_F^2/|X|_op^2": ("‖X‖_F² / ‖X‖_op²", r"\|X\|_F^2/\|X\|_{\mathrm{op}}^2"),
    "sum_i H_i A^T K^-1": ("Σ_i H_i Aᵀ K⁻¹", r"\textstyle\sum_i H_i A^\top K^{-1}"),
    "E[q q_i | i drawn]": ("E[q q_i | i drawn]", r"\mathrm{E}[q\,q_i \mid i\ \mathrm{drawn}]"),
    "M^T": ("Mᵀ", r"M^\top"),
    "KP_T": ("K P_T", "KP_T"),
    "diag(C)": ("diag(C)", r"\operatorname{diag}(C)"),
    "grad_L": ("∇L", r"\nabla L"),
    "grad_Q": ("∇Q·", r"\nabla Q\cdot"),
    "grad_tr_H": ("∇tr H", r"\nabla\operatorname{tr}H"),
    "Hess_L": ("Hess L", r"\nabla^2 L"),
    "tr_H": ("tr H", r"\operatorname{tr}H"),
    "tr_K": ("tr K", r"\operatorname{tr}K"),
    "nullity_H": ("nullity H", r"\operatorname{nullity}H"),
    "E_L": ("E L", r"\mathrm{E}L"),
    "det": ("det", r"\det"),
    "P_T": ("P_T", "P_T"),
    "r_k": ("r_k", "r_k"),
    "w_j": ("w_j", "w_j"),
    "dL/dt": ("dL/dt", r"\dot L"),
    "rho_star": ("ρ*", r"\rho_\star"),
    "dR/dk": ("dR/dk", r"\frac{dR}{dk}"),
    "R_0": ("R(ρ = 0)", r"R(\rho = 0)"),
    "R_min": ("R_min", r"R_{\min}"),
    "E rho_star^2": ("E ρ*²", r"\mathrm{E}\,\rho_\star^2"),
    "|P_N w_star|^2": ("‖P_N w*‖²", r"\|P_N w_\star\|^2"),
    "P_N u_k": ("P_N u_k", "P_N u_k"),
    "P_N u_{k+1}": ("P_N u_k+1", "P_N u_{k+1}"),
    "X w": ("X w", "Xw"),
    "f_b": ("f_b", "f_b"),
    "Laplacian(rho_Phi)": ("Δ(ρ∘Φ)", r"\Delta(\rho\circ\Phi)"),
    "tau": ("τ", r"\tau"),
    "eta_sq": ("η of the squared loss", r"\eta_{\mathrm{squared}}"),
    "sigma_sq^2": ("σ² of the squared loss", r"\sigma_{\mathrm{squared}}^2"),
    **{f"d{x}/dk": (f"d{x}/dk", rf"\frac{{d{x}}}{{dk}}") for x in ("u", "z", "Q")},
    "drho/dk": ("dρ/dk", r"\frac{d\rho}{dk}"),
    "dk/drho": ("dk/dρ", r"\frac{dk}{d\rho}"),
}


def text_name(symbol: sympy.Symbol) -> str:
    """How `symbol` is written in readable text."""
    return SPELLING.get(str(symbol), (str(symbol),))[0]


def latex_name(symbol: sympy.Symbol) -> str:
    """How `symbol` is written in LaTeX."""
    name = str(symbol)
    return SPELLING[name][1] if name in SPELLING else str(sympy.latex(symbol))
