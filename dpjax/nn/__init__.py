"""Network parts that every descriptor and fitting is built of: activations, residual dense layers, stacks of them."""
