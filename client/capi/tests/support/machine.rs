//! A machine without a guest, in this process. Its answers follow from its commands.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use faultvisor_monitor::{ListenAddress, Machine, Monitor, MonitorHandle, Reply};
use faultvisor_schema::{
    BlockDeviceIoStatus, BlockDeviceStats, BlockErrorAction, BlockFaultAdded, BlockFaultHanging,
    BlockFaultInfo, BlockFaultOperation, BlockFaultReleased, BlockFaultRule, BlockFaultRuleInfo,
    BlockInfo, BlockIoError, BlockStats, CommandError, Empty, Event, IoOperationType,
    MachineCommand, MachineReturn, NameInfo, Reset, RunState, ShutdownCause, Signals, StatusInfo,
};
use tempfile::TempDir;

/// Has one disk, `disk0`, with the rules that it is given.
#[derive(Default)]
struct State {
    signals: OnceLock<Signals>,
    running: Mutex<bool>,
    rules: Mutex<Vec<BlockFaultRule>>,
}

struct FaultMachine {
    state: Arc<State>,
    /// Commands that the test handles, and that are not answered.
    left: Sender<MachineCommand>,
    /// Their replies, which are never sent.
    replies: Mutex<Vec<Reply>>,
}

impl Machine for FaultMachine {
    fn submit(&self, command: MachineCommand, reply: Reply) {
        if command == MachineCommand::Quit {
            self.replies.lock().unwrap().push(reply);
            self.left.send(command).unwrap();
            return;
        }
        reply.send(self.state.execute(command));
    }

    fn answer(&self, _: &MachineCommand) -> Option<MachineReturn> {
        None
    }

    fn has_device(&self, name: &str) -> bool {
        name == "disk0"
    }

    fn is_current(&self, _: &Event) -> bool {
        false
    }
}

impl State {
    fn rules(&self) -> MutexGuard<'_, Vec<BlockFaultRule>> {
        self.rules.lock().unwrap()
    }

    fn raise(&self, event: Event) {
        self.signals.get().unwrap().raise(event);
    }

    fn run(&self, running: bool) -> MachineReturn {
        *self.running.lock().unwrap() = running;
        self.raise(if running { Event::Resume } else { Event::Stop });
        MachineReturn::Empty(Empty {})
    }

    fn execute(&self, command: MachineCommand) -> Result<MachineReturn, CommandError> {
        Ok(match command {
            MachineCommand::Stop => self.run(false),
            MachineCommand::Cont => self.run(true),
            MachineCommand::QueryStatus => {
                let running = *self.running.lock().unwrap();
                let status = if running {
                    RunState::Running
                } else {
                    RunState::Paused
                };
                MachineReturn::QueryStatus(StatusInfo { running, status })
            }
            MachineCommand::QueryName => MachineReturn::QueryName(NameInfo {
                name: Some("a\0b \u{1f4be}".to_owned()),
            }),
            MachineCommand::SystemReset => {
                let reason = ShutdownCause::HostQmpSystemReset;
                self.raise(Event::Reset(Reset {
                    guest: false,
                    reason,
                }));
                MachineReturn::Empty(Empty {})
            }
            MachineCommand::QueryBlock => MachineReturn::QueryBlock(vec![
                disk("disk0", Some(BlockDeviceIoStatus::Nospace)),
                disk("", None),
            ]),
            MachineCommand::QueryBlockstats(_) => {
                MachineReturn::QueryBlockstats(vec![stats(2), stats(0)])
            }
            MachineCommand::BlockFaultAdd(rule) => self.add(*rule)?,
            MachineCommand::BlockFaultClear(_) => {
                self.rules().clear();
                MachineReturn::Empty(Empty {})
            }
            MachineCommand::QueryBlockFaults => {
                MachineReturn::QueryBlockFaults(vec![self.faults()])
            }
            MachineCommand::BlockFaultRelease(arguments) => {
                let reason = arguments.id.unwrap_or_else(|| "an error".to_owned());
                let released = arguments.ordinal.unwrap_or(1);
                for _ in 0..released {
                    self.raise(io_error(&arguments.device, &reason));
                }
                MachineReturn::BlockFaultRelease(BlockFaultReleased { released })
            }
            MachineCommand::BlockResize(arguments) => {
                let device = arguments.device.unwrap_or_default();
                return Err(CommandError::device_not_found(&device));
            }
            _ => return Err(CommandError::generic("This machine cannot do that")),
        })
    }

    fn add(&self, mut rule: BlockFaultRule) -> Result<MachineReturn, CommandError> {
        if rule.device != "disk0" {
            return Err(CommandError::device_not_found(&rule.device));
        }
        let mut rules = self.rules();
        let id = rule.id.take();
        let id = id.unwrap_or_else(|| format!("rule{}", rules.len()));
        let seed = *rule.seed.get_or_insert(7);
        rule.id = Some(id.clone());
        rules.push(rule);
        Ok(MachineReturn::BlockFaultAdd(BlockFaultAdded { id, seed }))
    }

    fn faults(&self) -> BlockFaultInfo {
        let rules = self
            .rules()
            .clone()
            .into_iter()
            .map(|rule| BlockFaultRuleInfo {
                rule,
                matches: u64::MAX,
                hits: 1,
            });
        BlockFaultInfo {
            device: "disk0".to_owned(),
            state: "1".to_owned(),
            rules: rules.collect(),
            hanging: vec![BlockFaultHanging {
                ordinal: 3,
                id: "h".to_owned(),
                operation: BlockFaultOperation::Flush,
                sector: 8,
                sectors: 16,
            }],
        }
    }
}

