"""What the clouds have in common: they keep objects, and obstore speaks with each of them."""
