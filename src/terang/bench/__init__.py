"""Measures the product against bare components in the same run; `terang bench NAME` prints the table."""
