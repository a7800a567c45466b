"""`advise`: when to decay, from the law alone, in under a second. Imports neither torch nor any simulator."""

import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from numerics.run.loading import load_problem, start_direction
from numerics.run.options import options_of, values
from numerics.run.settings import AUTO_RHO0, Settings, validated

if TYPE_CHECKING:
    from numerics.decay_plan import Advice, Decay

Budget = Annotated[
    int | None, typer.Option(help="steps from the end of Phase I, cooldown included; none: as many as pay")
]
Eta = Annotated[float | None, typer.Option(help="large learning rate, if it is not for the law to choose")]
Margin = Annotated[float, typer.Option(help="largest learning rate allowed, as a share of the stability limit")]
Tolerance = Annotated[float, typer.Option(help="gain left over that is not worth waiting for, as a share of the whole")]
Rho0 = Annotated[
    float | None, typer.Option(help=f"distance from the minimum-norm solution after Phase I [{AUTO_RHO0} |w_mn|]")
]
Out = Annotated[Path | None, typer.Option(help="folder for summary.json [none is written]")]

_PROBLEM = ("data", "n", "features", "target", "seed")
_NOISE = ("depth", "sigma", "batch")


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("advise")(command)


@options_of(Settings, job="advise", only=(*_PROBLEM, *_NOISE, "decay_factor"))
def command(
    budget: Budget = None,
    eta: Eta = None,
    margin: Margin = 0.8,
    tolerance: Tolerance = 0.01,
    rho0: Rho0 = None,
    out: Out = None,
    **given: Any,
) -> None:
    """When to decay, from the law alone. Learning rate, decay step, cooldown, and what other choices lose."""
    from dataclasses import asdict

    from numerics.files import write_json
    from numerics.memory import require, resident
    from numerics.provenance import provenance
    from numerics.run.memory import PROBLEM_REMEDY
    from numerics.run.memory import advise as peak
    from numerics.run.session import session

    started = time.perf_counter()
    settings = validated(job="advise", out=out or Path(), **values(given))
    terms = {"margin": margin, "factor": settings.decay_factor, "tolerance": tolerance, "budget": budget}
    typer.echo(require(peak(settings), PROBLEM_REMEDY, held=resident()))
    with session(out) if out is not None else nullcontext() as folder:
        advice = advise(settings, terms, rho0=rho0, eta=eta)
        typer.echo(text(advice, settings.decay_factor))
        if folder is not None:
            made = provenance(seed=settings.seed, started=started, threads=1, inputs=settings.inputs)
            asked = {"problem": settings.model_dump(include={*_PROBLEM}), **settings.model_dump(include={*_NOISE})}
            record = {**asked, **terms, "advice": asdict(advice), "provenance": made}
            write_json(folder.staging / "summary.json", record)
            typer.echo(f"\nsummary: {folder.out / 'summary.json'}")


def advise(settings: Settings, terms: dict[str, Any], *, rho0: float | None, eta: float | None) -> "Advice":
    """The advice for the settings' problem and noise, on terms as the options name them."""
    from threadpoolctl import threadpool_limits

    from numerics.advice import Advisor
    from numerics.power_law import PowerLaw
    from numerics.radial_manifold import RadialManifold
    from numerics.scalar_law import RadialLaw

    with threadpool_limits(1):
        problem = load_problem(settings)
        manifold = RadialManifold(PowerLaw(settings.depth), problem.gram, problem.y, problem.norm_w_mn)
        law = RadialLaw(manifold, settings.batch, settings.sigma)
        direction = start_direction(settings, problem)
        distance = AUTO_RHO0 * problem.norm_w_mn if rho0 is None else rho0
        return Advisor(law, problem.reduced(direction), distance, **terms).advise(eta)


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
