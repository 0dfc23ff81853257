//! Altered requests, each performed as one or more other requests that complete it together.

use std::collections::HashMap;

use super::action::{Alteration, Plan};
use super::draw::Change;
use crate::block::model::backend::{Backend, HostRequest};
use crate::block::model::errno::Errno;
use crate::block::model::io_buffers::IoBuffers;
use crate::block::model::request::{Completion, Token};

/// Set in the tokens of these requests, and clear in those of the driver's, which count from zero.
const PART: u64 = 1 << 63;

/// A request that is performed as others.
struct Whole {
    /// Parts that have not completed.
    left: usize,
    /// The first error of a part.
    result: Result<(), Errno>,
    /// The error of the request when all parts have completed.
    errno: Option<Errno>,
    /// The alteration of the data read.
    change: Option<(Change, IoBuffers)>,
}

/// Altered requests in flight.
#[derive(Default)]
pub struct Alterations {
    next_part: u64,
    /// The request of each part.
    parts: HashMap<Token, Token>,
    wholes: HashMap<Token, Whole>,
}

impl Alterations {
    /// Submits an altered request. Returns its completion if it needs no backend.
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

    /// Whether none is in flight.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.wholes.is_empty()
    }

    /// The completions of requests, from those of a backend.
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
    /// The result when all parts have completed. A real error precedes an injected one.
    fn end(self) -> Result<(), Errno> {
        self.result?;
        if let Some((change, buffers)) = self.change {
            change.apply(&buffers);
        }
        self.errno.map_or(Ok(()), Err)
    }
}
