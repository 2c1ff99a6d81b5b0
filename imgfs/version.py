"""The version of this package, in the one place from which it is also published. Tried by the tests of packaging."""

__version__ = "0.1.0"
