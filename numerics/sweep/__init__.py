"""Sweeps: a design over a job's settings, cut into shards whose bits depend on nothing but what they are asked for."""
