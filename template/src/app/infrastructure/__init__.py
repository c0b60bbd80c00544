"""Technical building blocks without business logic: one folder a module, each may be deleted."""
