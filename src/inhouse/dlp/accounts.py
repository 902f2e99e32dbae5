"""Numbers of payment cards and of bank accounts: what they look like, and their check digits.

A pattern finds what has a right beginning and a right length. What stands behind a number, a date
of expiry or the name of a bank, may come along with it, so the check looks for where the number
ends: it says how many characters of a match, from its first, are the real thing.
"""

import re
from itertools import accumulate

_CARDS: tuple[tuple[str, range | tuple[int, ...]], ...] = (
    ("4", (13, 16, 19)),  # Visa
    ("5 [1-5]", (16,)),  # Mastercard
    ("2 2 [2-9]", (16,)),
    ("2 [3-6]", (16,)),
    ("2 7 [0-2]", (16,)),
    ("3 [47]", (15,)),  # American Express
    ("3 0 [0-59]", range(14, 20)),  # Diners Club
    ("3 [689]", range(14, 20)),
    ("3 5 [2-8]", range(16, 20)),  # JCB
    ("2 2 0 [0-4]", range(16, 20)),  # Mir
    ("5 [06-8]", range(13, 20)),  # Maestro
    ("6", range(13, 20)),  # Discover, UnionPay, Maestro
)
"""The first digits of the brands, and how many digits their numbers have."""

_IBAN_LENGTHS = {
    **dict.fromkeys(("NO",), 15),
    **dict.fromkeys(("BE", "BI"), 16),
    **dict.fromkeys(("DK", "FK", "FI", "FO", "GL", "NL", "SD"), 18),
    **dict.fromkeys(("MK", "SI"), 19),
    **dict.fromkeys(("AT", "BA", "EE", "KZ", "LT", "LU", "MN", "XK"), 20),
    **dict.fromkeys(("CH", "CR", "HR", "LI", "LV"), 21),
    **dict.fromkeys(("BG", "BH", "DE", "GB", "GE", "IE", "ME", "RS", "VA"), 22),
    **dict.fromkeys(("AE", "GI", "IL", "IQ", "OM", "SO", "TL"), 23),
    **dict.fromkeys(("AD", "CZ", "ES", "MD", "PK", "RO", "SA", "SE", "SK", "TN", "VG"), 24),
    **dict.fromkeys(("LY", "PT", "ST"), 25),
    **dict.fromkeys(("IS", "TR"), 26),
    **dict.fromkeys(("BF", "BJ", "CF", "CG", "CI", "CM", "DJ", "DZ", "FR", "GQ", "GR"), 27),
    **dict.fromkeys(("GA", "IT", "MC", "MG", "MR", "SM", "TD", "TG"), 27),
    **dict.fromkeys(("AL", "AZ", "BY", "CY", "DO", "GT", "GW", "HN", "HU", "KM"), 28),
    **dict.fromkeys(("LB", "MA", "ML", "NE", "NI", "PL", "SN", "SV"), 28),
    **dict.fromkeys(("BR", "EG", "PS", "QA", "UA"), 29),
    **dict.fromkeys(("JO", "KW", "MU", "YE"), 30),
    **dict.fromkeys(("MT", "SC"), 31),
    **dict.fromkeys(("LC",), 32),
    **dict.fromkeys(("RU",), 33),
}
"""ISO 13616's registry, and countries that use the form without being in it."""


def _card_of(first: str, lengths: range | tuple[int, ...]) -> str:
    given = first.split()
    more = [length - len(given) for length in lengths]
    ends = (
        [f"{{{more[0]},{more[-1]}}}"]
        if isinstance(lengths, range)
        else [f"{{{count}}}" for count in reversed(more)]
    )
    return "[ -]?".join(given) + "(?:" + "|".join(rf"(?:[ -]?\d){end}\b" for end in ends) + ")"


def _iban_of(length: int) -> str:
    countries = "|".join(land for land, its in _IBAN_LENGTHS.items() if its == length)
    return rf"(?:{countries})\d{{2}}(?: ?[A-Z0-9]){{{length - 4}}}\b"


CARD = r"\b(?:" + "|".join(_card_of(*brand) for brand in _CARDS) + ")"
IBAN = r"\b(?:" + "|".join(map(_iban_of, sorted(set(_IBAN_LENGTHS.values())))) + ")"


def luhn(text: str) -> bool:
    """ISO/IEC 7812-1: the check digit of payment cards; and not one digit repeated."""
    digits = [int(character) for character in text if character.isdigit()]
    doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2]]
    return len(set(digits)) > 1 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def mod_97(text: str) -> bool:
    """ISO 13616: the check digits of an IBAN."""
    plain = re.sub(r"\s", "", text).upper()
    number = "".join(str(int(character, 36)) for character in plain[4:] + plain[:4])
    return int(number) % 97 == 1


def card(text: str) -> int:
    """Of a match of CARD: what has a right check digit, at one of its brand's lengths; else 0."""
    digits = re.sub("[ -]", "", text)
    lengths = {
        length
        for first, its in _CARDS
        if re.match(first.replace(" ", ""), digits)
        for length in its
    }
    ends = [end for count, end in _ends(text) if count in lengths]
    return next((end for end in reversed(ends) if luhn(text[:end])), 0)


def iban(text: str) -> int:
    """Of a match of IBAN: all of it, where its check digits are right; else 0."""
    return len(text) if mod_97(text) else 0


def _ends(text: str) -> list[tuple[int, int]]:
    """Where the groups of digits end: how many digits came so far, and the place."""
    groups = [(match.start(), match.end()) for match in re.finditer(r"\d+", text)]
    counts = accumulate(end - start for start, end in groups)
    return list(zip(counts, (end for _, end in groups), strict=True))
