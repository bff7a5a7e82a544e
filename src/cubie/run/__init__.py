"""One run over its time span: the clock, the loop, an attempted step, what is saved."""
