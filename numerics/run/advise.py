"""`advise`: when to decay, from the law alone, in under a second. Imports neither torch nor any simulator."""

import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from numerics.errors import InputError
from numerics.run.options import Batch, Data, DecayFactor, Depth, Features, Gamma, Rows, Sigma, Target, depth_of

if TYPE_CHECKING:
    from numerics.decay_plan import Advice, Decay

Budget = Annotated[
    int | None, typer.Option(help="steps from the end of Phase I, cooldown included; none: as many as pay")
]
Eta = Annotated[float | None, typer.Option(help="large learning rate, if it is not for the law to choose")]
Margin = Annotated[float, typer.Option(help="largest learning rate allowed, as a share of the stability limit")]
Tolerance = Annotated[float, typer.Option(help="gain left over that is not worth waiting for, as a share of the whole")]
Rho0 = Annotated[float | None, typer.Option(help="distance from the minimum-norm solution after Phase I [1.5 |w_mn|]")]
Seed = Annotated[int, typer.Option(help="of the rows and of the start's direction")]
Out = Annotated[Path | None, typer.Option(help="folder for summary.json")]


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("advise")(command)


def command(
    data: Data = "digits",
    n: Rows = None,
    features: Features = None,
    target: Target = None,
    depth: Depth = None,
    gamma: Gamma = None,
    sigma: Sigma = 0.03,
    batch: Batch = 4,
    budget: Budget = None,
    eta: Eta = None,
    margin: Margin = 0.8,
    decay_factor: DecayFactor = 10.0,
    tolerance: Tolerance = 0.01,
    rho0: Rho0 = None,
    seed: Seed = 0,
    out: Out = None,
) -> None:
    """When to decay, from the law alone: learning rate, decay step, cooldown, and what other choices lose."""
    from dataclasses import asdict

    from numerics.files import write_json
    from numerics.memory import require, resident
    from numerics.provenance import provenance
    from numerics.run.memory import PROBLEM_REMEDY
    from numerics.run.memory import advise as peak
    from numerics.run.session import session
    from numerics.run.settings import files_of

    problem = {"data": data, "n": n, "features": features, "target": target, "seed": seed}
    noise = {"depth": _depth(depth, gamma), "sigma": sigma, "batch": batch}
    terms = {"margin": margin, "factor": decay_factor, "tolerance": tolerance, "budget": budget}
    started = time.perf_counter()
    typer.echo(require(peak(data, n, features), PROBLEM_REMEDY, held=resident()))
    with session(out) if out is not None else nullcontext() as folder:
        advice = advise(problem, noise, terms, rho0=rho0, eta=eta)
        typer.echo(text(advice, decay_factor))
        if folder is not None:
            made = provenance(seed=seed, started=started, threads=1, inputs=files_of(data))
            record = {"problem": problem, **noise, **terms, "advice": asdict(advice), "provenance": made}
            write_json(folder.staging / "summary.json", record)
            typer.echo(f"\nsummary: {folder.out / 'summary.json'}")


def _depth(depth: float | None, gamma: float | None) -> float:
    """D from one of the two options, where the law answers within its second."""
    found = depth_of(depth, gamma)
    if not 1 <= found <= 50:
        raise InputError("depth", found, "is not between 1 and 50", "give a depth such as 3")
    return found


def advise(
    problem: dict[str, Any], noise: dict[str, Any], terms: dict[str, Any], *, rho0: float | None, eta: float | None
) -> "Advice":
    """The advice for data, noise and terms as the options name them."""
    from threadpoolctl import threadpool_limits

    from numerics import data, start
    from numerics.advice import Advisor
    from numerics.power_law import PowerLaw
    from numerics.scalar_law import RadialLaw, RadialManifold

    _check_noise(noise)
    with threadpool_limits(1):
        rows = 20 if problem["n"] is None and problem["data"] in data.NAMES else problem["n"]
        loaded = data.load(
            **{"spec": problem["data"]}, n=rows, **{k: problem[k] for k in ("seed", "features", "target")}
        )
        direction = start.null_direction(loaded, problem["seed"], _own_direction(loaded))
        manifold = RadialManifold(PowerLaw(noise["depth"]), loaded.gram, loaded.y, loaded.norm_w_mn)
        law = RadialLaw(manifold, noise["batch"], noise["sigma"])
        distance = 1.5 * loaded.norm_w_mn if rho0 is None else rho0
        return Advisor(law, loaded.reduced(direction), distance, **terms).advise(eta)


def _check_noise(noise: dict[str, Any]) -> None:
    if noise["batch"] < 1:
        raise InputError("batch", noise["batch"], "is below 1", "give at least one row per step")
    if not 0 <= noise["sigma"] < float("inf"):
        raise InputError("sigma", noise["sigma"], "is not a standard deviation", "give 0 or a positive number")


def _own_direction(problem: Any) -> Any:
    """A start that came with the data sets the direction, where it has the right length."""
    return problem.u0 if problem.u0 is not None and problem.u0.shape == (problem.d,) else None


def text(advice: "Advice", factor: float) -> str:
    """The advice as lines."""
    chosen = advice.chosen
    share = advice.eta / advice.stability_limit
    lines = [
        f"stability limit       eta < {advice.stability_limit:.4g}  (C9)",
        f"large learning rate   {advice.eta:.4g}, {share:.0%} of it (margin {advice.margin:.0%}); "
        f"{advice.eta / factor:.4g} after the decay",
        f"Phase I saturates     within about {advice.saturation:,.0f} steps  (C1)",
        f"decay at              step {chosen.step:,} after that  (rho there {chosen.rho:.4g})",
        f"cooldown              {chosen.cooldown:,} steps; Phase III needs {advice.settling:,.0f} for the test loss, "
        f"{advice.to_floor:,.0f} for the train loss  (C7)",
    ]
    kind = "final test loss" if advice.test_known else "gain left (of E rho^2/2, C8)"
    lines.append(f"{kind:21} {_judged(advice, chosen, 0)}")
    lines.append(f"  decay at half       step {advice.earlier.step:,}: {_judged(advice, advice.earlier, 1)}")
    if advice.later is None:
        lines.append("  decay at twice      outside the budget")
    else:
        lines.append(f"  decay at twice      step {advice.later.step:,}: {_judged(advice, advice.later, 2)}")
    return "\n".join([*lines, *(f"note: {note}" for note in advice.notes)])


def _judged(advice: "Advice", decay: "Decay", which: int) -> str:
    """A decay's final test loss and what it loses; without a test loss the share of the gain it leaves."""
    if not advice.test_known:
        return f"{advice.gain_left[which]:.1%} of the whole"
    change = decay.final_loss / advice.chosen.final_loss - 1
    return f"{decay.final_loss:.5g}" + (f" ({change:+.2%})" if which else "")
