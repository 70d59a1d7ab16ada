"""Reports for people and programs: one module a format, each with `write(results, ...)`."""
