//! Strategies of the property tests.

use proptest::prelude::*;

use super::driver::{FLUSH, IN, OUT};
use crate::block::model::errno::Errno;
use crate::block::policy::error_policy::{ErrorPolicy, OnReadError, OnWriteError};

pub fn policy() -> impl Strategy<Value = ErrorPolicy> {
    let on_write = prop_oneof![
        Just(OnWriteError::Report),
        Just(OnWriteError::Ignore),
        Just(OnWriteError::Enospc),
        Just(OnWriteError::Stop),
    ];
    let on_read = prop_oneof![
        Just(OnReadError::Report),
        Just(OnReadError::Ignore),
        Just(OnReadError::Stop),
    ];
    (on_write, on_read).prop_map(|(on_write, on_read)| ErrorPolicy { on_write, on_read })
}

pub fn errno() -> impl Strategy<Value = Errno> {
    prop_oneof![Just(Errno::EIO), Just(Errno::ENOSPC)]
}

/// A request's result: mostly success.
pub fn end() -> impl Strategy<Value = Result<(), Errno>> {
    prop_oneof![2 => Just(Ok(())), 1 => errno().prop_map(Err)]
}

pub fn kind() -> impl Strategy<Value = u32> {
    prop_oneof![3 => Just(IN), 3 => Just(OUT), 1 => Just(FLUSH)]
}

pub fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}
