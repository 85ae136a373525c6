"""Keeps what was accepted; owns all SQL."""
