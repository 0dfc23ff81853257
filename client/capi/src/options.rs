//! A session's options in C.

use std::time::Duration;

use libqmp::{Options, Session};

use crate::conversion::InvalidArgument;
use crate::plain::c_struct;
use crate::pointer::Ref;

c_struct! {
    QmpSessionOptions {
        size: usize,
        timeout_ms: u64,
        within_ms: u64,
    }
}

/// Options, or `NULL` for the defaults.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct SessionOptions(Ref<QmpSessionOptions>);

impl SessionOptions {
    /// The defaults.
    pub(crate) const NULL: Self = Self(Ref::NULL);

    /// The options.
    pub(crate) fn read(&self) -> Result<Options, InvalidArgument> {
        let mut options = Session::options().manual_dispatch();
        let Some(from) = self.0.get() else {
            return Ok(options);
        };
        if from.size != size_of::<QmpSessionOptions>() {
            let why = format!(
                "is {}, and not what QMP_SESSION_OPTIONS_INIT sets it to",
                from.size
            );
            return Err(InvalidArgument::new("options.size", why));
        }
        if from.timeout_ms > 0 {
            options = options.timeout(Duration::from_millis(from.timeout_ms));
        }
        if from.within_ms > 0 {
            options = options.within(Duration::from_millis(from.within_ms));
        }
        Ok(options)
    }
}
