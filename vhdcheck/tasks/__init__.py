"""The image task service: imports and exports as tasks, over the Images API's `/v2/tasks`.

It stands beside the command, on top of the library; nothing else imports it. `python -m vhdcheck.tasks serve` starts
it.
"""
