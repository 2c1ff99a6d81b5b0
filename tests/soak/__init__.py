"""Many readers on many images of all kinds at once, every byte compared."""
