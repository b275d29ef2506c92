"""Redis: the entry contract, the consumer group, the dead letters. Only here is redis imported."""
