"""What a running server does automatically: the schedule, notices, mail, the care of the audit trail."""
