"""A small real shop: it knows the app by its settings and its middleware, and by nothing else."""
