"""A ball that falls until it hits the ground."""

from scipy.integrate import solve_ivp


def fall(t, y):
    return [y[1], -9.81]


def ground(t, y):
    return y[0]


ground.terminal = True
ground.direction = -1
sol = solve_ivp(fall, (0, 10), [10.0, 0.0], events=ground, rtol=1e-8)
answers = {"when": sol.t_events[0], "speed": sol.y_events[0][0, 1], "status": sol.status}
tolerance = 1e-6
