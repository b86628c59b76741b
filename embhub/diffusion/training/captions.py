"""Words that a person gives to a training: everybody will read them in the file's header."""

from __future__ import annotations

from embhub.cards.personal_data import personal_data
from embhub.errors import PrivacyError, UsageError


def check_caption(caption: str, token: str) -> str:
    """The caption with `{}` once, where the token goes; the token itself may stand there instead.

    Raises:
        UsageError: no place for the token, two of them, or a caption too long for the file's header.
        PrivacyError: words that look like a person's.
    """
    caption = " ".join(caption.replace(token, "{}").split())
    if caption.count("{}") != 1:
        raise UsageError(
            "the caption must have {} once, where the token goes", 'for example "axial t2 prostate mri, {}"'
        )
    check_words("caption", caption)
    return caption


def check_words(name: str, words: str) -> None:
    """Refuse words that cannot go into the file's header.

    Raises:
        UsageError: more than 300 characters.
        PrivacyError: they look like a person's.
    """
    if len(words) > 300:
        raise UsageError(f"the {name} is longer than 300 characters", "describe the kind of image in a few words")
    if found := personal_data(words):
        raise PrivacyError(f"the {name} looks like personal data: {found[0]}", "it is published: name no person")
