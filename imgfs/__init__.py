"""imgfs: container image stores as a file system."""
