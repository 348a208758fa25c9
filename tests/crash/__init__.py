"""What the exchange promises when parts of it die."""
