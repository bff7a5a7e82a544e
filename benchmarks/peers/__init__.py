"""Other packages, where they are installed: one module each, with ``make(work, option)``."""
