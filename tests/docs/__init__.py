"""The documentation, held to what is there."""
