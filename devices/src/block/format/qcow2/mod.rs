//! qcow2 images: a disk in a file that grows with what is written, on top of another image or not.
//!
//! A library, imago, maintains the format's tables. This module does everything around it: `header`
//! judges an image before the library sees it, `chain` finds and locks the
//! images under it, `layer` is the file as the library uses it, `ordering` keeps the order in which
//! it is written, `release` decrements refcounts, `metadata` knows where the tables are so that no
//! write of a guest hits one, and `disk`, `space`, `resize` and `flushing` carry out requests. The
//! guest's data does not pass through the library: it maps offsets, and the bytes move between the
//! file and guest memory as for a raw image.
//!
//! The library caches at most 128 L2 tables and 32 refcount blocks of each image, one cluster each.
//!
//! The library reports what is wrong with a table when it is read, or when it would have to be
//! changed to something impossible; that becomes a [`Corruption`](corruption::Corruption). It does not notice two entries
//! that lead to one cluster, or a cluster in use whose refcount is zero, unless it is a table's.
//!
//! # Why a crash leaks clusters and does nothing worse
//!
//! The image must be consistent whenever the process is killed, which leaves a prefix of its
//! writes, and whenever the host loses power, which leaves what the last completed `fdatasync`
//! covered and any part of what was written after it, down to single sectors. *Consistent* means:
//! the refcount of a cluster is at least the number of references to it in the file. The references
//! are the entries of the active and the snapshots' L1 tables, those of the L2 tables once for each
//! L1 entry that leads there, those of the refcount table, and the header's. A refcount that is too
//! high is a leaked cluster; one that is too low is corruption.
//!
//! Five rules give that. Each write of the library passes through `ordering`, which enforces the
//! first three whatever order the library uses.
//!
//! 1. *A reference is written after its refcount and its target.* Before an entry or the header is
//!    written, each cluster that it newly refers to has a refcount of at least 1 in the file (if the
//!    library has not written it yet, it is set there), the target's content is written, and the
//!    medium has both. An L1 entry waits for a flush, an entry of the refcount table for the first
//!    L2 table that may need it. So a new reference never comes before its refcount, and its
//!    cluster never has stale content. Entries and the header's fields are torn at sectors at worst,
//!    and each lies in one sector.
//! 2. *A refcount in the file only grows* as long as requests are carried out. The library's
//!    decrements are refused (it asks through `settle_writes`). A block of refcounts that it copied
//!    before `ordering` set one of them does not undo that.
//! 3. *A reference is dropped only by what is written.* `ordering` compares each L2 table, L1 entry
//!    and header with what the file had there, and notes the clusters that lost a reference. The
//!    refcounts of these may be too high from then on, never too low.
//! 4. *A refcount is decremented after its references are gone from the medium.* `release` runs
//!    alone, after all tables and all waiting entries have been written and the medium has been
//!    waited for. Whatever survives a crash after that does not have the dropped references; whatever
//!    survives one before has the higher refcounts. The library reads its refcounts anew afterwards.
//! 5. *A cluster is reused after its refcount is zero in the file*, as nobody else allocates: the
//!    library's refcounts are those of the file and what it added. So no data is written to a cluster
//!    to which a table on the medium still leads, and a snapshot's cluster keeps its content: it
//!    has its own reference, so that its refcount does not reach zero.
//!
//! A hole is punched by the same `release`, after rule 4's wait and before the refcount becomes zero:
//! nothing refers to the cluster any more, and it cannot be allocated yet. No request is in flight
//! meanwhile, so that no earlier transfer to it is left.
//!
//! The COPIED flag of an entry says that its cluster's refcount is 1. The library sets it for
//! clusters that it has just allocated, and copies a table that a snapshot shares without the flags.
//! Nothing here gives a second reference to a cluster, so that the flag stays true.
//!
//! The price is paid where something is dropped. A write to new clusters costs no more than it did:
//! one wait for the medium before a table that refers to them is written. What is dropped by
//! discards and zeroes is released by the next flush, which takes one more wait, and what is dropped
//! by copy-on-write when it has become much, or at the end. A process that is killed leaks it.

pub mod chain;
pub mod corruption;
pub mod disk;
pub mod error;
mod flushing;
pub(in crate::block) mod header;
mod layer;
mod metadata;
mod ordering;
mod refcounts;
mod references;
mod release;
mod resize;
mod space;
#[cfg(test)]
mod tests;
mod unsynced;
