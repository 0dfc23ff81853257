//! The matrix's dimensions: operations, actions, policies.

use serde_json::{Value, json};

/// Sectors of a request.
pub const LENGTH: u64 = 8;

/// Sectors reserved for each cell; its effects must not reach beyond them.
pub const REGION: u64 = 32;

/// Distance of a misdirected request from its intended place.
pub const ASIDE: u64 = 16;

/// The data written.
pub const SEED: u64 = 9;

/// Duration of a delay.
pub const DELAY: std::time::Duration = std::time::Duration::from_millis(15);

/// The pattern, and its offset.
pub const PATTERN: [u8; 3] = [0xde, 0xad, 0x42];
pub const PATTERN_AT: usize = 500;
pub const PATTERN_LENGTH: usize = 1040;

/// Bits that are inverted.
pub const FLIPPED: usize = 100;

/// Sectors that a torn write keeps.
pub const KEPT: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Read,
    Write,
    Flush,
    Discard,
    WriteZeroes,
}

pub const OPERATIONS: [Operation; 5] = [
    Operation::Read,
    Operation::Write,
    Operation::Flush,
    Operation::Discard,
    Operation::WriteZeroes,
];

impl Operation {
    /// Its name in the schema.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Flush => "flush",
            Self::Discard => "discard",
            Self::WriteZeroes => "write-zeroes",
        }
    }

    /// Its name in statistics.
    pub fn counted_as(self) -> &'static str {
        match self {
            Self::Read => "rd",
            Self::Write | Self::WriteZeroes => "wr",
            Self::Flush => "flush",
            Self::Discard => "unmap",
        }
    }

    /// The guest's step.
    pub fn step(self, first: u64) -> String {
        match self {
            Self::Read => format!("read 0 {first} {LENGTH}"),
            Self::Write => format!("write 0 {first} {LENGTH} {SEED}"),
            Self::Flush => "flush 0".to_owned(),
            Self::Discard => format!("discard 0 0 {first} {LENGTH}"),
            Self::WriteZeroes => format!("zero 0 0 {first} {LENGTH}"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    Io,
    NoSpace,
}

impl Error {
    pub fn reason(self) -> &'static str {
        match self {
            Self::Io => "Input/output error",
            Self::NoSpace => "No space left on device",
        }
    }
}

/// A request's effect on the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The intended effect.
    Whole,
    Nothing,
    Flipped,
    Overwritten,
    First,
    Last,
    Random,
    Elsewhere,
}

/// A request's course until it ends.
#[derive(Debug, Clone, PartialEq)]
pub enum Course {
    Straight,
    /// It is delayed.
    Delayed,
    /// It hangs until it is released this way.
    Hangs(Value),
    /// The machine stops before it.
    Stops,
    /// The power fails, then the machine stops.
    PowerFails,
}

/// A column of the matrix.
#[derive(Debug, Clone)]
pub struct Column {
    pub name: &'static str,
    /// The rule's members that define the action.
    pub members: Value,
    pub course: Course,
    pub effect: Effect,
    pub error: Option<Error>,
}

impl Column {
    fn new(name: &'static str, members: Value, effect: Effect) -> Self {
        Self {
            name,
            members,
            course: Course::Straight,
            effect,
            error: None,
        }
    }

    fn fails(mut self, error: Error) -> Self {
        self.error = Some(error);
        self
    }

    fn takes(mut self, course: Course) -> Self {
        self.course = course;
        self
    }

    /// Whether the action fits such a request.
    pub fn is_possible(&self, operation: Operation) -> bool {
        match self.effect {
            Effect::Flipped | Effect::Overwritten | Effect::Elsewhere => {
                matches!(operation, Operation::Read | Operation::Write)
            }
            Effect::First | Effect::Last | Effect::Random => operation == Operation::Write,
            _ => self.name != "drop" || operation != Operation::Read,
        }
    }
}

