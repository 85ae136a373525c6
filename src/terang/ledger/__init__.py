"""The append-only log, its batches and checkpoints, and their anchors on a chain."""
