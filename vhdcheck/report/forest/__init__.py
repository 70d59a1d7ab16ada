"""The forest of `--chains`: who is whose parent. A module for each form; each offers `write`, as the other forms do."""
