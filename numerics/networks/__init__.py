"""Real networks in torch: training with label noise, late decay, landscapes, curvature, and the slow law on them.

Everything works on one flat parameter vector ``theta (p,)`` per network and one stack ``(R, p)`` per program, so that
seeds and branches train as one batched computation. Nothing here is imported by the rest of ``numerics``; torch is
needed only when a submodule is used.
"""
