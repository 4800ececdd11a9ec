"""Documents of the store: JSON that names its format and carries its own digest.

Whatever dpipe keeps beside pixels (versions, seals, marks, plans) says of which format it is, so
that a newer dpipe's is called newer and not damaged; and ends in the sha256 of all that stands
before it, so that a flipped bit is found by whoever reads it.

This module knows JSON; it knows nothing of places or of what documents mean.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dpipe.errors import DamageError, UsageError

_TAIL = b',\n "sha256": "'
_END = b'"\n}'

Json = dict[str, Any]
"""An object of JSON of which only its reader knows what its fields hold."""


@dataclass(frozen=True)
class Form:
    """One kind of document.

    Attributes
    ----------
    name : str
        Name of its format, ``"dpipe-seal"``; documents name it with a number.
    number : int
        The number that is written, and the largest that is known.
    noun : str
        What such a document is called in messages.
    unsigned : int
        The largest number of which documents carry no digest; what names no format is taken for
        number 1 if there are such.
    """

    name: str
    number: int
    noun: str
    unsigned: int = 0

    def write(self, fields: Mapping[str, Any]) -> bytes:
        """Return a document as it is stored.

        Parameters
        ----------
        fields : mapping
            What it says, as JSON holds it; without ``format`` and ``sha256``.

        Returns
        -------
        bytes
            JSON whose last field, ``sha256``, is the digest of the bytes before that field.

        Examples
        --------
        >>> form = Form("dpipe-example", 1, "example")
        >>> form.read(form.write({"a": [1]}), "here")
        {'a': [1]}
        """
        whole = {"format": f"{self.name}/{self.number}", **fields}
        body = json.dumps(whole, indent=1).encode().removesuffix(b"\n}")
        return body + _TAIL + sha256(body).encode() + _END

    def read(self, data: bytes, where: str) -> Json:
        """Read a document, if it is whole and of a format that is known.

        Parameters
        ----------
        data : bytes
            What is stored.
        where : str
            Its address, for messages.

        Returns
        -------
        dict
            Its fields, without ``format`` and ``sha256``.

        Raises
        ------
        UsageError
            It is of a larger number: a newer dpipe made it.
        DamageError
            It is no such document, or its digest is another.
        """
        try:
            fields = json.loads(data)
            form = fields.pop("format", f"{self.name}/1" if self.unsigned else "")
            name, _, digits = form.partition("/")
            number = int(digits) if digits.isdecimal() else 0
            if name != self.name or number < 1:
                raise ValueError(f"its format is {form[:40]!r}")
        except (ValueError, AttributeError, TypeError, RecursionError) as error:
            raise DamageError(f"{where}: the {self.noun} is damaged ({error})") from error
        if number > self.number:
            raise UsageError(
                f"{where}: its format is {form}, and this dpipe reads {self.name}/{self.number}; "
                "install the dpipe that made it, or a newer one"
            )
        # one that was signed stays so, whatever it says of its format
        if number > self.unsigned or _TAIL in data:
            digest = fields.pop("sha256", "")
            body, tail, end = data.rpartition(_TAIL)
            if not tail or end != str(digest).encode() + _END or sha256(body) != digest:
                raise DamageError(
                    f"{where}: the {self.noun} is damaged (its bytes are not those that were "
                    "written)"
                )
        return dict(fields)


def sha256(data: bytes) -> str:
    """Return the digest of some bytes, 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()
