"""The command: arguments, configuration, which images, what is written where, and the exit status."""
