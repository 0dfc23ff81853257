//! The text of `--help OPTION` and of the option's manual: a line for each key, and examples.

/// The description of an option with keys.
pub struct Topic {
    /// The option, without its dashes.
    pub option: &'static str,
    /// A summary, in a sentence or two.
    pub about: &'static str,
    /// Keys or forms, with their meaning.
    pub lines: &'static [(&'static str, &'static str)],
    /// Example values.
    pub examples: &'static [&'static str],
}

/// The options with a description of their own.
pub const TOPICS: [Topic; 9] = [
    Topic {
        option: "drive",
        about: "A virtio-blk disk: key=value,key=value… A comma in a value is written twice.",
        lines: &[
            (
                "file=PATH",
                "image or block device; blkdebug:RULES:PATH puts QEMU's blkdebug rules before it",
            ),
            (
                "format=raw|qcow2",
                "what the image is; without it, what it looks like",
            ),
            (
                "id=ID",
                "name of the disk for clients and rules [virtio0, virtio1…]",
            ),
            ("readonly=on|off", "whether the guest may only read [off]"),
            (
                "werror=report|ignore|enospc|stop",
                "what becomes of a failed write, flush, discard [enospc]",
            ),
            (
                "rerror=report|ignore|stop",
                "what becomes of a failed read [report]",
            ),
            (
                "serial=TEXT",
                "serial number that the guest sees, up to 20 bytes",
            ),
            (
                "cache=writeback|writethrough|none|directsync|unsafe",
                "host's page cache, and write cache of the disk [writeback]",
            ),
            (
                "volatile-cache=on|off",
                "whether a power cut loses what was not flushed [off]",
            ),
            ("volatile-cache-size=SIZE", "memory of that cache [64M]"),
            (
                "aio=io_uring|threads",
                "how requests are carried out [io_uring where the host has it]",
            ),
            (
                "backing=on|off",
                "whether a qcow2 image may have another one under it [on]",
            ),
            (
                "file.locking=on|off|auto",
                "whether others are kept from using the image [auto]",
            ),
            ("num-queues=N", "request queues, 1 to 256 [1]"),
            (
                "queue-size=N",
                "descriptors of each, a power of two from 4 to 1024 [256]",
            ),
            (
                "logical_block_size=BYTES",
                "what the guest should address the disk in [512]",
            ),
            (
                "physical_block_size=BYTES",
                "what the guest should write at once [the logical block]",
            ),
            (
                "discard=unmap|ignore",
                "whether the guest can give space back [unmap]",
            ),
            (
                "write-zeroes=on|off",
                "whether the guest can have ranges zeroed [on]",
            ),
            (
                "config-wce=on|off",
                "whether the guest can switch the write cache [on]",
            ),
            ("event_idx=on|off", "the virtio feature of this name [on]"),
            (
                "indirect_desc=on|off",
                "the virtio feature of this name [on]",
            ),
            (
                "throttling.bps-total=N",
                "bytes a second; also -read, -write, each with -max and -max-length",
            ),
            (
                "throttling.iops-total=N",
                "requests a second; also -read, -write, each with -max and -max-length",
            ),
            (
                "throttling.iops-size=BYTES",
                "a larger request counts as several",
            ),
            (
                "throttling.group=NAME",
                "limits shared with the disks of that group [the disk's id]",
            ),
            (
                "if=virtio, index=N, media=disk, snapshot=off",
                "as in QEMU, and only so",
            ),
        ],
        examples: &[
            "--drive file=disk.img,format=raw,id=disk0",
            "--drive file=disk.qcow2,id=disk0,werror=stop,rerror=stop",
            "--drive file=disk.img,format=raw,id=disk0,volatile-cache=on",
            "--drive file=blkdebug:rules.conf:disk.img,format=raw,id=disk0,throttling.iops-total=100",
        ],
    },
    Topic {
        option: "device",
        about: "An entropy device for the guest's random numbers, filled from the host's: \
                virtio-rng-device,key=value,key=value…",
        lines: &[
            ("id=ID", "name of the device [rng0, rng1…]"),
            (
                "max-bytes=N",
                "most bytes that the guest gets in a period [as many as it asks for]",
            ),
            ("period=N", "length of a period in milliseconds [65536]"),
        ],
        examples: &[
            "--device virtio-rng-device",
            "--device virtio-rng-device,max-bytes=1024,period=1000",
        ],
    },
    Topic {
        option: "vsock",
        about: "A virtio-vsock device: stream sockets between guest and host, with unix sockets on the host. A client \
                that connects to PATH and writes CONNECT PORT is connected to that port of the guest, and reads OK \
                and a number first. A guest that connects to a port of the host (CID 2) reaches the listener on \
                PATH_PORT.",
        lines: &[
            ("cid=N", "the guest's CID, 3 to 4294967294"),
            ("socket=PATH", "the socket, up to 96 bytes"),
        ],
        examples: &["--vsock cid=3,socket=/run/guest/vsock"],
    },
    Topic {
        option: "fault",
        about: "A rule for faults of a disk: the keys of the command block-fault-add, or a JSON object. Elements of a \
                list follow each other (operations=read,write) or are numbered (operations.0=read). Numbers may be \
                hexadecimal behind 0x, or end in K, M, G or T.",
        lines: &[
            ("device=ID", "the disk; has to be there"),
            (
                "operations=LIST",
                "of read, write, flush, discard, write-zeroes [what the action can be done to]",
            ),
            (
                "sector=N, sectors=N",
                "only requests that overlap this part, in units of 512 bytes",
            ),
            (
                "state=TEXT",
                "only while the disk's rules are in this state, which is 1 at first",
            ),
            ("min-bytes=N, max-bytes=N", "only requests of this length"),
            (
                "skip=N",
                "so many requests for which all that holds are let pass",
            ),
            ("count=N", "how often the rule fires [always]"),
            ("probability=P", "0 to 1: chance says whether it fires [1]"),
            (
                "seed=N",
                "what chance follows from [random, shown by query-block-faults]",
            ),
            ("id=NAME", "name of the rule [fault0, fault1…]"),
            (
                "action=error",
                "the request fails: errno=NAME or number, after=on to perform it all the same",
            ),
            (
                "action=delay",
                "it takes longer: microseconds=N, or min-microseconds=N and max-microseconds=N, or percentiles.N.percentile=P and percentiles.N.microseconds=N",
            ),
            ("action=hang", "it hangs until block-fault-release"),
            (
                "action=corrupt",
                "its data are changed: flip-bits=N, or pattern=HEX with offset=N and length=N",
            ),
            (
                "action=torn",
                "a part of the write reaches the disk: keep=first|last|random, keep-sectors=N, errno=NAME",
            ),
            ("action=drop", "it is reported as done, and is not"),
            ("action=misdirect", "it is performed elsewhere: to-sector=N"),
            (
                "action=set-state",
                "the disk's rules change their state: new-state=TEXT",
            ),
            ("action=stop", "the machine stops before it"),
            (
                "action=power-cut",
                "the power fails before it: survive=none|all|prefix|random, tear-bytes=N, then=reset|stop|quit; needs volatile-cache=on of the --drive to lose anything",
            ),
        ],
        examples: &[
            "--fault device=disk0,operations=read,sector=2048,action=error,errno=EIO",
            "--fault device=disk0,operations=read,write,probability=0.01,seed=1,action=delay,microseconds=200000",
            "--fault device=disk0,operations=write,skip=199,count=1,seed=7,action=power-cut,survive=random,then=quit",
            "--fault '{\"device\": \"disk0\", \"operations\": [\"flush\"], \"action\": \"drop\"}'",
        ],
    },
    Topic {
        option: "fault-unfired",
        about: "What becomes of rules that never fired, when the program ends. Each is named in a line on standard error.",
        lines: &[
            ("warn", "nothing but the line (default)"),
            ("fail", "the exit status is 3 instead of 0"),
            ("ignore", "not even the line"),
        ],
        examples: &["--fault-unfired fail"],
    },
    Topic {
        option: "serial",
        about: "Where the guest's first serial port goes. A Linux kernel writes there if its command line has console=ttyS0.",
        lines: &[
            (
                "stdio",
                "standard input and output; Ctrl-A X ends the program (default, without --qmp stdio)",
            ),
            ("file:PATH", "a file for the output; there is no input"),
            (
                "unix:PATH",
                "a socket that is listened on, for one client at a time; ,server=on,wait=off may follow",
            ),
            ("null", "nowhere"),
        ],
        examples: &[
            "--serial unix:/run/guest/console",
            "--serial file:console.log",
        ],
    },
    Topic {
        option: "qmp",
        about: "Where the monitor listens; repeatable.",
        lines: &[
            ("unix:PATH", "a unix socket"),
            (
                "tcp:HOST:PORT",
                "a TCP port; beyond the loopback only with ,allow-remote=on",
            ),
            ("stdio", "standard input and output"),
            ("fd:N", "a socket that the program was started with"),
            ("systemd[:NAME]", "what systemd passed"),
            (
                ",wait=on|off",
                "whether the guest waits for the first client",
            ),
            (",protocol=qmp|json-rpc", "what is spoken [qmp]"),
            (",max-clients=N", "clients at once [64]"),
            (
                ",max-output=BYTES",
                "what a client may leave unread before it loses events [4 MiB]",
            ),
        ],
        examples: &[
            "--qmp unix:/run/guest/qmp,wait=on",
            "--qmp tcp:127.0.0.1:4444",
        ],
    },
    Topic {
        option: "action",
        about: "What the machine does at the ends of its guest's life; repeatable.",
        lines: &[
            (
                "reboot=reset|shutdown",
                "when the guest resets itself [reset]",
            ),
            ("shutdown=poweroff|pause", "when it shuts down [poweroff]"),
            (
                "panic=pause|shutdown|exit-failure|none",
                "when it panics [shutdown]",
            ),
        ],
        examples: &["--action panic=exit-failure,reboot=shutdown"],
    },
    Topic {
        option: "smp",
        about: "How many vCPUs the guest has, 1 to 64: cores of one package, with one thread each.",
        lines: &[
            ("[cpus=]N", "their number"),
            (
                "cores=N, sockets=1, dies=1, threads=1, maxcpus=N",
                "as in QEMU, and only so",
            ),
        ],
        examples: &["--smp 4", "--smp 4,cores=4,threads=1"],
    },
];

/// The options that [`text`] has.
pub fn names() -> impl Iterator<Item = &'static str> {
    TOPICS.iter().map(|topic| topic.option)
}

/// The description of an option, if it has one.
pub fn text(option: &str) -> Option<String> {
    let topic = TOPICS.iter().find(|topic| topic.option == option)?;
    let mut text = format!("--{}: {}\n\n", topic.option, topic.about);
    for (form, meaning) in topic.lines {
        text.push_str(&format!("  {form}\n          {meaning}\n"));
    }
    text.push_str("\nExamples:\n");
    for example in topic.examples {
        text.push_str(&format!("  {example}\n"));
    }
    Some(text)
}
