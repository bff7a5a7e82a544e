"""What the user's function refers to: its content, and whether it changes."""
