"""Pictures of users: the example of files that belong to rows."""
