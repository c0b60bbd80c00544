"""Users: the example feature in its full anatomy. Copy its shape, or run `app new module`."""
