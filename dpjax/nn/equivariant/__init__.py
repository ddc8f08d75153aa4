"""States that turn with the system, and what may be done to them: packed components, rotations, linear maps, norms, activations."""
