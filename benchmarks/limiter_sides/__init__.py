"""One program for each limiter that is measured."""
