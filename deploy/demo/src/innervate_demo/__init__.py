"""The demonstration: a conversation remembered, pods killed, the conversation recalled."""
