"""Equations that repeat a form over states, found again and written as loops over tables."""
