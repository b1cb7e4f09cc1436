"""A worker or orchestrator process: its pool, its event loop, its threads, and how it leaves."""
