"""Take in a newer release of the template: what it would change, the update, what it left."""
