"""The bare baseline of an event stream: a server that writes the same made-up frame to whoever connects.

python -m bench.bare_event_server READERS FRAMES EVERY_S BYTES     prints its port, then {"cpu_s"} when all have left
"""

import asyncio
import json
import sys
import time

FRAME_END = b"\n\n"


async def serve(readers: int, frames: int, every_s: float, size: int) -> float:
    """CPU seconds for all readers."""
    left, all_left = readers, asyncio.Event()
    frame = b"x" * (size - len(FRAME_END)) + FRAME_END

    async def write(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal left
        for _ in range(frames):
            writer.write(frame)
            await writer.drain()
            await asyncio.sleep(every_s)
        writer.close()
        left -= 1
        if not left:
            all_left.set()

    server = await asyncio.start_server(write, "127.0.0.1", 0, backlog=readers)
    began = time.process_time()
    print(server.sockets[0].getsockname()[1], flush=True)
    await all_left.wait()
    return time.process_time() - began


if __name__ == "__main__":
    given = sys.argv[1:]
    cpu_s = asyncio.run(serve(int(given[0]), int(given[1]), float(given[2]), int(given[3])))
    print(json.dumps({"cpu_s": cpu_s}))
