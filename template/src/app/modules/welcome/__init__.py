"""Welcome mail: the worked example of events, outbox and deferred calls. Copy its shape."""
