"""What is said of an image: message codes, findings, and the report on all of it."""
