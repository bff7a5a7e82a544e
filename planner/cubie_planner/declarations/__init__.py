"""What a planner is told: buffers, timeline, problem, lifetimes, graphs."""
