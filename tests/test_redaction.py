"""Secrets are masked in whatever shape they come; what is none stays."""

import pytest

from dpipe.redaction import masked

SECRETS = [
    "{'password': '@ with spaces'}",
    '{"api_key": "@ def"}',
    "pwd=@",
    "passphrase: @",
    "X-Api-Key: @",
    "Cookie: session=@",
    "Authorization: token @",
    "'Authorization': 'Bearer @'",
    "AccountKey=@==;EndpointSuffix=core",
    "https://x.blob.core.windows.net/c/f?sv=2020&sig=@%2B&se=2021",
    "PRIVATE_KEY=@",
    "login --password @ --user ann",
    "ftp://ann:p@ss:@@example.org/x",
    "https://:@@example.org/",
    "aws_secret_access_key = @/K7MDENG/bPx",
    r"password='a\'@'",
]


@pytest.mark.parametrize("text", SECRETS)
def test_a_secret_is_masked(text: str) -> None:
    text = text.replace("p@ss", "p\0ss").replace("@", "Hq7Zk2", 1).replace("p\0ss", "p@ss")
    assert "Hq7Zk2" in text
    assert "Hq7Zk2" not in masked(text)


@pytest.mark.parametrize("secret", ["npm_" + "a1B2" * 9, "sk_live_" + "a1B2" * 6])
def test_a_token_is_known_by_how_it_begins(secret: str) -> None:
    assert masked(f"cannot log in with {secret}") == "cannot log in with ***"


@pytest.mark.parametrize(
    "text",
    [
        "/raw/Neu1.h5: damaged: 3 bytes; fetch it again",
        "anon+s3://bucket/key/Neu1.h5: gone",
        "author=ann, passes: 3, compass=7, key=5, monkey: 7",
        "s3://bucket/a@b/c: 12:30:01@noon",
        "https://example.org:8080/a@b",
        "operator mylab.qc:f: cannot read its signature (no name)",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert masked(text) == text
