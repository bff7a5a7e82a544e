"""Summaries: what is left of a trajectory when a run is over, without points of it."""
