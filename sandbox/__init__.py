"""sandbox: runs programs that nobody trusts; a library of its own that knows nothing of us."""
