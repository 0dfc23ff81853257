//! Intended differences from QEMU's schema. An unlisted difference fails a test, as does a listed one that does not
//! exist.

/// A difference and its reason.
pub struct Difference {
    /// In the comparison's words; a leading `*` matches any beginning.
    pub what: &'static str,
    /// Its effect on a client of QEMU's.
    pub why: &'static str,
}

impl Difference {
    /// Whether it matches this difference.
    pub fn is(&self, found: &str) -> bool {
        match self.what.strip_prefix('*') {
            Some(end) => found.ends_with(end),
            None => found == self.what,
        }
    }
}

/// Differences of the schemas.
pub const OF_SCHEMAS: &[Difference] = &[
    Difference {
        what: "QMPCapability: value 'subscribe' is ours alone",
        why: "a client enables the capabilities that it knows, and passes over others in the greeting",
    },
    Difference {
        what: "QMPCapability: value 'class-hints' is ours alone",
        why: "a client enables the capabilities that it knows, and passes over others in the greeting",
    },
];

/// Differences of messages.
pub const OF_MESSAGES: &[Difference] = &[
    Difference {
        what: "QMP.capabilities[]: \"subscribe\" is no QMPCapability",
        why: "a client enables the capabilities that it knows, and passes over others in the greeting",
    },
    Difference {
        what: "QMP.capabilities[]: \"class-hints\" is no QMPCapability",
        why: "a client enables the capabilities that it knows, and passes over others in the greeting",
    },
    Difference {
        what: "*: member 'tag' beside the data",
        why: "only on a connection that the client has asked for",
    },
];
