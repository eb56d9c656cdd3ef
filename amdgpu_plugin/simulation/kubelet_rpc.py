"""How the simulated kubelet hears of failed calls: one exception, worded as the kubelet words it."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import grpc

T = TypeVar("T")


class RpcFailedError(Exception):
    """A plugin's method failed, or its connection was lost meanwhile."""


async def answer(call: Awaitable[T]) -> T:
    """What the call answers. Raises RpcFailedError.

    When a channel is closed, gRPC raises CancelledError in whoever waits for a call on it, though nobody
    cancelled them; that is a failed call too. Real cancellation passes through.
    """
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        code = error.code().name.title().replace("_", "")
        raise RpcFailedError(f"rpc error: code = {code} desc = {error.details()}") from None
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise RpcFailedError(
            "rpc error: code = Canceled desc = grpc: the client connection is closing"
        ) from None
