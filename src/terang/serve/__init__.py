"""The processes of `terang serve`, and how they talk."""
