"""The answer: the plan, the checker (which imports no engine), and files."""