fn io_error(device: &str, reason: &str) -> Event {
    Event::BlockIoError(BlockIoError {
        qom_path: format!("/machine/peripheral/{device}"),
        device: device.to_owned(),
        node_name: None,
        operation: IoOperationType::Write,
        action: BlockErrorAction::Report,
        nospace: Some(true),
        reason: reason.to_owned(),
    })
}

fn disk(name: &str, io_status: Option<BlockDeviceIoStatus>) -> BlockInfo {
    BlockInfo {
        device: name.to_owned(),
        qdev: None,
        r#type: "unknown".to_owned(),
        removable: true,
        locked: false,
        inserted: None,
        io_status,
    }
}

/// Statistics nested to a depth.
fn stats(depth: usize) -> BlockStats {
    let within = depth.checked_sub(1).map(stats);
    BlockStats {
        device: Some(format!("disk{depth}")),
        parent: within.map(Box::new),
        ..BlockStats::new(device_stats())
    }
}

/// Statistics of an idle disk, but with extreme numbers of bytes.
fn device_stats() -> BlockDeviceStats {
    BlockDeviceStats {
        rd_bytes: i64::MAX,
        wr_bytes: i64::MIN,
        zone_append_bytes: 0,
        unmap_bytes: 0,
        rd_operations: 0,
        wr_operations: 0,
        zone_append_operations: 0,
        flush_operations: 0,
        unmap_operations: 0,
        rd_total_time_ns: 0,
        wr_total_time_ns: 0,
        zone_append_total_time_ns: 0,
        flush_total_time_ns: 0,
        unmap_total_time_ns: 0,
        wr_highest_offset: 0,
        rd_merged: 0,
        wr_merged: 0,
        zone_append_merged: 0,
        unmap_merged: 0,
        idle_time_ns: Some(-1),
        failed_rd_operations: 0,
        failed_wr_operations: 0,
        failed_zone_append_operations: 0,
        failed_flush_operations: 0,
        failed_unmap_operations: 0,
        invalid_rd_operations: 0,
        invalid_wr_operations: 0,
        invalid_zone_append_operations: 0,
        invalid_flush_operations: 0,
        invalid_unmap_operations: 0,
        account_invalid: false,
        account_failed: false,
        timed_stats: Vec::new(),
    }
}

/// A monitor with such a machine, on a unix socket.
pub struct Server {
    pub path: PathBuf,
    commands: Receiver<MachineCommand>,
    handle: MonitorHandle,
    _directory: TempDir,
}

impl Server {
    pub fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("qmp.sock");
        let address: ListenAddress = format!("unix:{}", path.display()).parse().unwrap();
        let (left, commands) = channel();
        let state = Arc::<State>::default();
        let machine = FaultMachine {
            state: Arc::clone(&state),
            left,
            replies: Mutex::default(),
        };
        let monitor = Monitor::builder().bind(&[address]).unwrap();
        let handle = monitor.start(Box::new(machine)).unwrap();
        let _ = state.signals.set(handle.signals());
        Self {
            path,
            commands,
            handle,
            _directory: directory,
        }
    }

    /// Serves until a client sends `quit`, and closes the connection instead of answering.
    pub fn hang_up_on_quit(self) {
        let _ = self.commands.recv();
        drop(self.handle);
    }
}
