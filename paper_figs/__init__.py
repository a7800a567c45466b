"""Every figure from one command: `python -m paper_figs`. Each module computes (`data`), then draws (`draw`)."""
