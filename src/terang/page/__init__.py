"""What the pages of the house and of the kits are made of: texts, numbers, periods, the state of a room, cards."""