/// The columns; `first` is the request's first sector.
pub fn actions(first: u64) -> Vec<Column> {
    let action = Column::new;
    let error = |errno: &str| json!({ "action": "error", "errno": errno });
    let after = |errno: &str| json!({ "action": "error", "errno": errno, "after": true });
    let hang = || json!({ "action": "hang" });
    let kept = |keep: &str| json!({ "action": "torn", "keep": keep, "keep-sectors": KEPT });
    let delay = json!({ "action": "delay", "microseconds": DELAY.as_micros() });
    let flip = json!({ "action": "corrupt", "flip-bits": FLIPPED });
    let pattern = json!({
        "action": "corrupt", "pattern": "DEad42", "offset": PATTERN_AT, "length": PATTERN_LENGTH,
    });
    let random = || json!({ "action": "torn", "keep": "random" });
    let with = |mut members: Value, errno: Value| {
        members["errno"] = errno;
        members
    };
    let misdirect = json!({ "action": "misdirect", "to-sector": first + ASIDE });
    let set_state = json!({ "action": "set-state", "new-state": "another" });
    let power_cut = json!({ "action": "power-cut", "survive": "random", "then": "stop" });
    let released = |how: Value| Course::Hangs(how);
    vec![
        action("error", error("EIO"), Effect::Nothing).fails(Error::Io),
        action("error no space", error("ENOSPC"), Effect::Nothing).fails(Error::NoSpace),
        action("error after", after("EIO"), Effect::Whole).fails(Error::Io),
        action("error no space after", after("ENOSPC"), Effect::Whole).fails(Error::NoSpace),
        action("delay", delay, Effect::Whole).takes(Course::Delayed),
        action("hang, perform", hang(), Effect::Whole).takes(released(json!({}))),
        action("hang, complete", hang(), Effect::Nothing)
            .takes(released(json!({ "how": "complete" }))),
        action("hang, fail", hang(), Effect::Nothing)
            .takes(released(json!({ "how": "fail" })))
            .fails(Error::Io),
        action("hang, fail, no space", hang(), Effect::Nothing)
            .takes(released(json!({ "how": "fail", "errno": 28 })))
            .fails(Error::NoSpace),
        action("flip bits", flip, Effect::Flipped),
        action("pattern", pattern, Effect::Overwritten),
        action("torn first", kept("first"), Effect::First),
        action("torn last", kept("last"), Effect::Last),
        action("torn random", random(), Effect::Random),
        action(
            "torn first, fail",
            with(kept("first"), json!("EIO")),
            Effect::First,
        )
        .fails(Error::Io),
        action(
            "torn random, fail",
            with(random(), json!(28)),
            Effect::Random,
        )
        .fails(Error::NoSpace),
        action("drop", json!({ "action": "drop" }), Effect::Nothing),
        action("misdirect", misdirect, Effect::Elsewhere),
        action("set-state", set_state, Effect::Whole),
        action("stop", json!({ "action": "stop" }), Effect::Whole).takes(Course::Stops),
        action("power-cut", power_cut, Effect::Nothing)
            .takes(Course::PowerFails)
            .fails(Error::Io),
    ]
}

/// A page of the matrix: an error policy.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    pub werror: &'static str,
    pub rerror: &'static str,
}

impl Policy {
    /// What the policy does about an error of this operation.
    pub fn action(self, operation: Operation, error: Error) -> &'static str {
        let of = match operation {
            Operation::Read => self.rerror,
            _ => self.werror,
        };
        match (of, error) {
            ("enospc", Error::NoSpace) => "stop",
            ("enospc", Error::Io) => "report",
            (of, _) => of,
        }
    }

    /// The io-status of a disk without an error; empty if it has none.
    pub fn good_status(self) -> &'static str {
        match (self.werror, self.rerror) {
            ("enospc" | "stop", _) | (_, "stop") => "ok",
            _ => "",
        }
    }
}
