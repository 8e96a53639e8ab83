"""The patches of MiniStack, which run in its process and its environment.

There this package is top-level (`patches`), so its modules import nothing of this project but each other.
"""
