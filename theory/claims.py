"""C1 to C16 as frozen records: what is claimed, under which conditions, who said it first, which functions
realise it.

Conditions are predicates on a `Situation` (`theory.conditions`); `verify` evaluates them before it
compares. Outside them a check reports "outside conditions", never pass and never fail.
"""

from dataclasses import dataclass

from theory.conditions import (
    CONSISTENT,
    DEEP,
    FLIPS,
    LABEL_NOISE,
    MOMENTUM,
    OVERPARAMETRISED,
    QUASISTATIC,
    RELAXED,
    RIGHT_DEPTH,
    SATURATED,
    SLOW,
    SQUARED,
    STABLE,
    UNALIGNED,
    Condition,
    Situation,
)


@dataclass(frozen=True)
class Claim:
    """One claim. ``figure`` is the stem in `paper_figs`, "" where ``no_figure`` gives the reason."""

    number: str
    title: str
    statement: str
    latex: tuple[str, ...]
    conditions: tuple[Condition, ...]
    source: str
    realised_by: tuple[str, ...]
    figure: str = ""
    no_figure: str = ""

    def evaluate(self, situation: Situation) -> dict[str, bool]:
        """Condition name -> whether it holds in this situation."""
        return {condition.name: condition.holds(situation) for condition in self.conditions}


