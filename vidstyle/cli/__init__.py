"""The command line: options to a job, progress to the terminal, errors to exit codes."""
