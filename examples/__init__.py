"""Programs that use the exchange from outside. They import nothing of the project: each can be copied and kept."""
