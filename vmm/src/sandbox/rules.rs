//! A set of system calls with conditions on their arguments.

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};

/// The only architecture supported.
pub(super) const ARCHITECTURE: TargetArch = TargetArch::x86_64;

/// A condition on an argument. The number is the argument's position.
#[derive(Debug, Clone, Copy)]
pub(super) enum Check {
    /// An `int` of this value: the kernel ignores the upper half.
    Int(u8, u64),
    /// An `int` whose bits in the mask have this value.
    IntBits(u8, u64, u64),
    /// A whole register whose bits in the mask have this value.
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

/// Permitted system calls.
#[derive(Debug, Default)]
pub(super) struct Calls(BTreeMap<i64, Vec<SeccompRule>>);

impl Calls {
    /// Permits calls with any arguments.
    pub(super) fn allow(&mut self, calls: &[i64]) {
        for call in calls {
            // No condition means that any arguments are permitted.
            self.0.insert(*call, Vec::new());
        }
    }

    /// Permits a call whose arguments meet all conditions, beside those permitted already.
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

    /// A filter that raises SIGSYS for every other call.
    pub(super) fn compile(self) -> Result<BpfProgram, BackendError> {
        let (refuse, allow) = (SeccompAction::Trap, SeccompAction::Allow);
        SeccompFilter::new(self.0, refuse, allow, ARCHITECTURE)?.try_into()
    }

    /// The calls that are permitted here and not there.
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

    /// Whether a call is permitted with some arguments.
    #[cfg(test)]
    pub(super) fn has(&self, call: i64) -> bool {
        self.0.contains_key(&call)
    }
}
