"""What a run's commands may use. 0 means that there is no limit."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bytes, numbers, and seconds of processor time of one process. The defaults are those of the settings."""

    memory_bytes: int = 2 << 30
    processes: int = 512
    file_bytes: int = 1 << 30
    open_files: int = 1024
    cpu_s: int = 3600
    disk_bytes: int = 4 << 30

    def of_a_process(self, *, apart: bool, may_write: bool = True) -> dict[str, int]:
        """Limits of each process, which the kernel enforces. `apart`: in namespaces or under a user of its own; else
        there is no limit of processes, because the kernel would count the worker's, too. `may_write`: false for a
        session over its quota, which may remove files and write none."""
        values = {"file": self.file_bytes, "open": self.open_files, "cpu": self.cpu_s, "memory": self.memory_bytes}
        if apart:
            values["processes"] = self.processes
        values = {name: value for name, value in values.items() if value}
        return values if may_write else {**values, "file": 0}

    def of_the_run(self) -> dict[str, int]:
        """Limits of all processes of the run together, checked while they run."""
        return {"memory": self.memory_bytes, "processes": self.processes, "disk": self.disk_bytes}
