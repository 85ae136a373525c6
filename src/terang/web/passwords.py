"""Passwords: argon2id, at the same cost for a name that does not exist."""

import argon2
from argon2.exceptions import InvalidHashError, VerificationError

from terang.values.errors import UsageError

__all__ = ["MIN_LENGTH", "check_password", "hash_password"]

MIN_LENGTH = 8
_MAX_LENGTH = 1024  # argon2 takes any length; a login form need not
_HASHER = argon2.PasswordHasher()
# The hash of a password that nobody knows, with the parameters of all others.
_NOBODY = _HASHER.hash("argon2 spends as much on a stranger's name as on yours")


def hash_password(password: str) -> str:
    """Argon2's text form of a new password; UsageError if it is shorter than 8 characters."""
    if len(password) < MIN_LENGTH:
        raise UsageError(f"a password needs at least {MIN_LENGTH} characters")
    if len(password) > _MAX_LENGTH:
        raise UsageError(f"a password may have {_MAX_LENGTH} characters")
    return _HASHER.hash(password)


def check_password(password_hash: str | None, password: str) -> bool:
    """Whether the password is the one; takes as long when there is no such person (`password_hash` None)."""
    try:
        _HASHER.verify(password_hash or _NOBODY, password[:_MAX_LENGTH])
    except (VerificationError, InvalidHashError):
        return False
    return password_hash is not None
