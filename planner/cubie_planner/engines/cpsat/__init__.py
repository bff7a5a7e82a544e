"""The joint model of locations, parents and offsets; OR-Tools is loaded by solving it."""
