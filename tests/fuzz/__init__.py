"""Every parser of what comes from outside, fed with bytes that nobody meant."""
