"""Command line: parses options, prints progress, maps errors to exit codes."""
