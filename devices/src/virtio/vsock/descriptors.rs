//! The limit on the program's descriptors. Each connection takes one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit as far as the host allows, and returns it.
pub(super) fn raise_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%error, "the limit on descriptors stays");
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_the_vsock_device_is_the_hard_one() {
        let limit = getrlimit(Resource::Nofile);
        // Not by more: the limit is that of all tests here.
        let lower = Rlimit {
            current: limit.maximum.map(|maximum| maximum - 1),
            ..limit
        };
        setrlimit(Resource::Nofile, lower).unwrap();
        assert_eq!(raise_limit(), limit.maximum.unwrap_or(u64::MAX));
        assert_eq!(getrlimit(Resource::Nofile).current, limit.maximum);
    }
}
