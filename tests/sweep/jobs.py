"""Every command that writes results: a small call of it, and one that no machine has the memory for."""

QUICK = ["--small", "--replicas", "4", "--records", "20", "--steps", "2000", "--data", "gaussian"]

#: command -> arguments of a call that ends within seconds; CONFIG stands for a sweep's configuration
SMALL = {
    **{job: [*QUICK, "--gamma", "1.5"] for job in ("phase1", "phase2", "phase3", "late-decay")},
    "simulate": [*QUICK, "--dynamics", "momentum", "--sampling", "shuffle"],
    "phase-diagram": [
        *("--small", "--data", "gaussian", "--x", "eta-fraction=0.3,0.6", "--y", "sigma=0.02,0.05"),
        *("--replicas", "4", "--steps", "400"),
    ],
    "networks": [
        *("--n-train", "20", "--seeds", "2", "--widths", "6", "--batch", "5", "--threads", "1", "--grid", "5"),
        *("--first-decay", "10", "--last-decay", "80", "--decays", "3", "--branch-steps", "20", "--eta", "0.02"),
        *("--surfaces", "pca"),
    ],
    "network-law": [
        *("--n", "8", "--components", "6", "--widths", "8", "--steps", "100", "--records", "2", "--runs", "2"),
        *("--branch-steps", "20"),
    ],
    "advise": ["--data", "gaussian"],
    "advise-check": ["--problems", "2", "--first", "10010"],
    "schedules-bench": ["--small", "--tasks", "digits mlp mse clean"],
    "bench": [
        *("--small", "--workloads", "W1", "--peers", "numpy", "--n", "4", "--d", "12", "--replicas", "8"),
        *("--seconds", "0.02", "--rounds", "1"),
    ],
    "device-bench": ["--small", "--n", "4", "--d", "12"],
    "device-check": ["--small"],
    "sweep": ["CONFIG"],
}

_COLUMNS = ["--data", "gaussian", "--n", "1000", "--features", "100000000"]
#: command -> arguments of a call that no machine has the memory for
HUGE = {
    **dict.fromkeys(("phase1", "phase2", "phase3", "late-decay", "simulate", "phase-diagram", "advise"), _COLUMNS),
    "networks": ["--widths", "10000000,1000000"],
    "network-law": ["--widths", "10000000,1000000"],
    "device-bench": ["--n", "1000", "--d", "100000000"],
    "advise-check": ["--jobs", "1000000"],
    "schedules-bench": ["--seeds", "100000000"],
    "sweep": ["HUGE-CONFIG"],
}

#: command -> arguments of a call that would take hours
LONG = {
    **{job: ["--small", "--steps", "1000000000"] for job in ("phase1", "phase2", "phase3", "late-decay", "simulate")},
    "phase-diagram": ["--small", "--steps", "1000000000"],
    "networks": [
        *("--n-train", "20", "--seeds", "2", "--widths", "6", "--batch", "5", "--threads", "1", "--eta", "0.001"),
        *("--first-decay", "1000000", "--last-decay", "2000000", "--decays", "2"),
    ],
    "network-law": ["--steps", "10000000"],
    "advise-check": ["--problems", "4000"],
    "schedules-bench": ["--jobs", "2"],
    "bench": ["--workloads", "W1", "--peers", "numpy", "--seconds", "600"],
    "device-bench": ["--small", "--seconds", "600", "--replicas", "8192"],
    "device-check": ["--small"],
}
