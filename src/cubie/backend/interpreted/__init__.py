"""Targets without a compiler: the interpreter, and the simulator of a GPU."""
