"""What was written elsewhere, as a line for a terminal."""

import unicodedata


def visible(value: object) -> str:
    """Text on one line in which nothing hides and nothing steers a terminal: control and format characters as codes."""
    return "".join(
        character if character == " " or unicodedata.category(character)[0] not in "CZ" else _code(character)
        for character in str(value)
    )


def _code(character: str) -> str:
    return {"\n": "⏎", "\t": " ", "\u00a0": " ", "\u3000": " "}.get(character, f"\\u{ord(character):04x}")
