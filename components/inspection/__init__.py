"""What people see of the collected files, and their verdicts on file endings."""
