"""What a running server does by itself: the schedule, notices, mail, the care of the audit trail."""
