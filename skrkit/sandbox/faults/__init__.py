"""Named faults: each can be switched on, gives the service's own error, and is the cause of that name."""
