"""One program for each cache that is measured."""
