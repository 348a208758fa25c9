"""The engine process: reads commands, reserves, matches, commits, publishes. See trading/README.md."""
