"""An independent reference: order conditions, a plain NumPy integrator, known problems."""
