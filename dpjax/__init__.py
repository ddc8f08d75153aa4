"""dpjax: Deep Potential models in JAX."""
