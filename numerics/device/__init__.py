"""Ensembles of label-noise SGD resident on a torch device: every replica in memory, many steps per launch.

Two engines of one algorithm: `tensor_engine` (torch operations, any device, CUDA graphs on a card) and `triton_engine`
(one fused kernel). Draws have the addresses of `numerics.streams`, so replica i sees the numbers that it sees in numba.
"""
