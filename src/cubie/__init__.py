"""Integrate very many small ODE systems at once."""
