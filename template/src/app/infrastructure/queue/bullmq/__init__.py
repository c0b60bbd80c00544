"""The engine on BullMQ: Redis or Valkey, and ordinary BullMQ jobs that Node may add and take.

The scripts that run in Redis are those of the official `bullmq` package; what surrounds them there
is replaced (docs/queue.md says why, point by point).
"""
