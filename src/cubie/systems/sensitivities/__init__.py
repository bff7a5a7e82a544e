"""Forward sensitivities: the equations of states and of their derivatives by inputs, together."""
