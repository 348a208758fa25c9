#!/usr/bin/env python
"""Entry point of every command; see `manage.py help`."""

import os
import sys

# Schema changes and the making of test databases may outlive the limits that guard the trading tables.
UNLIMITED_COMMANDS = {"migrate", "test"}


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pmarket.settings")
    os.environ.setdefault("DB_POOL_MIN", "0")
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    os.environ.setdefault("PROCESS_NAME", command or "manage")
    if command in UNLIMITED_COMMANDS:
        os.environ.setdefault("STATEMENT_TIMEOUT_MS", "0")
        os.environ.setdefault("TRANSACTION_TIMEOUT_MS", "0")

    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"The environment is not right: {error}")


if __name__ == "__main__":
    main()
