//! A set of system calls, each with what its arguments must be.

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};

/// The only architecture there is.
pub(super) const ARCHITECTURE: TargetArch = TargetArch::x86_64;

/// What an argument must be. The number is the argument's place.
#[derive(Debug, Clone, Copy)]
pub(super) enum Check {
    /// An `int` of this value: the kernel does not look at what is above it.
    Int(u8, u64),
    /// An `int` in which the bits of the mask are these.
    IntBits(u8, u64, u64),
    /// A whole register in which the bits of the mask are these.
    WordBits(u8, u64, u64),
}

impl Check {
    fn condition(self) -> Result<SeccompCondition, BackendError> {
        use SeccompCmpArgLen::{Dword, Qword};
        use SeccompCmpOp::{Eq, MaskedEq};
        match self {
            Self::Int(place, value) => SeccompCondition::new(place, Dword, Eq, value),
            Self::IntBits(place, mask, value) => {
                SeccompCondition::new(place, Dword, MaskedEq(mask), value)
            }
            Self::WordBits(place, mask, value) => {
                SeccompCondition::new(place, Qword, MaskedEq(mask), value)
            }
        }
    }
}

/// System calls that are allowed.
#[derive(Debug, Default)]
pub(super) struct Calls(BTreeMap<i64, Vec<SeccompRule>>);

impl Calls {
    /// Allows calls whatever their arguments are.
    pub(super) fn allow(&mut self, calls: &[i64]) {
        for call in calls {
            // No rule is one that everything fulfils.
            self.0.insert(*call, Vec::new());
        }
    }

    /// Allows a call whose arguments pass all checks, beside what is allowed of it already.
    pub(super) fn allow_if(&mut self, call: i64, checks: &[Check]) -> Result<(), BackendError> {
        let conditions = checks.iter().map(|check| check.condition());
        let rule = SeccompRule::new(conditions.collect::<Result<_, _>>()?)?;
        match self.0.get_mut(&call) {
            Some(rules) if rules.is_empty() => {}
            Some(rules) => rules.push(rule),
            None => drop(self.0.insert(call, vec![rule])),
        }
        Ok(())
    }

    /// A filter that raises SIGSYS for everything else.
    pub(super) fn compile(self) -> Result<BpfProgram, BackendError> {
        let (refuse, allow) = (SeccompAction::Trap, SeccompAction::Allow);
        SeccompFilter::new(self.0, refuse, allow, ARCHITECTURE)?.try_into()
    }

    /// What is allowed here and not there.
    #[cfg(test)]
    pub(super) fn beyond(&self, other: &Self) -> Vec<i64> {
        let covered = |(call, rules): &(&i64, &Vec<SeccompRule>)| {
            other.0.get(call).is_some_and(|others| {
                let each = |rule| others.contains(rule);
                others.is_empty() || !rules.is_empty() && rules.iter().all(each)
            })
        };
        let all = self.0.iter().filter(|entry| !covered(entry));
        all.map(|(call, _)| *call).collect()
    }

    /// Whether a call is allowed with some arguments.
    #[cfg(test)]
    pub(super) fn has(&self, call: i64) -> bool {
        self.0.contains_key(&call)
    }
}
