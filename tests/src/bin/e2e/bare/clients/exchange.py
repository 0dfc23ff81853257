"""The exchange of docs/protocol.md, section 5, driven by QEMU's own client library.

The machine at the socket that is named on the command line has not started yet. Its guest's only request, a write to
the disk 'd0', fails each time that it is submitted, and stops the machine.
"""

import asyncio
import sys

from qemu.qmp import EventListener, ExecuteError, QMPClient


def expect(condition, what):
    if not condition:
        raise SystemExit(f"exchange.py: {what}")


async def stopped(client, events):
    """Waits for STOP and returns the errors before it."""
    errors = []
    while True:
        event = await events.get()
        if event["event"] == "STOP":
            break
        if event["event"] == "BLOCK_IO_ERROR":
            errors.append(event)
    status = await client.execute("query-status")
    expect(status == {"running": False, "status": "io-error"}, f"status {status}")
    disks = await client.execute("query-block")
    expect(disks[0]["device"] == "d0", f"disks {disks}")
    expect(disks[0]["io-status"] == "failed", f"disks {disks}")
    return errors


async def refused(client, arguments):
    try:
        await client.execute("put-event", arguments)
    except ExecuteError as error:
        expect(error.error_class == "InvalidParameterValue", error.error_class)
        expect(str(error) == "Parameter 'tag' expects a valid event handle", str(error))
    else:
        expect(False, f"put-event took {arguments}")


async def main(path):
    client = QMPClient("exchange")
    await client.connect(path)
    greeting = client.greeting
    expect(greeting.QMP.version["qemu"]["major"] == 10, f"greeting {greeting}")
    commands = {command["name"] for command in await client.execute("query-commands")}
    expect({"get-block-io-error-event", "put-event"} <= commands, f"commands {commands}")
    events = EventListener()
    client.register_listener(events)

    tag = await client.execute("get-block-io-error-event")
    expect(isinstance(tag, int), f"handle {tag}")
    await client.execute("cont")
    errors = await stopped(client, events)
    # Once by the connection, once by default.
    expect([error.get("tag") for error in errors].count(tag) == 1, f"errors {errors}")
    expect(len(errors) == 2, f"errors {errors}")
    for error in errors:
        expect(error["data"]["device"] == "d0", f"error {error}")
        expect(error["data"]["action"] == "stop", f"error {error}")
        expect(error["data"]["reason"] == "File too large", f"error {error}")

    # The connection's events have no rate limit; default events arrive at most once a second.
    await client.execute("cont")
    errors = await stopped(client, events)
    expect([error.get("tag") for error in errors].count(tag) == 1, f"errors {errors}")

    returned = await client.execute("put-event", {"tag": tag})
    expect(returned == {}, f"put-event returned {returned}")
    await refused(client, {"tag": tag})
    await refused(client, {"tag": tag + 1000})

    # Only default events from here on: delayed ones arrive within a second.
    await client.execute("cont")
    errors = await stopped(client, events)
    while not errors:
        event = await events.get()
        if event["event"] == "BLOCK_IO_ERROR":
            errors.append(event)
    expect(all("tag" not in error for error in errors), f"errors {errors}")

    again = await client.execute("get-block-io-error-event")
    expect(again != tag, f"the handle {tag} is used again")

    await client.execute("quit")
    while (await events.get())["event"] != "SHUTDOWN":
        pass
    try:
        await client.disconnect()
    except EOFError:
        # The server may close the connection first after 'quit'.
        pass


asyncio.run(main(sys.argv[1]))
