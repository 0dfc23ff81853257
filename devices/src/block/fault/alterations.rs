//! How a request is performed that is not performed as it was meant: as one or more other requests,
//! whose ends make the end of the one.

use std::collections::HashMap;

use super::action::{Alteration, Plan};
use super::draw::Change;
use crate::block::model::backend::{Backend, HostRequest};
use crate::block::model::errno::Errno;
use crate::block::model::io_buffers::IoBuffers;
use crate::block::model::request::{Completion, Token};

/// Tokens of requests that the driver did not send have this bit, and those that it sent do not:
/// they are counted from zero.
const PART: u64 = 1 << 63;

/// A request that is performed as others.
struct Whole {
    /// Parts that have not ended.
    left: usize,
    /// The first error of a part.
    result: Result<(), Errno>,
    /// What it fails with when all its parts are done.
    errno: Option<Errno>,
    /// How the data is changed that it has read.
    change: Option<(Change, IoBuffers)>,
}

/// Altered requests that are on their way.
#[derive(Default)]
pub struct Alterations {
    next_part: u64,
    /// To which request a part belongs.
    parts: HashMap<Token, Token>,
    wholes: HashMap<Token, Whole>,
}

impl Alterations {
    /// Submits a request as it is altered. Returns its end when there is nothing to wait for.
    pub fn submit(
        &mut self,
        backend: &mut dyn Backend,
        token: Token,
        request: HostRequest,
        alteration: Alteration,
    ) -> Option<Completion> {
        let Plan {
            parts,
            errno,
            change,
        } = match alteration.plan(request, backend.length()) {
            Ok(plan) => plan,
            Err(errno) => {
                let result = Err(errno);
                return Some(Completion { token, result });
            }
        };
        let whole = Whole {
            left: parts.len(),
            result: Ok(()),
            errno,
            change,
        };
        if parts.is_empty() {
            let result = whole.end();
            return Some(Completion { token, result });
        }
        for request in parts {
            let part = Token(PART | self.next_part);
            self.next_part += 1;
            self.parts.insert(part, token);
            backend.submit(part, request);
        }
        self.wholes.insert(token, whole);
        None
    }

    /// Whether none is on its way.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.wholes.is_empty()
    }

    /// The ends of requests, from what a backend says has ended.
    pub fn translate(&mut self, completions: Vec<Completion>) -> Vec<Completion> {
        if self.parts.is_empty() {
            return completions;
        }
        let ends = completions.into_iter();
        ends.filter_map(|completion| self.end(completion)).collect()
    }

    fn end(&mut self, completion: Completion) -> Option<Completion> {
        let Some(token) = self.parts.remove(&completion.token) else {
            return Some(completion);
        };
        let whole = self.wholes.get_mut(&token)?;
        whole.left = whole.left.saturating_sub(1);
        whole.result = whole.result.and(completion.result);
        if whole.left > 0 {
            return None;
        }
        let result = self.wholes.remove(&token)?.end();
        Some(Completion { token, result })
    }
}

impl Whole {
    /// What becomes of the request when its parts have ended. A real error goes before an injected
    /// one.
    fn end(self) -> Result<(), Errno> {
        self.result?;
        if let Some((change, buffers)) = self.change {
            change.apply(&buffers);
        }
        self.errno.map_or(Ok(()), Err)
    }
}
