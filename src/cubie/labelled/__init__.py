"""Labelled results: what their dimensions and variables are called, tables and pictures of them.

Of xarray's datasets alone: this room knows neither solvers nor sweeps.
"""