CLAIMS = (
    Claim(
        number="C1",
        title="Saturation",
        statement=(
            "Gradient flow lowers the train loss at least exponentially, at twice the least tangent-kernel eigenvalue."
        ),
        latex=(
            r"\dot L \leq -2\mu L,\quad \mu = \inf\,\lambda_{\min}(K)/n",
            r"K = r^{2D-2}\left(XX^T + (D^2-1)\,X\hat u\,(X\hat u)^T\right) \succeq r^{2D-2}XX^T",
        ),
        conditions=(OVERPARAMETRISED, CONSISTENT),
        source="Polyak 1963; for radial parametrizations derived in theory.landscape",
        realised_by=("numerics.radial_manifold:RadialManifold.kernel",),
        figure="fig_phases",
    ),
    Claim(
        number="C2",
        title="Noise floor",
        statement=(
            "At any learning rate and batch size the residual's covariance C solves one linear equation; E L = tr "
            "C / 2n."
        ),
        latex=(
            r"\frac{\eta}{n}(KC+CK) - \eta^2\left[(1-\frac{1}{B})\frac{KCK}{n^2}"
            r" + \frac{K\,\mathrm{diag}(C)\,K}{Bn}\right]"
            r" = \frac{\eta^2\sigma^2}{Bn}K^2",
            r"\mathrm{E}\,L = \mathrm{tr}\,C/2n \approx \eta\sigma^2\,\mathrm{tr}H/4B",
        ),
        conditions=(OVERPARAMETRISED, LABEL_NOISE, STABLE, QUASISTATIC, SQUARED, RIGHT_DEPTH),
        source="derived in theory.noise_floor",
        realised_by=("numerics.noise_floor:stationary_covariance", "numerics.noise_floor:floor"),
        figure="fig_noise_floor",
    ),
    Claim(
        number="C3",
        title="Slow law",
        statement=(
            "On the manifold of minima SGD drifts along the projected gradient of curvature weighted by its own "
            "fluctuations."
        ),
        latex=(
            r"\frac{du}{dk} = -\frac{\eta}{2}P_T h,\quad h = \frac{2}{n}\sum_i \nabla^2 f_i\,S\,g_i,\quad"
            r" S = A^TK^{-1}CK^{-1}A",
            r"\eta\to 0:\quad -\frac{\eta^2\sigma^2}{4B}P_T\nabla\,\mathrm{tr}H",
        ),
        conditions=SLOW,
        source="small eta: Li, Wang, Arora 2022; full batch: Damian, Ma, Lee 2021; general: derived in theory.slow_law",
        realised_by=("numerics.slow_law:SeparableLaw.drift",),
        figure="fig_slow_law",
    ),
    Claim(
        number="C4",
        title="Radial reduction",
        statement=(
            "For a radial parametrization the drift is one scalar equation for the distance from the minimum-norm "
            "solution."
        ),
        latex=(
            r"\frac{d\rho}{dk} = -\frac{\eta}{2}\,\frac{G(r)\,\rho}{D\,r\,[1-(1-D^{-2})\rho^2/r^{2D}]}",
            r"G = \frac{2}{n}\mathrm{tr}\left(\left[\frac{D-1}{r}K - \frac{D(D^2-1)}{r^3}yy^T\right]K^{-1}C\right)",
        ),
        conditions=SLOW,
        source="derived in theory.scalar_law",
        realised_by=("numerics.scalar_law:RadialLaw.log_rate", "numerics.scalar_law:RadialLaw.path"),
        figure="fig_scalar_law",
    ),
    Claim(
        number="C5",
        title="Selection threshold",
        statement=(
            "The minimum-norm solution is the flattest exactly when the data are rich enough; otherwise the drift "
            "stops before it."
        ),
        latex=(
            r"(D+1)\,\|y\|^2 \leq \|X\|_F^2\,\|w_{mn}\|^2,\quad \|w\|^2_{\mathrm{rest}} = (D+1)\,\|y\|^2/\|X\|_F^2",
        ),
        conditions=SLOW,
        source="derived in theory.selection",
        realised_by=(
            "numerics.radial_manifold:RadialManifold.flattest_rho",
            "numerics.scalar_law:RadialLaw.resting_rho",
        ),
        figure="fig_selection",
    ),
    Claim(
        number="C6",
        title="Timescale",
        statement=(
            "The steps between two distances are a quadrature; decaying eta tenfold slows the drift a hundredfold."
        ),
        latex=(
            r"k(\rho_0\to\rho_1) = \int_{\rho_1}^{\rho_0}\frac{d\rho}{|d\rho/dk|}\ \propto\ \frac{B}{\eta^2\sigma^2}",
        ),
        conditions=SLOW,
        source="derived in theory.scalar_law",
        realised_by=("numerics.scalar_law:RadialLaw.steps_between",),
        figure="fig_timescale",
    ),
    Claim(
        number="C7",
        title="Final alignment",
        statement=(
            "After the decay the iterate falls onto the manifold and stays: the test loss is that of the distance "
            "reached."
        ),
        latex=(r"R \to \frac{1}{2}\,\|\rho(k_d)\,\hat z - P_N w_\star\|^2",),
        conditions=(*SLOW, SATURATED, RELAXED),
        source="derived in theory.scalar_law; model of Ren, Ma, Ying 2024",
        realised_by=("numerics.radial_manifold:RadialManifold.relaxed", "numerics.scalar_law:RadialLaw.path"),
        figure="fig_alignment",
    ),
    Claim(
        number="C8",
        title="Decay-time curve",
        statement=(
            "The final test loss falls with the decay time until the distance reaches its best value, then rises "
            "by no more than half that distance squared."
        ),
        latex=(
            r"\rho_\star = \max(0, \hat z\cdot V^Tw_\star),\quad R(k_d\to\infty)-R_{\min} \leq \frac{1}{2}\rho_\star^2",
            r"\mathrm{E}\,\rho_\star^2 \leq \|P_Nw_\star\|^2/(d-n)",
        ),
        conditions=(*SLOW, SATURATED, RELAXED, UNALIGNED),
        source="derived in theory.decay_time",
        realised_by=("numerics.scalar_law:RadialLaw.path",),
        figure="fig_decay_time",
    ),
    Claim(
        number="C9",
        title="Mean-square stability",
        statement=(
            "The second moment of the residual stays bounded exactly below one learning rate, which rises with "
            "the batch size."
        ),
        latex=(r"\mathrm{spr}\left(C \mapsto C - \frac{\eta}{n}(KC+CK) + \eta^2[\ldots]\right) < 1",),
        conditions=(OVERPARAMETRISED, SQUARED, RIGHT_DEPTH),
        source="Mulayoff, Michaeli 2023; this form derived in theory.noise_floor",
        realised_by=("numerics.noise_floor:stability_limit", "numerics.noise_floor:Fluctuations"),
        figure="fig_stability",
    ),
    Claim(
        number="C10",
        title="Controls",
        statement=(
            "Without fresh label noise, without depth, or with other noise, the drift is absent or another one."
        ),
        latex=(
            r"\sigma = 0:\ u\ \mathrm{stays};\quad D = 1:\ P_Nw\ \mathrm{stays};",
            r"\mathrm{isotropic}:\ \mathrm{Var}\,\rho = \eta^2\tau^2k\,|d\rho/du|^2,\quad"
            r"\mathrm{drift}\ \frac{1}{2}\eta^2\tau^2\,\Delta(\rho\circ\Phi)",
        ),
        conditions=(OVERPARAMETRISED, STABLE, SQUARED),
        source="derived in theory.controls; isotropic noise: Katzenberger 1991, limit map of theory.invariants",
        realised_by=("numerics.noise_laws:isotropic_rates", "numerics.radial_manifold:RadialManifold.relaxed"),
        figure="fig_controls",
    ),
    Claim(
        number="C11",
        title="Classification",
        statement=(
            "Cross-entropy with freshly flipped labels obeys the same laws with H and noise scaled by the flip "
            "variance."
        ),
        latex=(r"q = p_f(1-p_f),\quad f_i = \pm\ln\frac{1-p_f}{p_f},\quad H \to qH,\ \mathrm{noise\ variance}\ q",),
        conditions=(OVERPARAMETRISED, FLIPS, STABLE, QUASISTATIC, RIGHT_DEPTH),
        source="derived in theory.classification",
        realised_by=("numerics.classification_law:flip_law",),
        figure="fig_classification",
    ),
    Claim(
        number="C12",
        title="Dimension reduction",
        statement=(
            "The radial SGD path stays in the span of the rows and the start; there it is the same path, whatever d."
        ),
        latex=(r"u_k \in \mathrm{span}(x_1,\ldots,x_n,u_0)",),
        conditions=(OVERPARAMETRISED,),
        source="derived in docs; exact",
        realised_by=("numerics.sgd:RadialSGD", "numerics.problem:Problem.reduced"),
        no_figure="an identity to rounding has nothing to plot",
    ),
    Claim(
        number="C13",
        title="Momentum",
        statement=(
            "Heavy ball has its own finite-learning-rate covariance and drift, another one under shuffled epochs; at "
            "small eta both are SGD at eta/(1 - beta)."
        ),
        latex=(
            r"(q, Ap) \mapsto [[I-\eta K/n,\ -\eta\beta I],\ [K/n,\ \beta I]]\,(q, Ap) + \zeta",
            r"\frac{du}{dk} = -\frac{\eta}{2(1-\beta)}\,P_T h",
            r"\mathrm{shuffled\ epochs}:\ Z = \mathrm{E}\,(M Z M^\top + N)\ \mathrm{over\ the\ orders\ of\ the\ rows}",
        ),
        conditions=(*SLOW, MOMENTUM),
        source="derived in theory.momentum and theory.momentum_epochs; condition: Cowsik et al. 2022",
        realised_by=(
            "numerics.momentum_law:MomentumLaw",
            "numerics.momentum_law:momentum_stability_limit",
            "numerics.epoch_law:EpochMoments",
        ),
        figure="fig_momentum",
    ),
    Claim(
        number="C14",
        title="SDE approximations",
        statement=(
            "The stochastic differential equation is weakly first order in eta against SGD, with corrected drift "
            "second order."
        ),
        latex=(
            r"du = -\nabla L\,dt + \sqrt{\eta}\,\Sigma^{1/2}dW:\ O(\eta);\quad"
            r"-\nabla(L+\frac{\eta}{4}\|\nabla L\|^2):\ O(\eta^2)",
        ),
        conditions=(OVERPARAMETRISED, STABLE, SQUARED),
        source="Li, Tai, E 2017",
        realised_by=("numerics.sde_law:sde_moment", "numerics.sde_law:sgd_moment"),
        figure="fig_sde",
    ),
    Claim(
        number="C15",
        title="Landscape",
        statement=(
            "At a minimum the train Hessian has d - n zero directions and valleys that narrow with norm and depth."
        ),
        latex=(
            r"\dim\ker\nabla^2L(w_{mn}) = d-n,\quad"
            r" \mathrm{half\ widths}\ \sqrt{2\varepsilon/\lambda_i(K/n)} \sim r^{-(D-1)}",
        ),
        conditions=(OVERPARAMETRISED, DEEP),
        source="derived in theory.landscape",
        realised_by=("numerics.radial_manifold:RadialManifold.kernel",),
        figure="fig_landscape",
    ),
    Claim(
        number="C16",
        title="Pathwise identity",
        statement="For f = u v, u^2 - v^2 shrinks by the factor 1 - eta^2 r^2 at every step, exactly.",
        latex=(
            r"(u^2-v^2)_{k+1} = (u^2-v^2)_k\,(1-\eta^2r_k^2)",
            r"\mathrm{E}\,r^2 = \frac{\sigma^2}{1-\eta h/2},\quad h = u^2+v^2",
        ),
        conditions=(LABEL_NOISE, STABLE, QUASISTATIC),
        source="derived in theory.slow_law; exact",
        realised_by=("numerics.sgd:SeparableSGD",),
        no_figure="an identity to rounding has nothing to plot",
    ),
)

BY_NUMBER = {claim.number: claim for claim in CLAIMS}

#: the one table of figure stems that `paper_figs` has to fulfil
FIGURES = tuple(dict.fromkeys(claim.figure for claim in CLAIMS if claim.figure))
