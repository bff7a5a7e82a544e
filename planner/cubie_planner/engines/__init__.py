"""How an answer is found: first fit, one pass over time, two stages, and CP-SAT."""
