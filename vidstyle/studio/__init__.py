"""The studio: the browser interface. A local server, a page, and child processes that compute."""
