"""The target ``cpu``: SIMD lanes on threads, compiled by numba and LLVM."""
