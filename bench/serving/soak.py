"""Memory of the servers under sustained load."""

import threading
import time

from serving.load import measure
from serving.servers import Server

CONNECTIONS = 32
SETTLED_AFTER = 60


def soak(chosen, arguments, bodies, log):
    """Loads each server for `--soak` seconds and prints its resident memory after one minute and at the end."""
    print(f"{'server':16}{'ready s':>9}{'1 min MiB':>11}{'end MiB':>10}{'peak MiB':>10}{'end/1 min':>11}{'answers/s':>11}  statuses")
    for launch in chosen.values():
        server = Server(launch, log)
        try:
            resident = {}
            watching = threading.Event()
            watcher = threading.Thread(target=watch, args=(server, resident, watching))
            watcher.start()
            try:
                found = measure(server, arguments, bodies, arguments.soak, connections=CONNECTIONS, warmup=0.0)
            finally:
                watching.set()
                watcher.join()
            settled = resident[min(resident, key=lambda second: abs(second - SETTLED_AFTER))]
            # The last reading under load, not one from the drain after it.
            last = resident[max(second for second in resident if second <= arguments.soak)]
            print(
                f"{launch.name:16}{server.ready_seconds:9.2f}{settled:11.1f}{last:10.1f}{server.memory_mib('VmHWM'):10.1f}"
                f"{last / settled:11.3f}{found['throughput']:11.0f}  {found['statuses']}",
                flush=True,
            )
        finally:
            server.stop()


def watch(server, resident, done):
    """Records the resident memory every second in `resident`, by seconds since the start of the load."""
    began = time.monotonic()
    while not done.wait(1.0):
        resident[time.monotonic() - began] = server.memory_mib("VmRSS")
