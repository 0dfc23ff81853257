//! How a request is performed that is not performed as it was meant: as one or more other requests,
//! whose ends make the end of the one.

use std::collections::HashMap;

use super::decision::{Change, Run};
use super::judgement::Alteration;
use crate::block::model::backend::{Backend, HostRequest};
use crate::block::model::errno::Errno;
use crate::block::model::io_buffers::IoBuffers;
use crate::block::model::request::{Completion, Operation, Range, SECTOR_SIZE, Token};

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
        let mut whole = Whole {
            left: 0,
            result: Ok(()),
            errno: None,
            change: None,
        };
        let parts = match alteration {
            Alteration::FailAfter(errno) => {
                whole.errno = Some(errno);
                Ok(vec![request])
            }
            Alteration::Torn(runs, errno) => {
                whole.errno = errno;
                Ok(torn(&request, &runs))
            }
            Alteration::Misdirect(sector) => {
                moved(request, sector, backend.length()).map(|moved| vec![moved])
            }
            Alteration::Corrupt(change) if request.operation.is_read() => {
                whole.change = Some((change, request.buffers.clone()));
                Ok(vec![request])
            }
            Alteration::Corrupt(change) => Ok(vec![corrupted(&request, &change)]),
        };
        let parts = match parts {
            Ok(parts) => parts,
            Err(errno) => {
                let result = Err(errno);
                return Some(Completion { token, result });
            }
        };
        whole.left = parts.len();
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

/// Some sectors of a write, as writes of their own.
fn torn(request: &HostRequest, runs: &[Run]) -> Vec<HostRequest> {
    let Operation::Write { offset, durability } = request.operation else {
        return Vec::new();
    };
    let bytes = runs.iter().map(|run| Range {
        offset: run.first.saturating_mul(SECTOR_SIZE),
        length: run.count.saturating_mul(SECTOR_SIZE),
    });
    let parts = request.buffers.parts(bytes).into_iter();
    let part = |(start, buffers)| {
        let offset = offset.saturating_add(start);
        let operation = Operation::Write { offset, durability };
        HostRequest { operation, buffers }
    };
    parts.map(part).collect()
}

/// The same request at another place.
fn moved(mut request: HostRequest, sector: u64, length: u64) -> Result<HostRequest, Errno> {
    let to = sector.checked_mul(SECTOR_SIZE).ok_or(Errno::EIO)?;
    if let Operation::Read { offset } | Operation::Write { offset, .. } = &mut request.operation {
        *offset = to;
    }
    if request.end() > length {
        return Err(Errno::EIO);
    }
    Ok(request)
}

/// A write of other data: the guest's own stays as it is.
fn corrupted(request: &HostRequest, change: &Change) -> HostRequest {
    let buffers = request.buffers.copy();
    change.apply(&buffers);
    let operation = request.operation.clone();
    HostRequest { operation, buffers }
}

impl Change {
    /// Changes data. What it says of bytes that are not there is left out.
    fn apply(&self, data: &IoBuffers) {
        match self {
            Self::Flip(bits) => {
                // A log may have them in any order.
                let mut bits = bits.clone();
                bits.sort_unstable();
                data.invert(&bits);
            }
            Self::Overwrite {
                offset,
                length,
                pattern,
            } => data.part(*offset, *length).fill_with(pattern),
        }
    }
}
