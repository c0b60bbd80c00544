"""Server-sent events: live channels over plain HTTP."""
