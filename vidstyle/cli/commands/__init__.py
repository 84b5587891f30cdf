"""Commands: each module adds its arguments to a parser and runs the parsed command."""
