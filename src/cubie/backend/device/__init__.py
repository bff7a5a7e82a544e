"""A device with memory of its own: what targets that launch on one have in common."""
