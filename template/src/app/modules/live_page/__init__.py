"""A page that shows live events as they arrive: the example of channels."""
