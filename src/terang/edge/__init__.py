"""Runs on the device in the cupboard: reads meters, signs, and keeps every envelope until it is anchored."""
