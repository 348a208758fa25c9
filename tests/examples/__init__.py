"""The client that everybody may copy, and the bot that uses it."""
