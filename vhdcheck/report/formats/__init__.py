"""The forms of a report, a module each: its name is what `--format` takes, `_` written as `-`."""
