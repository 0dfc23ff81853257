//! Filters for system calls, compiled from the lists of each kind of thread.

use std::collections::BTreeMap;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

use super::SandboxError;
use super::kind::Kind;
use super::landlock::Removable;
use super::rules::ARCHITECTURE;

/// The filter of each kind.
pub(super) struct Filters(BTreeMap<Kind, BpfProgram>);

impl Filters {
    /// Compiles all of them, so that no compilation can fail once a guest runs.
    pub(super) fn new(removable: &Removable) -> Result<Self, SandboxError> {
        let compile = |kind| {
            let calls = super::calls::of(kind, removable)?;
            Ok((kind, calls.compile()?))
        };
        let filters = Kind::ALL.into_iter().map(compile);
        Ok(Self(filters.collect::<Result<_, SandboxError>>()?))
    }

    pub(super) fn of(&self, kind: Kind) -> &BpfProgram {
        &self.0[&kind]
    }
}

/// Confines this thread, and all that it starts.
pub(super) fn apply(filter: &BpfProgram) -> Result<(), SandboxError> {
    Ok(seccompiler::apply_filter(filter)?)
}

/// A filter that makes clone3(2) fail with ENOSYS, as no filter can see its arguments. The C library then uses
/// clone(2), which the filters of the kinds allow for threads only.
pub(super) fn without_clone3() -> Result<BpfProgram, SandboxError> {
    let no_such_call = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
    let rules = [(libc::SYS_clone3, Vec::new())].into();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, no_such_call, ARCHITECTURE)?;
    Ok(filter.try_into()?)
}
