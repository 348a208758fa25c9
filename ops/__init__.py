"""The outermost layer: embedded servers, process watching, health, metrics, throttles. Owns no truth."""
