"""Decides whether bytes are an envelope of a known device, in order and plausible."""
