"""Pages of a team: projects, members, invitations, and the changes of an account."""
