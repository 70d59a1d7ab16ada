"""What the service answers: one file for each kind of thing. A file's `table` names its paths, methods and handlers."""
