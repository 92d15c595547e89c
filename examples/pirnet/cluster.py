"""The cloud on several machines: the service of serve.py, whose pictures are restored by replicas of Ray Serve.

    python examples/pirnet/cluster.py --replicas 2

Joins the Ray cluster that runs on this machine (ray start), or starts one of this machine alone. Every machine needs
liftlayers with the extra cluster; the example's code and weights are sent to them. On SIGTERM it answers the requests
that have arrived, and ends.
"""

import pirnet.support.interrupt  # noqa: F401 (Ctrl-C is one line from here on)

# isort: split

import asyncio
import logging
import os
import signal
import threading
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

from pirnet.support import cli, service_worker, signals
from pirnet.support.outputs import ImageError
from pirnet.support.places import LSR_WEIGHTS
from pirnet.support.remote import TIMEOUT
from pirnet.support.service_options import Limits, ServiceOptions
from pirnet.support.settings import Count, Range


@dataclass(frozen=True)
class Options(ServiceOptions):
    """Restore stego images on several machines."""

    port: Annotated[int, Range(1, 65535)] = 8000
    """Port to listen on, on the machine that is the head of the cluster."""
    replicas: Count = 2
    """Processes that restore, each on one core of some machine; Ray decides where."""


read_options = cli.read_early(__name__, lambda: cli.parse(Options, __doc__))

NOT_SENT = ["reproduce", "results", "runs", "weights"]  # folders of the example that no replica needs
PATIENCE = {"RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60"}  # a busy machine needs more than Ray's five

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
with cli.needs_extra("cluster"):
    import ray  # pyright: ignore[reportMissingImports]
    from pirnet.support.service import Service
    from ray import serve  # pyright: ignore[reportMissingImports]
    from ray.exceptions import RayActorError  # pyright: ignore[reportMissingImports]
    from ray.serve.handle import DeploymentHandle  # pyright: ignore[reportMissingImports]
    from starlette.applications import Starlette


class Replica:
    """A process that restores one stego image at a time, as a worker of `serve.py` does."""

    def __init__(self, weights: bytes, max_pixels: float) -> None:
        with TemporaryDirectory() as folder:
            path = Path(folder) / LSR_WEIGHTS
            path.write_bytes(weights)
            service_worker.load(path, max_pixels)

    async def tasks(self) -> tuple[str, ...]:
        """As `service_worker.tasks`."""
        return service_worker.tasks()

    async def restore(self, content: bytes, task: str) -> bytes | ImageError:
        """As `service_worker.restore`, but returns its error, since Ray logs errors with a traceback."""
        try:
            return await asyncio.to_thread(service_worker.restore, content, task)
        except ImageError as error:
            return error


class Replicas:
    """The replicas as the restorer of a `Service`; if one is lost, what it worked on is tried once more."""

    def __init__(self, handle: DeploymentHandle) -> None:
        self.handle, self.lost = handle, 0

    async def restore(self, content: bytes, task: str) -> bytes:
        """Restores in one of the replicas; errors are those of `service_worker.restore`."""
        try:
            result = await self.handle.restore.remote(content, task)
        except RayActorError:
            self.lost += 1
            result = await self.handle.restore.remote(content, task)
        if isinstance(result, ImageError):
            raise result
        return result


class Front:
    """Receives, checks and answers all requests, as the parent process of `serve.py` does."""

    async def __init__(self, replicas: DeploymentHandle, limits: Limits, key: str, origins: tuple[str, ...]) -> None:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
        tasks = await replicas.tasks.remote()
        self.service = Service(Replicas(replicas), tasks, limits, key=key, origins=origins)

    def __serve_build_asgi_app__(self) -> Starlette:
        return self.service.app

    async def drain(self) -> None:
        """Accepts no more work, and returns when the last request is done."""
        self.service.draining = True
        while self.service.inside:
            await asyncio.sleep(0.05)


def application(options: Options) -> serve.Application:
    """The front with its replicas; the front's own limit is larger than the queue, so that it answers 429 itself."""
    shared = {"graceful_shutdown_timeout_s": TIMEOUT, "logging_config": {"enable_access_log": False}}
    working = shared | {"num_replicas": options.replicas, "ray_actor_options": {"num_cpus": 1}}
    replica = serve.deployment(Replica, max_ongoing_requests=1, **working)
    replicas = replica.bind((options.weights / LSR_WEIGHTS).read_bytes(), 1e6 * options.megapixels)
    idle = shared | {"ray_actor_options": {"num_cpus": 0}}
    front = serve.deployment(serve.ingress()(Front), max_ongoing_requests=1000, **idle)
    return front.bind(replicas, options.limits(options.replicas), options.key(), options.origins())


def main() -> None:
    options, ended = read_options(), threading.Event()
    restoring = application(options)
    ray.init(runtime_env={"working_dir": str(Path(__file__).parent), "excludes": NOT_SENT, "env_vars": PATIENCE})
    try:
        serve.start("HeadOnly", http_options={"host": options.host, "port": options.port})
        front = serve.run(restoring, name="pirnet")
        with signals.handled(lambda *_: ended.set(), signal.SIGTERM, signal.SIGINT):
            address = f"http://{options.address(options.port)}"
            print(f"{address} restores on {options.replicas} replicas; end it with Ctrl-C", flush=True)
            ended.wait()
        front.drain.remote().result(timeout_s=TIMEOUT)
    finally:
        serve.shutdown()
        ray.shutdown()


if __name__ == "__main__":
    cli.run(main)
