"""Equations as text or SymPy expressions, and traced ones as SymPy expressions again."""
