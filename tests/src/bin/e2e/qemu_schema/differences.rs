//! Where we differ from QEMU's schema on purpose. A difference that is not here fails a test, as does one that is here and
//! is none any more.

/// A difference, and why it is one.
pub struct Difference {
    /// As the comparison words it; `*` at its start stands for any beginning.
    pub what: &'static str,
    /// What a client of QEMU's makes of it.
    pub why: &'static str,
}

impl Difference {
    /// Whether it is this one.
    pub fn is(&self, found: &str) -> bool {
        match self.what.strip_prefix('*') {
            Some(end) => found.ends_with(end),
            None => found == self.what,
        }
    }
}

/// Of the schemas.
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

/// Of what is sent.
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
