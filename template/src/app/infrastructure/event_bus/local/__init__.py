"""Events inside one process: the publisher waits until the handlers have been called."""
