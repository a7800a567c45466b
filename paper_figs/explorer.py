"""The explorer: `marimo run paper_figs/explorer.py`.

Sliders move the law's curves at once; a button runs SGD on top.
"""

import marimo

app = marimo.App(width="full", app_title="latedecay explorer")


@app.cell
def _imports():
    import sys
    from pathlib import Path

    import marimo as mo

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from paper_figs import explorer_law, explorer_panels

    return explorer_law, explorer_panels, mo


@app.cell
def _sliders(mo):
    def slider(label, start, stop, value, step=None, steps=None):
        ranges = {"steps": steps} if steps is not None else {"start": start, "stop": stop, "step": step}
        return mo.ui.slider(**ranges, value=value, label=label, show_value=True, full_width=True)

    n = slider("rows n", 1, 20, 8, 1)
    d = slider("dimension d", 4, 100, 30, 2)
    depth = slider("depth D", 1, 6, 2.0, 0.25)
    load = slider("η / stability limit", 0.05, 0.95, 0.6, 0.05)
    batch = slider("batch B", 1, 64, 4, steps=[1, 2, 4, 8, 16, 32, 64])
    sigma = slider("label noise σ", 0.01, 0.2, 0.08, steps=[0.01, 0.02, 0.03, 0.05, 0.08, 0.1, 0.15, 0.2])
    rho0 = slider("start ρ₀ / |w_mn|", 0.2, 3.0, 1.5, 0.1)
    decay = slider("decay time, share of the run", 0.0, 1.0, 0.5, 0.02)
    turn = slider("turn the landscape, degrees", 0, 355, 30, 5)
    seed = mo.ui.number(0, 99, value=0, label="data seed")
    run = mo.ui.run_button(label="Run SGD on top")
    controls = mo.vstack([n, d, depth, load, batch, sigma, rho0, decay, turn, seed, run])
    return batch, controls, d, decay, depth, load, n, rho0, run, seed, sigma, turn


@app.cell
def _head(controls, mo):
    mo.vstack([mo.sidebar(controls, width="22rem"), mo.md("# When to decay the learning rate")])
    return


@app.cell
def _curves(batch, d, decay, depth, explorer_law, explorer_panels, load, mo, n, rho0, run, seed, sigma):
    # one cell, and nothing downstream of it: each further cell would add to what a move of a slider takes
    import time

    setting = explorer_law.Setting(
        n=n.value,
        d=max(d.value, n.value + 2),
        depth=depth.value,
        load=load.value,
        batch=batch.value,
        sigma=sigma.value,
        rho0=rho0.value,
        decay=decay.value,
        seed=int(seed.value),
    )
    began = time.perf_counter()
    curves = explorer_law.curves(setting)
    milliseconds = 1e3 * (time.perf_counter() - began)
    simulated, note = None, ""
    if run.value and curves.horizon > explorer_law.MOST_STEPS:
        note = f"SGD would take {curves.horizon:,.0f} steps: raise σ or η, or the start."
    elif run.value:
        with mo.status.spinner("running SGD"):
            simulated = explorer_law.simulated(setting)
        note = f"SGD: 16 runs of {curves.horizon:,.0f} steps, bars ± 2 standard errors."
    mo.Html(
        '<div id="panels" style="display:grid;grid-template-columns:repeat(auto-fit,minmax(290px,1fr));gap:8px">'
        f"{explorer_panels.panels(curves, simulated)}</div>"
        f'<p id="sentence">{explorer_panels.sentence(setting, curves)} {note}</p>'
        f'<p style="color:#777" id="timing">law in {milliseconds:.0f} ms</p>'
    )
    return


@app.cell
def _landscape(depth, explorer_panels, mo, turn):
    mo.Html(explorer_panels.landscape(depth.value, turn.value))
    return


if __name__ == "__main__":
    app.run()
