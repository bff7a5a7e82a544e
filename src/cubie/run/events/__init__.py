"""Events: roots of functions on the solution of steps, and what follows from them."""
