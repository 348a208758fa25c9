"""The catalogue: rules, reads, services, API, pages and admin."""
