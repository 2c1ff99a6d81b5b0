"""Registries: what is asked of them, with whose credentials and through which mirrors, and the blobs that they hold.

Format: OCI distribution specification 1.1; configuration files as containers/image and Docker have them. Knows nothing
of layers or of sources.
"""
