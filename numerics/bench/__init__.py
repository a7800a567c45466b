"""What `numerics.run bench` is made of: workloads, peers, one engine per process, ratios, the printed table."""
