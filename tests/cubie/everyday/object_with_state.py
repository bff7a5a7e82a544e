"""A model that is an object with parameters, called by its method."""

import numpy as np
from scipy.integrate import solve_ivp


class Reactor:
    def __init__(self, volume, flow):
        self.volume, self.flow, self.rate = volume, flow, 0.2

    def balance(self, t, c):
        inflow = self.flow / self.volume * (np.array([1.0, 0.0]) - c)
        reaction = self.rate * c[0] * np.array([-1.0, 1.0])
        return inflow + reaction


reactor = Reactor(volume=10.0, flow=1.5)
sol = solve_ivp(reactor.balance, (0, 30), [0.0, 0.0], rtol=1e-7, atol=1e-9)
answers = {"end": sol.y[:, -1]}
tolerance = 1e-5
