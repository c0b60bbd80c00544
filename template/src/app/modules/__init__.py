"""Business features: one folder a module, each may be deleted."""
