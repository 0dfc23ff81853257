//! Uses of the generated types.

// Tests may fail by panicking, in their helpers too: clippy.toml knows only the functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::mpsc::{self, Receiver};

use faultvisor_schema::*;
use serde_json::{Value, json};

fn decode(name: &str, arguments: Value) -> Result<Command, CommandError> {
    let Value::Object(arguments) = arguments else {
        panic!("arguments are an object")
    };
    Command::decode(name, arguments)
}

fn refused(name: &str, arguments: Value) -> String {
    let error = decode(name, arguments).unwrap_err();
    assert_eq!(error.class, ErrorClass::GenericError);
    error.desc
}

fn disk() -> BlockInfo {
    BlockInfo {
        device: "disk0".to_owned(),
        qdev: None,
        r#type: "unknown".to_owned(),
        removable: false,
        locked: false,
        inserted: Some(BlockDeviceInfo {
            file: "disk.img".to_owned(),
            node_name: Some("disk0".to_owned()),
            ro: false,
            drv: "raw".to_owned(),
            backing_file: None,
            backing_file_depth: 0,
            active: true,
            encrypted: false,
            detect_zeroes: BlockdevDetectZeroesOptions::Off,
            bps: 0,
            bps_rd: 0,
            bps_wr: 0,
            iops: 0,
            iops_rd: 0,
            iops_wr: 0,
            image: ImageInfo {
                filename: "disk.img".to_owned(),
                format: "raw".to_owned(),
                dirty_flag: None,
                actual_size: Some(4096),
                virtual_size: 1 << 40,
                cluster_size: None,
                encrypted: None,
                compressed: None,
                backing_filename: None,
                full_backing_filename: None,
                backing_filename_format: None,
                backing_image: None,
            },
            bps_max: Some(1 << 40),
            bps_max_length: Some(60),
            iops_size: Some(4096),
            group: Some("disk0".to_owned()),
            bps_rd_max: None,
            bps_wr_max: None,
            iops_max: None,
            iops_rd_max: None,
            iops_wr_max: None,
            bps_rd_max_length: None,
            bps_wr_max_length: None,
            iops_max_length: None,
            iops_rd_max_length: None,
            iops_wr_max_length: None,
            cache: BlockdevCacheInfo {
                writeback: true,
                direct: false,
                no_flush: false,
            },
            write_threshold: 0,
        }),
        io_status: Some(BlockDeviceIoStatus::Nospace),
    }
}

#[test]
fn a_name_and_arguments_become_a_command() {
    assert_eq!(
        decode("stop", json!({})),
        Ok(Command::Machine(MachineCommand::Stop))
    );
    let put = MonitorCommand::PutEvent(PutEventArguments { tag: 32 });
    assert_eq!(
        decode("put-event", json!({"tag": 32})),
        Ok(Command::Monitor(put))
    );
    let get = MonitorCommand::GetEvent {
        signal: SignalName::BlockIoError,
        arguments: AccessorArguments {
            device: Some("disk0".to_owned()),
            initial: true,
        },
    };
    assert_eq!(
        decode(
            "get-block-io-error-event",
            json!({"device": "disk0", "initial": true})
        ),
        Ok(Command::Monitor(get))
    );
    assert_eq!(
        decode("get-events-lost-event", json!({}))
            .unwrap_err()
            .class,
        ErrorClass::CommandNotFound
    );
}

