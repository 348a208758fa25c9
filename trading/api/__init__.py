"""The DRF lane: every path of the API that concerns orders, portfolios and the log."""
