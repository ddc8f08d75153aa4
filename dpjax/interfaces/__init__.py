"""Where models meet their users: the NumPy-in, NumPy-out :class:`Potential` and the adapters built on it."""