#[test]
fn errors_name_the_wrong_argument() {
    assert_eq!(
        refused("put-event", json!({})),
        "Parameter 'tag' is missing"
    );
    assert_eq!(
        refused("put-event", json!({"tag": 1, "x": 2})),
        "Parameter 'x' is unexpected"
    );
    for wrong in [
        json!("1"),
        json!(1.0),
        json!(null),
        json!(true),
        json!([1]),
        json!(1e30),
    ] {
        let message = refused("put-event", json!({"tag": wrong}));
        assert_eq!(
            message,
            "Invalid parameter type for 'tag', expected: integer"
        );
    }
    assert_eq!(
        refused("put-event", json!({"tag": u64::MAX})),
        format!(
            "Parameter 'tag' expects an integer from {} to {}",
            i64::MIN,
            i64::MAX
        )
    );
    assert_eq!(
        refused("stop", json!({"x": 1})),
        "Parameter 'x' is unexpected"
    );
    let enable = |enable: Value| refused("qmp_capabilities", json!({"enable": enable}));
    assert_eq!(
        enable(json!("oob")),
        "Invalid parameter type for 'enable', expected: array"
    );
    assert_eq!(
        enable(json!(["oob", 1])),
        "Invalid parameter type for 'enable[1]', expected: string"
    );
    assert_eq!(
        enable(json!(["bar"])),
        "Parameter 'enable[0]' does not accept value 'bar'"
    );
    // Null does not count as absent.
    assert_eq!(
        enable(json!(null)),
        "Invalid parameter type for 'enable', expected: array"
    );
}

#[test]
fn an_error_has_the_path_of_the_wrong_value() {
    let mut value = serde_json::to_value(disk()).unwrap();
    value["inserted"]["image"]["virtual-size"] = json!("large");
    let error = BlockInfo::decode(value, &Path::ROOT).unwrap_err();
    assert_eq!(
        error.desc,
        "Invalid parameter type for 'inserted.image.virtual-size', expected: integer"
    );
}

#[test]
fn encoded_values_decode_to_the_same() {
    let value = serde_json::to_value(disk()).unwrap();
    assert_eq!(BlockInfo::decode(value, &Path::ROOT), Ok(disk()));
}

