"""Events over Redis Streams: to one process of each group, and to every process."""
