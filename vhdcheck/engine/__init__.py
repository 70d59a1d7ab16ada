"""How an image is examined: the plan of what to read, and the drivers that serve it."""
