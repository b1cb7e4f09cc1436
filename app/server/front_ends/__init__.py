"""Streams that front ends read directly: AG-UI, and the AI SDK's UI messages. Edges in front of the execution log.

Threads and chats are sessions, runs are executions. Nothing is stored here and no state is kept: rows of the log become
`happenings`, and those become the frames of one of the two protocols. The same rows give the same frames, so a reader
that comes back with the id of its last frame gets exactly the rest.
"""
