"""The pages and the API; reads the store, sends commands to the core."""
