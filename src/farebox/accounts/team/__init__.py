"""Teams: members and invitations, which keys and events each of them sees."""
