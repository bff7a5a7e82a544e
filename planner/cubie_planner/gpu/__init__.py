"""What a placement means on a card: limits, occupancy, cost, and the objective of "auto"."""
