"""How a process speaks to people: what is shown while work lasts, and the exit status at its end."""
