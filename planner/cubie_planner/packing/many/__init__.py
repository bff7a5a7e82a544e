"""Packing of very many bodies: first fit in many orders, the largest of them exactly."""
