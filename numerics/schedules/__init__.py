"""Late decay for training loops: a monitor of the phases, a torch scheduler, branching, adapters, a benchmark."""
