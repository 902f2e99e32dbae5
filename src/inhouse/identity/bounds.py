"""What a grant, a request for one, or a key is for: models, dialects, purposes; None for any."""

import re
from dataclasses import dataclass

from inhouse.domain import Dialect
from inhouse.errors import UsageError

PURPOSE = re.compile(r"[a-z0-9-]{1,64}")
MAX_NAMES = 1000
MAX_NAME_CHARS = 256

Names = tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Bounds:
    """Names of models as in the configuration, which need not have them yet."""

    models: Names = None
    dialects: Names = None
    purposes: Names = None

    def checked(self) -> "Bounds":
        """These, if they can be kept, each name once. Raises UsageError."""
        for model in self.models or ():
            if not 0 < len(model) <= MAX_NAME_CHARS or not model.isprintable():
                raise UsageError(f"'{model[:64]}' is no name of a model")
        for dialect in self.dialects or ():
            if dialect not in tuple(Dialect):
                raise UsageError(f"'{dialect[:64]}' is no dialect; there are {', '.join(Dialect)}")
        for purpose in self.purposes or ():
            if not PURPOSE.fullmatch(purpose):
                raise UsageError(
                    f"'{purpose[:64]}' is no purpose: write 1 to 64 of a-z, 0-9 and '-'"
                )
        return Bounds(*(_once(names) for names in (self.models, self.dialects, self.purposes)))

    def described(self) -> dict[str, str]:
        """For records: those that are bound."""
        found = {"models": self.models, "dialects": self.dialects, "purposes": self.purposes}
        return {what: ", ".join(names) for what, names in found.items() if names is not None}


ANY = Bounds()


def _once(names: Names) -> Names:
    if names is None:
        return None
    if not names or len(names) > MAX_NAMES:
        raise UsageError(f"a list of names has 1 to {MAX_NAMES} of them; leave it out for any")
    return tuple(dict.fromkeys(names))
