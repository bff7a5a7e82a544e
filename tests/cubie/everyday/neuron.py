"""FitzHugh and Nagumo's neuron, with a stimulus that is switched on."""

import numpy as np
from scipy.integrate import solve_ivp


def neuron(t, y, current):
    v, w = y
    stimulus = current if t > 10 else 0.0
    return [v - v**3 / 3 - w + stimulus, 0.08 * (v + 0.7 - 0.8 * w)]


sol = solve_ivp(
    neuron,
    (0, 100),
    (-1.0, 1.0),
    args=(0.5,),
    max_step=0.5,
    t_eval=np.linspace(0, 100, 41),
    rtol=1e-6,
)
answers = {"v": sol.y[0] + 3}
tolerance = 2e-3
