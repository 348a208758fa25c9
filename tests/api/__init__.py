"""The order API, one suite run against both lanes of a running exchange."""
