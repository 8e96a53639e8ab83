"""Makes the text of an order safe to print on a terminal.

A producer chooses the text of a message, also of a rejected one. A control character in it can move the cursor or start
an escape sequence, a line end can look like another row, and a bidirectional character can reverse the text next to it.
"""


def printable(text: str) -> str:
    r"""The text with an escape such as `\x9b` or `\u202e` for each character that is not printable.

    Not printable are the Unicode categories "Other" (control, format, lone surrogate, private, unassigned) and
    "Separator" except the space, as `str.isprintable` defines it.
    """
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )
