"""Tools for people: the local stack, the `orders` command, the console. None of it ships to Lambda."""
