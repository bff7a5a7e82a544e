"""From an integrator to results: the kernel, its inputs and outputs, memory, launches."""
