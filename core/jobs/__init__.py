"""The protocol, the state, the queue, the worker client and the run store."""
