"""The system of the example: a request whose work is done by a worker."""
