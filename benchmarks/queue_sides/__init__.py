"""The systems `benchmarks.queue` compares: each file measures one, in a process of its own."""
