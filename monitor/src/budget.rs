//! The memory that clients which do not read may use together.

use std::cell::Cell;
use std::rc::Rc;

/// The guaranteed share of each holder: a client that reads needs no more, and is not affected by those that do not.
pub(crate) const SHARE: usize = 128 * 1024;

/// The memory that must have been freed before the allocator is asked to return it.
const WORTH_RETURNING: usize = 2 * 1024 * 1024;

/// A limit of memory for several holders, beside the guaranteed share of each.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: Cell<usize>,
    held: Cell<usize>,
    /// The maximum since the allocator last returned memory.
    most: Cell<usize>,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Rc<Self> {
        Rc::new(Self {
            limit: Cell::new(limit),
            held: Cell::new(0),
            most: Cell::new(0),
        })
    }

    /// Raises it to suffice for one holder of this size.
    pub(crate) fn allow_one(&self, bytes: usize) {
        self.limit.set(self.limit.get().max(bytes));
    }

    /// Whether so much was freed since the last time that memory should be returned to the host.
    pub(crate) fn is_worth_returning(&self) -> bool {
        let given_back = self.most.get().saturating_sub(self.held.get());
        if given_back < WORTH_RETURNING {
            return false;
        }
        self.most.set(self.held.get());
        true
    }

    fn change(&self, held: usize) {
        self.held.set(held);
        self.most.set(self.most.get().max(held));
    }
}

/// A holder's memory, released when this is dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Rc<Budget>,
    bytes: usize,
}

impl Charge {
    pub(crate) fn new(budget: &Rc<Budget>) -> Self {
        Self {
            budget: Rc::clone(budget),
            bytes: 0,
        }
    }

    /// Whether it may grow by this many bytes.
    pub(crate) fn allows(&self, more: usize) -> bool {
        self.bytes.saturating_add(more) <= SHARE
            || self.budget.held.get().saturating_add(more) <= self.budget.limit.get()
    }

    /// Adds memory, within the limit or not.
    pub(crate) fn add(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.budget
            .change(self.budget.held.get().saturating_add(bytes));
    }

    /// Releases memory.
    pub(crate) fn give_back(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.budget
            .change(self.budget.held.get().saturating_sub(bytes));
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}

/// Returns freed memory to the host: the C library keeps it in its threads' arenas.
#[cfg_attr(
    target_env = "gnu",
    expect(unsafe_code, reason = "the allocator is asked by a C function")
)]
pub(crate) fn return_memory() {
    // SAFETY: malloc_trim(3) may be called at any time, by any thread.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_its_share_a_holder_has_what_others_leave() {
        let budget = Budget::new(2 * SHARE);
        let (mut one, mut other) = (Charge::new(&budget), Charge::new(&budget));
        one.add(SHARE + 1);
        assert!(one.allows(SHARE - 1) && !one.allows(SHARE));
        one.add(SHARE);
        assert!(!one.allows(1));
        assert!(other.allows(SHARE) && !other.allows(SHARE + 1));
        other.add(SHARE);
        one.give_back(SHARE + 1);
        assert!(!one.allows(SHARE + 1));
        drop(other);
        assert!(one.allows(SHARE) && !one.allows(SHARE + 1));
    }

    #[test]
    fn the_budget_suffices_for_one_holder() {
        let budget = Budget::new(1);
        budget.allow_one(4 * SHARE);
        assert!(Charge::new(&budget).allows(4 * SHARE));
    }

    #[test]
    fn memory_is_worth_returning_once_after_much_was_held() {
        let budget = Budget::new(usize::MAX);
        let mut charge = Charge::new(&budget);
        charge.add(WORTH_RETURNING - 1);
        charge.give_back(WORTH_RETURNING - 1);
        assert!(!budget.is_worth_returning());
        charge.add(WORTH_RETURNING);
        assert!(!budget.is_worth_returning());
        drop(charge);
        assert!(budget.is_worth_returning());
        assert!(!budget.is_worth_returning());
    }
}
