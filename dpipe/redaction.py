"""Secrets out of texts: what users' code raises is shown in terminals, reports and stores.

This module knows what credentials look like; it knows nothing else of dpipe.
"""

import os
import re

_SECRET_NAMES = re.compile(r"SECRET|TOKEN|PASSW|CREDENTIAL|API_?KEY|ACCESS_?KEY|PRIVATE", re.I)
_SHAPES = tuple(
    re.compile(pattern, re.I)
    for pattern in (
        r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)",  # user and password in a URL
        r"\b(?:AKIA|ASIA|AGPA|AIDA|AROA)[A-Z0-9]{12,}\b",
        r"\b(?:gh[pousr]_|github_pat_|glpat-|xox[abprs]-|sk-|hf_|AIza)[\w-]{10,}",
        r"\beyJ[\w-]+\.[\w-]+\.[\w-]*",  # a JSON web token
        r"(?<=bearer )[\w.~+/=-]{8,}|(?<=basic )[\w+/=]{8,}",
        r"(?<=-----BEGIN )[\s\S]*?PRIVATE KEY-----[\s\S]*?(?=-----END|$)",
        r"""(?<![\w-])(?:[\w-]*(?:secret|token|passw(?:or)?d|credential|api_?key|access_?key|signature)
            [\w-]*)["']?\s*[=:]\s*["']?(?P<value>[^\s"',;&)}\]]+)""".replace("\n            ", ""),
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
    for name, value in os.environ.items():
        if len(value) >= 6 and _SECRET_NAMES.search(name):
            text = text.replace(value, "***")
    for shape in _SHAPES:
        text = shape.sub(_stars, text)
    return text


def _stars(match: re.Match[str]) -> str:
    value = match.groupdict().get("value")
    return "***" if value is None else match[0][: -len(value)] + "***"
