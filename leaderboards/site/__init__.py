"""The site: boards, and everything behind each number, as pages that need no server."""
