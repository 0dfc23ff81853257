#!/usr/bin/env python3
"""A guest's disk fails, and the error comes as an event: with QEMU's own client library, qemu.qmp.

README.md says how to run it, and with which guest.
"""

import asyncio
import os
import socket
import tempfile

from qemu.qmp import EventListener, QMPClient

GUEST = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../target/guest")
SOON = 60


async def start(disk):
    """Starts a machine, and returns its process and a client of its monitor."""
    ours, theirs = socket.socketpair()
    process = await asyncio.create_subprocess_exec(
        os.environ.get("FAULTVISOR", "faultvisor"),
        "--kernel", os.environ.get("FAULTVISOR_KERNEL", f"{GUEST}/vmlinux"),
        "--initrd", os.environ.get("FAULTVISOR_INITRD", f"{GUEST}/initramfs.cpio"),
        "--append", os.environ.get("FAULTVISOR_APPEND", "console=ttyS0 quiet panic=-1 reboot=t"),
        "--drive", f"file={disk},format=raw,id=disk0",
        "--serial", "stdio",
        "--qmp", f"fd:{theirs.fileno()}",
        pass_fds=[theirs.fileno()],
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    theirs.close()
    client = QMPClient("example")
    await client.connect(ours)
    return process, client


async def fail_a_read(process, client):
    """Has the guest read what cannot be read, and returns the event."""
    await process.stdout.readuntil(b"A disk is /dev/vda")
    tag = await client.execute("get-block-io-error-event")
    errors = EventListener("BLOCK_IO_ERROR", lambda event: event.get("tag") == tag)
    with client.listen(errors):
        rule = {"device": "disk0", "action": "error", "errno": "EIO"}
        await client.execute("block-fault-add", rule)
        process.stdin.write(b"head -c 512 /dev/vda\n")
        event = await errors.get()
    await client.execute("put-event", {"tag": tag})
    return event


async def end(client):
    """Ends the machine, and with it the connection."""
    await client.execute("quit")
    try:
        await client.disconnect()
    except EOFError:
        # The machine has closed the connection first.
        pass


async def main():
    with tempfile.NamedTemporaryFile(suffix=".img") as disk:
        disk.truncate(64 << 20)
        process, client = await start(disk.name)
        try:
            event = await asyncio.wait_for(fail_a_read(process, client), SOON)
            await end(client)
            await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
    error = event["data"]
    assert error["device"] == "disk0" and error["operation"] == "read", event
    assert error["reason"] == "Input/output error", event
    assert process.returncode == 0, f"faultvisor ended with {process.returncode}"
    print(f"{error['operation']} on {error['device']}: {error['reason']}")


asyncio.run(main())
