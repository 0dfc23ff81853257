//! Files of QEMU's blkdebug driver, as rules.
//!
//! QEMU's `docs/devel/testing/blkdebug.rst` defines them. In QEMU a request raises several events in the block layers,
//! and a rule matches one of them; here a disk's request is one event, under whichever of its names.

mod file;

use std::path::Path;

use faultvisor_devices::block::fault::draw::MAX_DELAY;
use faultvisor_monitor::option_syntax::switch;
use faultvisor_schema::{
    BlockFaultDelay, BlockFaultErrno, BlockFaultError, BlockFaultOperation, BlockFaultRule,
    BlockFaultRuleBranch, BlockFaultSetState,
};

use super::error::{FaultsError, Mistake, Origin};
use super::file::read;
use super::given::{GivenRule, IfFutile};
use super::key_value::unsigned;
use file::{Kind, Section, sections};

/// The default errno.
const DEFAULT_ERRNO: u16 = 5;

/// Reads a drive's blkdebug file.
///
/// # Errors
///
/// [`FaultsError`] names the file and the line.
pub fn blkdebug(path: &Path, drive: &str) -> Result<Vec<GivenRule>, FaultsError> {
    let origin = |line| Origin::File {
        path: path.to_owned(),
        line: Some(line),
    };
    let text = read(path)?;
    let rules = understand(&text, drive)
        .map_err(|mistake| FaultsError::new(origin(mistake.line), mistake.problem))?;
    let given = rules.into_iter().map(|(line, rule)| GivenRule {
        rule,
        origin: origin(line),
        if_futile: IfFutile::Tell,
    });
    Ok(given.collect())
}

/// An event that requests of a disk raise.
struct Event {
    name: &'static str,
    /// The requests that raise it.
    by: &'static [BlockFaultOperation],
    /// Its position among the events of one request.
    phase: u8,
    /// Whether the request can still fail.
    can_fail: bool,
    /// Whether every request raises it; of the others, only the initial state counts.
    is_raised: bool,
}

const fn event(name: &'static str, by: &'static [BlockFaultOperation], phase: u8) -> Event {
    Event {
        name,
        by,
        phase,
        can_fail: true,
        is_raised: true,
    }
}

/// The events of a raw image. QEMU raises `none` when the image is opened, so that its rules match every request.
const EVENTS: [Event; 8] = [
    Event {
        is_raised: false,
        ..event("none", BlockFaultOperation::ALL, 0)
    },
    event("read_aio", &[BlockFaultOperation::Read], 1),
    event("write_aio", &[BlockFaultOperation::Write], 1),
    event("flush_to_os", &[BlockFaultOperation::Flush], 1),
    event("flush_to_disk", &[BlockFaultOperation::Flush], 2),
    event("pwritev", &[BlockFaultOperation::Write], 2),
    event("pwritev_zero", &[BlockFaultOperation::WriteZeroes], 2),
    Event {
        can_fail: false,
        ..event(
            "pwritev_done",
            &[BlockFaultOperation::Write, BlockFaultOperation::WriteZeroes],
            3,
        )
    },
];

/// The rules of a file with their lines, in the order that has the same effect as in QEMU.
fn understand(text: &str, drive: &str) -> Result<Vec<(usize, BlockFaultRule)>, Mistake> {
    let mut states = Vec::new();
    let mut errors = Vec::new();
    for (number, section) in (1..).zip(sections(text)?) {
        let line = section.line;
        let kind = section.kind;
        let (event, rules) = translate(section, format!("blkdebug-{drive}-{number}"), drive)?;
        let placed = rules.into_iter().map(|rule| (event.phase, (line, rule)));
        match kind {
            Kind::InjectError => errors.extend(placed),
            Kind::SetState => states.extend(placed),
        }
    }
    // Of several new states, QEMU applies that of the latest event, and of one event the first in the file. Here the
    // last rule counts.
    states.reverse();
    states.sort_by_key(|(phase, _)| *phase);
    // Of several errors, QEMU applies that of the latest event, and of one event the first in the file. Here the first
    // rule counts, and states behind it would not be evaluated.
    errors.sort_by_key(|(phase, _)| std::cmp::Reverse(*phase));
    let all = states.into_iter().chain(errors);
    Ok(all.map(|(_, rule)| rule).collect())
}

