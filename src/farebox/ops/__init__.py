"""The caretaker: commands, clockwork, the sandbox upstream, the demo."""
