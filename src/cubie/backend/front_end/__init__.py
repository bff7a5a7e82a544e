"""A front end for device functions: each typed and lowered once, and found again by its looks."""
