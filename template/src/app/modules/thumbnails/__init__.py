"""Thumbnails of avatars in a worker: the bridge between two modules that know nothing of it."""
