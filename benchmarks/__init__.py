"""Measurements, each printed by the command in its docstring."""
