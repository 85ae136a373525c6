"""Compares everything that is kept with everything that was signed, and names what differs."""
