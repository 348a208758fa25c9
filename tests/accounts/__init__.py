"""Accounts: registration, keys, money, sign-in, notifications, throttle."""
