"""What may happen to a machine while a mount on it is in use."""
