"""Text of an order as a terminal may print it.

A producer chooses the text of a message, also of one that is rejected. Printed as it is, a control character can move
the cursor or start an escape sequence, a line end can forge a row, and a bidirectional character can reverse what
stands beside it.
"""


def printable(text: str) -> str:
    r"""The text with an escape such as `\x9b` or `\u202e` for each character that is not printable.

    These are the Unicode categories "Other" (control, format, lone surrogate, private, unassigned) and "Separator"
    except the space: what `str.isprintable` says.
    """
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )
