"""Late decay on a real network: one trunk at the large learning rate, decays branched off it, four kinds of noise."""

import numpy as np
import xarray
from matplotlib.figure import Figure

from numerics.check import Check, Margin, critical_value
from numerics.plotting import COLOURS, letter, markers, new_figure
from paper_figs.networks import trained
from paper_figs.record import checked, dataset, var
from paper_figs.systems import mean_sem

CLAIMS: tuple[str, ...] = ()
ALT = (
    "Three panels for a network trained on digits. Train loss is fitted early while test loss goes on falling. "
    "Final test loss against the decay step: falls with fresh label noise, flat "
    "without noise. Test accuracy after decay: rises with the decay step under fresh label noise."
)
KINDS = {
    "fresh": ("fresh label noise", "simulation", "o"),
    "static": ("static label errors", "second", "^"),
    "minibatch": ("minibatch noise only", "small-eta", "s"),
    "none": ("no noise (full batch)", "reference", "D"),
}


def data(small: bool, seed: int) -> xarray.Dataset:
    """Trunks and branches of the digits experiment; the benefit of the latest decay over the first after saturation."""
    from numerics.networks import late_decay

    with trained(tuple(KINDS), small=small, seeds=6, seed=seed) as (experiment, _):
        found = late_decay.measure(experiment)
        configuration = experiment.configuration
    later = found.steps >= found.saturated
    ends = {kind: found.final[kind][later][[0, -1]] for kind in KINDS}
    change = {kind: (last - first) / first.mean() for kind, (first, last) in ends.items()}
    variables = {
        "kind": var("kind", np.array(list(KINDS)), "kind of label noise"),
        "step": var("record", next(iter(found.trunks.values())).steps, "SGD steps", "step"),
        "train": var(
            "kind record",
            np.array([found.trunks[k].train.mean(axis=1) for k in KINDS]),
            "train loss on clean labels, mean over seeds",
        ),
        "test": var(
            "kind record", np.array([found.trunks[k].test.mean(axis=1) for k in KINDS]), "test loss, mean over seeds"
        ),
        "decay": var("branch", found.steps, "decay step", "step"),
        "final": var(
            "kind branch moment",
            np.array([mean_sem(found.final[k]) for k in KINDS]),
            "test loss after decay, mean and standard error",
        ),
        "accuracy": var(
            "kind branch moment",
            np.array([mean_sem(found.accuracy[k]) for k in KINDS]),
            "test accuracy after decay, mean and standard error",
        ),
        "change": var(
            "kind moment",
            np.array([mean_sem(change[k]) for k in KINDS]),
            "relative change of the final test loss, latest decay against the first after saturation",
        ),
    }
    critical = critical_value(1, configuration.seeds)
    mean, sem = (float(x) for x in mean_sem(change["fresh"]))
    made = [
        Check(
            "C8",
            "fresh label noise: change of final test loss, late decay",
            0.0,
            mean,
            sem,
            Margin(),
            critical,
            side="upper",
        )
    ]
    facts = {
        "saturated": found.saturated,
        "seeds": configuration.seeds,
        "eta": configuration.eta,
        "batch": configuration.batch,
        "noise": configuration.noise,
    }
    return dataset(
        "Late decay on a real network", variables, made, **facts, n=configuration.n_train, factor=configuration.factor
    )


def caption(data: xarray.Dataset) -> str:
    """Relative change with its standard error for every kind."""
    a = data.attrs
    told = ", ".join(
        f"{KINDS[k][0]} {100 * m:+.1f} ± {100 * s:.1f}%"
        for k, (m, s) in zip(data["kind"].values, data["change"].values, strict=True)
    )
    return (
        f"Late decay on a real network: an MLP on {a['n']} digits, squared loss, B = {a['batch']}. The "
        f"train loss has saturated by step {a['saturated']:,}; a trunk at the large learning rate is decayed by a "
        f"factor {a['factor']:g} "
        f"at many steps. Change of the final test loss from the first decay after saturation to the latest: {told} "
        f"(mean ± standard error over {a['seeds']} paired seeds); {checked(data)}. Bars ± 2 standard errors."
    )


def draw(data: xarray.Dataset) -> Figure:
    """Trunk, final loss, accuracy."""
    from matplotlib.ticker import MaxNLocator

    figure, (trunk, final, accuracy) = new_figure(1, 3, height=3.3)
    step = data["step"].values
    x = np.maximum(data["decay"].values.astype(float), data["decay"].values[1] / 2.5)
    for i, (label, colour, symbol) in enumerate(KINDS.values()):
        trunk.plot(step[1:], data["train"].values[i, 1:], ":", color=COLOURS[colour], linewidth=1.3)
        trunk.plot(step[1:], data["test"].values[i, 1:], color=COLOURS[colour], linewidth=1.3)
        for ax, name, scale in ((final, "final", 1.0), (accuracy, "accuracy", 100.0)):
            mean, sem = scale * data[name].values[i].T
            ax.plot(x, mean, color=COLOURS[colour], linewidth=0.8)
            markers(ax, x, mean, sem, label, colour=colour, symbol=symbol)
    trunk.plot([], [], ":", color="black", label="(a) train, clean labels")
    trunk.plot([], [], color="black", label="(a) test")
    for ax in (trunk, final, accuracy):
        ax.axvline(data.attrs["saturated"], color=COLOURS["reference"], linestyle="--", linewidth=0.9)
        ax.set(xscale="log", xlabel="step of the decay (first: 0)")
    low = float(data["train"].values[0].min())
    trunk.set(yscale="log", xlabel="step", ylabel="loss", title="fitted early, test falls on", ylim=(0.2 * low, None))
    final.set(ylabel="test loss after decay", title="decay later, end lower", yscale="log")
    final.yaxis.set_major_locator(MaxNLocator(6))
    final.yaxis.set_major_formatter("{x:g}")
    final.minorticks_off()
    accuracy.set(ylabel="test accuracy after decay (%)", title="... and more accurate")
    # below the panels, kinds in two columns and line styles in the third: no corner of (a) is free of curves
    handles, labels = (
        kinds + styles
        for kinds, styles in zip(final.get_legend_handles_labels(), trunk.get_legend_handles_labels(), strict=True)
    )
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    letter([trunk, final, accuracy])
    return figure
