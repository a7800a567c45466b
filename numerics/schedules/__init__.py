"""Late decay for training loops: a monitor that sees the phases, a torch scheduler, branching, adapters, a
benchmark.
"""
