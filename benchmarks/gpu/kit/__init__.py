"""``make gpu-kit``: a folder that runs the benchmarks on a machine with a GPU and no network."""