#[test]
fn members_are_in_the_schemas_order_and_absent_ones_absent() {
    let text = serde_json::to_string(&disk()).unwrap();
    assert!(text.starts_with(
        r#"{"device":"disk0","type":"unknown","removable":false,"locked":false,"inserted":{"file":"#
    ));
    assert!(text.contains(r#""image":{"filename":"disk.img","format":"raw","actual-size":4096,"virtual-size":1099511627776}"#));
    assert!(text.ends_with(r#""io-status":"nospace"}"#));
    assert!(!text.contains("null"));
}

#[test]
fn the_table_has_every_command_once_and_sorted() {
    assert!(COMMANDS.is_sorted_by(|a, b| a.name < b.name));
    for entry in COMMANDS {
        if let Err(error) = decode(entry.name, json!({})) {
            assert_ne!(error.class, ErrorClass::CommandNotFound, "{}", entry.name);
        }
    }
    for signal in SignalName::ALL {
        let entry = COMMANDS
            .iter()
            .find(|entry| entry.name == signal.accessor())
            .unwrap();
        assert_eq!(entry.owner, CommandOwner::Monitor);
    }
    let owner = |name| {
        COMMANDS
            .iter()
            .find(|entry| entry.name == name)
            .map(|entry| entry.owner)
    };
    assert_eq!(owner("quit"), Some(CommandOwner::Machine));
    assert_eq!(owner("query-version"), Some(CommandOwner::Monitor));
}

#[test]
fn an_event_knows_its_signal_and_its_device() {
    let reset = Event::Reset(Reset {
        guest: true,
        reason: ShutdownCause::GuestReset,
    });
    assert_eq!(
        (reset.signal(), reset.name(), reset.device()),
        (SignalName::Reset, "RESET", None)
    );
    assert_eq!(
        serde_json::to_value(&reset).unwrap(),
        json!({"event": "RESET", "data": {"guest": true, "reason": "guest-reset"}})
    );
    assert!(SignalName::BlockIoError.has_device() && !SignalName::Stop.has_device());
}

/// Answers `stop` later, and everything else immediately.
#[derive(Default)]
struct Machine {
    stopping: Option<Reply<()>>,
}

impl MachineCommands for Machine {
    fn query_status(&mut self) -> Result<StatusInfo, CommandError> {
        Ok(StatusInfo {
            running: false,
            status: RunState::IoError,
        })
    }
    fn system_reset(&mut self, reply: Reply<()>) {
        reply.done();
    }
    fn system_powerdown(&mut self) -> Result<(), CommandError> {
        Ok(())
    }
    fn set_action(&mut self, _: SetActionArguments) -> Result<(), CommandError> {
        Ok(())
    }
    fn query_cpus_fast(&mut self) -> Result<Vec<CpuInfoFast>, CommandError> {
        Ok(vec![CpuInfoFast {
            cpu_index: 0,
            qom_path: "/machine/unattached/device[0]".to_owned(),
            thread_id: 25627,
            props: None,
            target: SysEmuTarget::X8664,
        }])
    }
    fn query_memory_size_summary(&mut self) -> Result<MemoryInfo, CommandError> {
        Ok(MemoryInfo {
            base_memory: 256 << 20,
            plugged_memory: Some(0),
        })
    }
    fn query_vsock(&mut self) -> Result<Vec<VsockInfo>, CommandError> {
        Ok(Vec::new())
    }
    fn query_iothreads(&mut self) -> Result<Vec<IOThreadInfo>, CommandError> {
        Ok(Vec::new())
    }
    fn query_kvm(&mut self) -> Result<KvmInfo, CommandError> {
        Ok(KvmInfo {
            enabled: true,
            present: true,
        })
    }
    fn query_name(&mut self) -> Result<NameInfo, CommandError> {
        Ok(NameInfo { name: None })
    }
    fn stop(&mut self, reply: Reply<()>) {
        self.stopping = Some(reply);
    }
    fn cont(&mut self, reply: Reply<()>) {
        reply.send(Err(CommandError::generic("no")));
    }
    fn quit(&mut self) -> Result<(), CommandError> {
        Ok(())
    }
    fn query_block(&mut self) -> Result<Vec<BlockInfo>, CommandError> {
        Ok(vec![disk()])
    }
    fn query_blockstats(
        &mut self,
        _: QueryBlockstatsArguments,
    ) -> Result<Vec<BlockStats>, CommandError> {
        let kinds = ["rd", "wr", "zone_append", "flush", "unmap"];
        let mut stats = json!({
            "account_invalid": true, "account_failed": true, "timed_stats": [],
            "wr_highest_offset": 1i64 << 40,
        });
        for kind in kinds {
            for name in ["operations", "total_time_ns", "merged", "bytes"] {
                stats[format!("{kind}_{name}")] = json!(7);
            }
            for name in ["failed", "invalid"] {
                stats[format!("{name}_{kind}_operations")] = json!(8);
            }
        }
        // A flush has no data, and is not merged.
        for name in ["flush_merged", "flush_bytes"] {
            stats.as_object_mut().unwrap().remove(name);
        }
        let one = json!({ "device": "disk0", "node-name": "disk0", "stats": stats });
        match MachineReturn::decode("query-blockstats", json!([one]))? {
            MachineReturn::QueryBlockstats(stats) => Ok(stats),
            other => panic!("{other:?}"),
        }
    }
    fn block_set_io_throttle(&mut self, _: BlockIOThrottle, reply: Reply<()>) {
        reply.done();
    }
    fn block_set_write_threshold(
        &mut self,
        _: BlockSetWriteThresholdArguments,
    ) -> Result<(), CommandError> {
        Ok(())
    }
    fn query_named_block_nodes(
        &mut self,
        _: QueryNamedBlockNodesArguments,
    ) -> Result<Vec<BlockDeviceInfo>, CommandError> {
        Ok(disk().inserted.into_iter().collect())
    }
    fn block_resize(&mut self, _: BlockResizeArguments, reply: Reply<()>) {
        reply.done();
    }
    fn block_fault_add(&mut self, rule: BlockFaultRule, reply: Reply<BlockFaultAdded>) {
        reply.send(Ok(BlockFaultAdded {
            id: rule.id.unwrap_or_default(),
            seed: rule.seed.unwrap_or_default(),
        }));
    }
    fn block_fault_remove(&mut self, _: BlockFaultRemoveArguments, reply: Reply<()>) {
        reply.done();
    }
    fn block_fault_clear(&mut self, _: BlockFaultClearArguments, reply: Reply<()>) {
        reply.done();
    }
    fn query_block_faults(&mut self) -> Result<Vec<BlockFaultInfo>, CommandError> {
        Ok(Vec::new())
    }
    fn block_fault_release(
        &mut self,
        _: BlockFaultReleaseArguments,
        reply: Reply<BlockFaultReleased>,
    ) {
        reply.send(Ok(BlockFaultReleased { released: 0 }));
    }
    fn block_fault_set_state(&mut self, _: BlockFaultSetStateArguments, reply: Reply<()>) {
        reply.done();
    }
    fn block_power_cut(&mut self, _: BlockPowerCutArguments, reply: Reply<()>) {
        reply.done();
    }
}

/// Has a machine execute a command. Returns where its answer arrives.
fn execute(
    machine: &mut Machine,
    command: MachineCommand,
) -> Receiver<Result<MachineReturn, CommandError>> {
    let (sender, answers) = mpsc::channel();
    command.execute(
        machine,
        Reply::new(move |result| sender.send(result).unwrap()),
    );
    answers
}

fn answer(command: MachineCommand) -> Value {
    let answers = execute(&mut Machine::default(), command);
    serde_json::to_value(answers.try_recv().unwrap().unwrap()).unwrap()
}

#[test]
fn a_command_that_takes_time_is_answered_when_it_is_done() {
    let mut machine = Machine::default();
    let answers = execute(&mut machine, MachineCommand::Stop);
    assert!(answers.try_recv().is_err());
    machine.stopping.take().unwrap().done();
    let answer = answers.try_recv().unwrap().unwrap();
    assert_eq!(serde_json::to_value(answer).unwrap(), json!({}));
    assert!(answers.recv().is_err());
}

#[test]
fn an_unfinished_command_is_answered_with_an_error() {
    let mut machine = Machine::default();
    let answers = execute(&mut machine, MachineCommand::Stop);
    drop(machine);
    let error = answers.try_recv().unwrap().unwrap_err();
    assert_eq!(error.desc, "The machine gave no answer");
}

#[test]
fn answers_decode_as_the_types_that_qemus_schema_makes() {
    use qapi::qmp;
    fn read<C: qapi::Command>(value: Value) -> C::Ok {
        serde_json::from_value(value).unwrap()
    }
    let blocks = read::<qmp::query_block>(answer(MachineCommand::QueryBlock));
    assert_eq!(blocks[0].io_status, Some(qmp::BlockDeviceIoStatus::nospace));
    assert_eq!(
        blocks[0].inserted.as_ref().unwrap().image.base.virtual_size,
        1 << 40
    );
    let limited = blocks[0].inserted.as_ref().unwrap();
    assert_eq!(
        (limited.bps_max, limited.bps_max_length, limited.iops_size),
        (Some(1 << 40), Some(60), Some(4096))
    );
    assert_eq!(limited.group.as_deref(), Some("disk0"));
    let arguments = QueryBlockstatsArguments { query_nodes: None };
    let stats = answer(MachineCommand::QueryBlockstats(arguments));
    let stats = read::<qmp::query_blockstats>(stats);
    assert_eq!(stats[0].stats.wr_highest_offset, 1 << 40);
    assert_eq!(stats[0].stats.failed_flush_operations, 8);
    let arguments = QueryNamedBlockNodesArguments { flat: None };
    let nodes = answer(MachineCommand::QueryNamedBlockNodes(arguments));
    let nodes = read::<qmp::query_named_block_nodes>(nodes);
    assert_eq!(nodes[0].image.base.virtual_size, 1 << 40);
    let status = read::<qmp::query_status>(answer(MachineCommand::QueryStatus));
    assert_eq!(status.status, qmp::RunState::io_error);
    assert!(read::<qmp::query_kvm>(answer(MachineCommand::QueryKvm)).enabled);
    assert_eq!(
        read::<qmp::query_name>(answer(MachineCommand::QueryName)).name,
        None
    );
    assert_eq!(answer(MachineCommand::SystemReset), json!({}));
    let refused = execute(&mut Machine::default(), MachineCommand::Cont);
    assert!(refused.try_recv().unwrap().is_err());
    let version = VersionInfo {
        qemu: VersionTriple {
            micro: 0,
            minor: 0,
            major: 10,
        },
        package: "faultvisor".to_owned(),
    };
    let version = serde_json::to_value(version).unwrap();
    assert_eq!(read::<qmp::query_version>(version).qemu.major, 10);
}

#[test]
fn events_decode_as_the_types_that_qemus_schema_makes() {
    use qapi::qmp;
    for (event, name) in [
        (Event::Stop, "STOP"),
        (Event::Resume, "RESUME"),
        (
            Event::Shutdown(Shutdown {
                guest: true,
                reason: ShutdownCause::GuestShutdown,
            }),
            "SHUTDOWN",
        ),
        (
            Event::Reset(Reset {
                guest: false,
                reason: ShutdownCause::HostQmpSystemReset,
            }),
            "RESET",
        ),
        (
            Event::BlockIoError(BlockIoError {
                qom_path: "/machine/peripheral/disk0".to_owned(),
                device: "disk0".to_owned(),
                node_name: None,
                operation: IoOperationType::Write,
                action: BlockErrorAction::Stop,
                nospace: Some(true),
                reason: "No space left on device".to_owned(),
            }),
            "BLOCK_IO_ERROR",
        ),
        (
            Event::BlockWriteThreshold(BlockWriteThreshold {
                node_name: "disk0".to_owned(),
                amount_exceeded: u64::MAX,
                write_threshold: 1,
            }),
            "BLOCK_WRITE_THRESHOLD",
        ),
    ] {
        let mut value = serde_json::to_value(&event).unwrap();
        value["timestamp"] = json!({"seconds": 1, "microseconds": 2});
        value["tag"] = json!(32);
        assert_eq!(value["event"], name);
        // QEMU always sends an object; the client's type makes it optional.
        let read: Result<qmp::Event, _> = serde_json::from_value(value.clone());
        assert!(read.is_ok(), "{name}: {read:?} {value}");
    }
}

#[test]
fn limits_decode_from_the_type_that_qemus_schema_makes() {
    let limits = qapi::qmp::BlockIOThrottle {
        id: Some("disk0".to_owned()),
        bps: 1 << 20,
        iops_wr: 100,
        iops_wr_max: Some(200),
        group: Some("both".to_owned()),
        ..serde_json::from_value(json!({
            "bps": 0, "bps_rd": 0, "bps_wr": 0, "iops": 0, "iops_rd": 0, "iops_wr": 0,
        }))
        .unwrap()
    };
    let arguments = serde_json::to_value(limits).unwrap();
    let read = decode("block_set_io_throttle", arguments).unwrap();
    let Command::Machine(MachineCommand::BlockSetIoThrottle(read)) = read else {
        panic!("{read:?}")
    };
    assert_eq!((read.id.as_deref(), read.device), (Some("disk0"), None));
    assert_eq!(
        (read.bps, read.iops_wr, read.iops_wr_max),
        (1 << 20, 100, Some(200))
    );
    assert_eq!(read.group.as_deref(), Some("both"));
}

#[test]
fn values_are_all_of_qemus() {
    use qapi::Enum as _;
    let ours: Vec<&str> = RunState::ALL.iter().map(|value| value.name()).collect();
    assert_eq!(ours, qapi::qmp::RunState::NAMES);
    let ours: Vec<&str> = ShutdownCause::ALL
        .iter()
        .map(|value| value.name())
        .collect();
    assert_eq!(ours, qapi::qmp::ShutdownCause::NAMES);
}
