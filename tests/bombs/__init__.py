"""Small inputs made to take very much memory or time, and what imgfs takes of both for each: scripts/bombs."""
