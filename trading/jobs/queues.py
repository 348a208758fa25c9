"""The queues of background work, from critical to low. Each has workers of its own."""

QUEUES = ("settlement", "market", "notify", "report")
