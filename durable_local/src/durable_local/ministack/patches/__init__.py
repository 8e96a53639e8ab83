"""The program MiniStack runs in: `python <this folder>`, in MiniStack's own environment.

So its modules import nothing of this project but each other, and those as the top-level modules that they are
in that process.
"""
