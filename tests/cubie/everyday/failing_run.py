"""A solution that ends in a pole: status and message tell, nothing is raised."""

from scipy.integrate import solve_ivp

sol = solve_ivp(lambda t, y: y**2, (0, 2), [1.0], rtol=1e-6, atol=1e-8)
answers = {"status": sol.status, "success": sol.success, "told": len(sol.message) > 20}
