"""What component code computes with on the compiled targets: lanes, and their LLVM code."""