/// The rules of a section: one, or one for the delay and one for the error.
fn translate(
    mut section: Section<'_>,
    id: String,
    drive: &str,
) -> Result<(&'static Event, Vec<BlockFaultRule>), Mistake> {
    let line = section.line;
    let missing = || Mistake::syntax(line, "key 'event' is missing");
    let (at, name) = section.take("event").ok_or_else(missing)?;
    let refuse = |why: &str| Mistake::syntax(at, format!("event '{name}' {why}"));
    let found = EVENTS.iter().find(|event| event.name == name);
    let event = found.ok_or_else(|| refuse("has no counterpart here"))?;
    let state = number(&mut section, "state")?.filter(|state| *state != 0);
    let mut rule = BlockFaultRule {
        id: Some(id),
        device: drive.to_owned(),
        operations: Some(event.by.to_vec()),
        sector: None,
        sectors: None,
        state: state.map(|state| state.to_string()),
        min_bytes: None,
        max_bytes: None,
        skip: None,
        count: None,
        probability: None,
        seed: None,
        action: BlockFaultRuleBranch::Stop,
    };
    match section.kind {
        Kind::InjectError => {
            if !event.can_fail {
                return Err(refuse(
                    "comes when the request is done, too late to fail it",
                ));
            }
            if !event.is_raised {
                // Raised once, in the initial state, which no rule leaves.
                if state.is_some_and(|state| state != 1) {
                    return Err(refuse("is raised in state 1 only"));
                }
                rule.state = None;
            }
            if let Some(operation) = iotype(&mut section, event)? {
                rule.operations = Some(vec![operation]);
            }
            rule.sector = sector(&mut section)?;
            rule.count = flag(&mut section, "once")?.then_some(1);
            // Here all errors occur at the same time.
            flag(&mut section, "immediately")?;
            let delay = delay(&mut section)?;
            return Ok((event, with_delay(rule, errno(&mut section, delay)?, delay)));
        }
        Kind::SetState => {
            if !event.is_raised {
                return Err(refuse("has no counterpart for [set-state] here"));
            }
            let new_state = number(&mut section, "new_state")?.unwrap_or(0);
            rule.action = BlockFaultRuleBranch::SetState(BlockFaultSetState {
                new_state: new_state.to_string(),
            });
        }
    }
    Ok((event, vec![rule]))
}

/// The rules for a delay and an error, or for one of them. The delay comes first, as no rule is evaluated behind the
/// one that decides.
fn with_delay(rule: BlockFaultRule, errno: Option<u16>, delay: Option<u64>) -> Vec<BlockFaultRule> {
    let delaying = delay.map(|microseconds| {
        let id = rule.id.as_ref().map(|id| format!("{id}-delay"));
        let delay = BlockFaultDelay {
            microseconds: Some(microseconds),
            ..BlockFaultDelay::new()
        };
        BlockFaultRule {
            id,
            action: BlockFaultRuleBranch::Delay(delay),
            ..rule.clone()
        }
    });
    let failing = errno.map(|errno| BlockFaultRule {
        action: BlockFaultRuleBranch::Error(BlockFaultError {
            errno: BlockFaultErrno::Number(errno),
            after: None,
        }),
        ..rule
    });
    delaying.into_iter().chain(failing).collect()
}

fn wrong(line: usize, key: &str, value: &str, expected: &str) -> Mistake {
    Mistake::syntax(line, format!("{key} is '{value}': expected {expected}"))
}

fn number(section: &mut Section<'_>, key: &str) -> Result<Option<u64>, Mistake> {
    let Some((line, value)) = section.take(key) else {
        return Ok(None);
    };
    let number = unsigned(value).ok_or_else(|| wrong(line, key, value, "a number"));
    number.map(Some)
}

/// A sector; -1 is any, as in QEMU.
fn sector(section: &mut Section<'_>) -> Result<Option<u64>, Mistake> {
    let Some((line, value)) = section.take("sector") else {
        return Ok(None);
    };
    match unsigned(value) {
        None if value == "-1" => Ok(None),
        None => Err(wrong(
            line,
            "sector",
            value,
            "a number, or -1 for any sector",
        )),
        sector => Ok(sector),
    }
}

/// The errno; 0, with a delay, is none.
fn errno(section: &mut Section<'_>, delay: Option<u64>) -> Result<Option<u16>, Mistake> {
    let Some((line, value)) = section.take("errno") else {
        return Ok(Some(DEFAULT_ERRNO));
    };
    let number = unsigned(value).and_then(|number| u16::try_from(number).ok());
    match number {
        Some(0) if delay.is_some() => Ok(None),
        Some(number @ 1..=4095) => Ok(Some(number)),
        _ => Err(wrong(line, "errno", value, "a number from 1 to 4095")),
    }
}

/// `delay-ns` (QEMU 11.1) in microseconds, rounded up.
fn delay(section: &mut Section<'_>) -> Result<Option<u64>, Mistake> {
    let Some((line, value)) = section.take("delay-ns") else {
        return Ok(None);
    };
    let most = MAX_DELAY.as_nanos();
    match unsigned(value) {
        Some(0) => Ok(None),
        Some(delay) if u128::from(delay) <= most => Ok(Some(delay.div_ceil(1000))),
        _ => Err(wrong(
            line,
            "delay-ns",
            value,
            "a number of nanoseconds, at most an hour",
        )),
    }
}

fn flag(section: &mut Section<'_>, key: &str) -> Result<bool, Mistake> {
    match section.take(key) {
        None => Ok(false),
        Some((line, value)) => switch(value).map_err(|_| wrong(line, key, value, "on or off")),
    }
}

/// The one operation that a rule is limited to, of those that raise the event.
fn iotype(
    section: &mut Section<'_>,
    event: &Event,
) -> Result<Option<BlockFaultOperation>, Mistake> {
    let Some((line, value)) = section.take("iotype") else {
        return Ok(None);
    };
    let mut operations = event.by.iter().copied();
    let found = operations.find(|operation| operation.name() == value);
    found.map(Some).ok_or_else(|| {
        let names: Vec<_> = event.by.iter().map(|operation| operation.name()).collect();
        let expected = format!("{}, as the event '{}' has", names.join(", "), event.name);
        wrong(line, "iotype", value, &expected)
    })
}

#[cfg(test)]
mod tests;
