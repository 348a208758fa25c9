"""What stands beside the engine on the same flow, each in an interpreter of its own.

They import nothing of the project but contest.py, for some run where the project is not installed; engine.py alone
runs the project's own code.
"""
