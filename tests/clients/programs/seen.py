"""What a step has seen so far; told with the exception if it ends in one."""

PIECES = []


def clear():
    PIECES.clear()


def note(piece):
    PIECES.append(piece)
