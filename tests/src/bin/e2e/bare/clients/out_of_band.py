"""Out-of-band execution by QEMU's own client library, which switches it on wherever it is offered.

The machine at the socket that is named on the command line has not started yet.
"""

import asyncio
import sys

from qemu.qmp import EventListener, ExecuteError, QMPClient


def expect(condition, what):
    if not condition:
        raise SystemExit(f"out_of_band.py: {what}")


async def refused(client, command, arguments=None):
    try:
        await client.execute(command, arguments, oob=True)
    except ExecuteError as error:
        return f"{error.error_class}: {error}"
    return expect(False, f"{command} was executed")


async def main(path):
    client = QMPClient("out-of-band")
    await client.connect(path)
    offered = client.greeting.QMP.capabilities
    expect(offered == ["oob", "subscribe", "class-hints"], f"capabilities {offered}")

    tag = await client.execute("get-stop-event", oob=True)
    await client.execute("listen-event", {"event": "RESUME", "id": "a"}, oob=True)
    error = await refused(client, "put-event", {"tag": tag + 1000})
    expect(error.startswith("InvalidParameterValue: "), error)
    error = await refused(client, "query-status")
    expect(error == "GenericError: The command query-status does not support OOB", error)

    events = EventListener(names={"STOP", "RESUME"})
    client.register_listener(events)
    await client.execute("cont")
    await client.execute("stop")
    seen = [await events.get() for _ in range(4)]
    client.remove_listener(events)
    marks = [(event["event"], event.get("tag", event.get("id"))) for event in seen]
    # Each arrives by default and by connection.
    expect(set(marks[:2]) == {("RESUME", None), ("RESUME", "a")}, f"events {seen}")
    expect(set(marks[2:]) == {("STOP", None), ("STOP", tag)}, f"events {seen}")

    # Out-of-band and in-band commands in flight together, each with its own answer.
    answers = await asyncio.gather(
        *(client.execute("query-status") for _ in range(20)),
        client.execute("put-event", {"tag": tag}, oob=True),
    )
    expect(answers[-1] == {}, f"put-event returned {answers[-1]}")
    expect(all(status["status"] == "paused" for status in answers[:-1]), f"answers {answers}")

    await client.execute("quit")
    try:
        await client.disconnect()
    except EOFError:
        # The server may close the connection first after 'quit'.
        pass


asyncio.run(main(sys.argv[1]))
