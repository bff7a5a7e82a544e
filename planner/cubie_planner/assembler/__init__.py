"""What became of a kernel: its machine code, read without a GPU, and what of it is executed."""
