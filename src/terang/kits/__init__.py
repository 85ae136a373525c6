"""Plug-ins, one folder for each kind of device or service."""
