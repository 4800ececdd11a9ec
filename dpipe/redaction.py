"""Secrets out of texts: what users' code raises is shown in terminals, reports and stores.

This module knows what credentials look like; it knows nothing else of dpipe.
"""

import os
import re
from functools import lru_cache

_SECRET_NAMES = re.compile(r"SECRET|TOKEN|PASSW|CREDENTIAL|API_?KEY|ACCESS_?KEY|PRIVATE", re.I)
_NAMED = r"""(?<![\w-])
    (?:[\w-]*(?:secret|token|passw(?:or)?d|passphrase|passcode|credential|signature)[\w-]*
    |[\w-]*(?:api|access|account|private|shared|signing|encryption)[_-]?key(?!id)[\w-]*
    |(?:\w*[_-])?(?:pwd|pass|auth|sig)|cookie|set-cookie)"""
_VALUE = (
    r"""(?P<mark>["'])(?P<quoted>(?:\\.|(?!(?P=mark))[^\\])+)(?P=mark)|(?P<value>[^\s"',;&)}\]]+)"""
)
_SHAPES = tuple(
    re.compile(pattern, re.I)
    for pattern in (
        r"(?<=://)[^/\s@:]*:[^/\s@]+@(?:[^/\s@]*@)*(?=[^/\s@])",  # user and password in a URL
        r"(?<=://)(?:(?!anon@)[\w.%~+-]{16,})(?=@)",  # a token in their place
        r"\b(?:AKIA|ASIA|AGPA|AIDA|AROA)[A-Z0-9]{12,}\b",
        r"\b(?:gh[pousr]_|github_pat_|glpat-|xox[abprs]-|sk-|[sr]k_live_|hf_|AIza)[\w-]{10,}",
        r"\b(?:npm_|dckr_pat_|pypi-|SG\.|dapi)[\w.-]{16,}",
        r"\beyJ[\w-]+\.[\w-]+\.[\w-]*",  # a JSON web token
        r"(?<=bearer )[\w.~+/=-]{3,}|(?<=basic )[\w+/=]{8,}|(?<=authorization: token )\S{3,}",
        r"(?<=-----BEGIN )[\s\S]*?PRIVATE KEY-----[\s\S]*?(?=-----END|$)",
        rf"""{"".join(_NAMED.split())}["']?\s*[=:]\s*(?:{_VALUE})""",
        rf"""--(?:password|passwd|token|secret|api-key|access-key)\s+(?:{_VALUE})""",
    )
)


def masked(text: str) -> str:
    """Return a text in which secrets are asterisks: what a user's code raises may hold some.

    Parameters
    ----------
    text : str
        An error, or its trace.

    Returns
    -------
    str
        Without the values of variables of the environment that are called secret, token, password
        or key, and without what looks like a credential.

    Examples
    --------
    >>> masked("cannot log in: password=hunter2 at https://ann:pw@example.org")
    'cannot log in: password=*** at https://***@example.org'
    """
    for name in filter(_is_secret, os.environ):
        value = os.environ.get(name, "")
        if len(value) >= 6:
            text = text.replace(value, "***")
    for shape in _SHAPES:
        text = shape.sub(_stars, text)
    return text


@lru_cache(maxsize=4096)
def _is_secret(name: str) -> bool:
    return _SECRET_NAMES.search(name) is not None


def _stars(match: re.Match[str]) -> str:
    held = match.groupdict()
    if "value" not in held:
        return "***@" if match[0].endswith("@") else "***"
    start, stop = match.span("value" if held["quoted"] is None else "quoted")
    begin, end = match.span()
    return f"{match.string[begin:start]}***{match.string[stop:end]}"
