"""The errors of MedAI, and sentences that can be translated after they were raised.

The core speaks English. A page may show another language, so a sentence keeps its template and its
values apart until it is shown: ``str(message)`` is the English sentence, and a page looks the template
up in its catalogue and fills in the same values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Message:
    """A sentence with named values.

    Attributes
    ----------
    template : str
        English text with ``{name}`` fields, the key of the translation catalogues.
    values : Mapping[str, object]
        What the fields are filled with. Format specifications live in the template.
    """

    template: str
    values: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.template.format(**self.values) if self.values else self.template


def say(template: str, /, **values: object) -> Message:
    """Return a :class:`Message`; the name is what the catalogue extractor looks for."""
    return Message(template, values)


class MedAIError(Exception):
    """Base of every error this library raises on purpose.

    Parameters
    ----------
    template : str
        One English sentence with ``{name}`` fields, stating rule, name and value.
    **values
        What the fields are filled with.
    """

    def __init__(self, template: str, /, **values: object) -> None:
        self.message = Message(template, values)
        super().__init__(str(self.message))


class InputError(MedAIError):
    """The input cannot be read: damaged, unsupported, or outside a limit."""


class RefusedInput(MedAIError):
    """The input can be read, but nothing here was made for it."""


class ArtifactError(MedAIError):
    """A model bundle is missing, incomplete, or not the one that was pinned."""


class NotAllowed(MedAIError):
    """The acting user has no role that may do this."""


class Conflict(MedAIError):
    """Somebody else changed it since it was looked at; nothing was overwritten."""


class NotFound(InputError):
    """It does not exist, or the acting user is not to know that it does: the words are the same."""


class Unavailable(MedAIError):
    """Something this depends on is away for now (the database, space on the disk): the same can be asked again."""
