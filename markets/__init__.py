"""What can be traded: the texts of markets, their lifecycle's door, catalogue API, pages and admin."""
