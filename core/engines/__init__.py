"""Speed in engines that people deploy: an environment for vLLM, a guarded server, and a client that measures it."""
