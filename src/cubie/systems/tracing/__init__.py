"""The user's function, run on expressions instead of numbers."""
