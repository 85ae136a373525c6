"""Takes envelopes from MQTT, and carries receipts back."""
