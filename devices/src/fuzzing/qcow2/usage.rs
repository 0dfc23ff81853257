//! A driver of an image.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use rustix::fs::{MemfdFlags, memfd_create};

use super::damage::{content_below, path_below};
use super::{Ask, Examination, Model, SECTOR, UNREADABLE, perform, stamp};
use crate::block::engine::thread_pool::Medium;
use crate::block::format::qcow2::chain::BackingFiles;
use crate::block::format::qcow2::corruption::{Corruption, CorruptionObserver};
use crate::block::format::qcow2::disk::Qcow2Image;
use crate::block::host::direct_io::CacheMode;
use crate::block::host::image::ImageOptions;
use crate::block::host::locking::Locking;
use crate::block::model::access::Access;
use crate::block::model::errno::Errno;
use crate::block::model::request::{Durability, Zeroing};
use crate::fuzzing::Choices;
use crate::sync::lock;

/// Maximum number of requests of one input.
const MOST_ASKS: usize = 48;

/// Sectors of the largest disk that is modelled, and of the largest resize.
const MOST_SECTORS: u64 = 8 << 11;

/// Maximum growth of an image's file on the host, in bytes.
const MOST_BYTES: u64 = 256 << 20;

/// Records notices of corruption.
#[derive(Default)]
struct Told(Mutex<Vec<Corruption>>);

impl CorruptionObserver for Told {
    fn image_corrupted(&self, corruption: &Corruption) {
        lock(&self.0).push(corruption.clone());
    }
}

impl Told {
    fn is_fatal(&self) -> bool {
        lock(&self.0).iter().any(|corruption| corruption.fatal)
    }
}

/// A file in use as an image.
pub struct Usage {
    file: File,
    before: Vec<u8>,
    options: ImageOptions,
    backing_files: BackingFiles,
    /// The model of an image without errors.
    model: Option<Model>,
    told: Arc<Told>,
}

impl Usage {
    /// Any file contents. If `is_good`, the image must open.
    pub fn new(bytes: Vec<u8>, is_good: bool, choices: &mut Choices<'_>) -> Self {
        let mut file = File::from(memfd_create("image", MemfdFlags::CLOEXEC).unwrap());
        file.write_all(&bytes).unwrap();
        // Any other name would refer to a file of this host.
        let backing_files = match names_backing_file(&bytes) {
            true => BackingFiles::Follow,
            false => BackingFiles::Forbid,
        };
        let options = choices.byte();
        let mut usage = Self {
            file,
            options: ImageOptions {
                access: match options % 8 {
                    0 => Access::ReadOnly,
                    _ => Access::ReadWrite,
                },
                locking: Locking::Off,
                cache: match options & 8 {
                    0 => CacheMode::Writeback,
                    _ => CacheMode::Unsafe,
                },
            },
            backing_files,
            model: None,
            before: bytes,
            told: Arc::default(),
        };
        usage.model = usage.model_of_good();
        assert!(!is_good || usage.model.is_some(), "{:?}", usage.before);
        assert!(
            !is_good || usage.open().is_some(),
            "a good image is refused"
        );
        usage
    }

    /// Its model, if it has no errors.
    fn model_of_good(&self) -> Option<Model> {
        let image = Examination::new(&self.before).ok()?;
        let levels = [image.active]
            .into_iter()
            .chain(image.snapshots.iter().copied());
        let is_small = levels
            .clone()
            .all(|level| level.size <= MOST_SECTORS * SECTOR as u64);
        let is_good = is_small
            && image.verdict().errors.is_empty()
            && image.active.size.is_multiple_of(SECTOR as u64)
            && !levels
                .flat_map(|level| image.content(level, &content_below()))
                .any(|stamp| stamp == UNREADABLE);
        let below = match self.backing_files {
            BackingFiles::Follow => content_below(),
            BackingFiles::Forbid => Vec::new(),
        };
        is_good.then(|| Model::new(&self.before, below))
    }

    fn open(&mut self) -> Option<Qcow2Image> {
        let was_given_up = self.told.is_fatal();
        // A reopened image has only the state in the file.
        self.told = Arc::default();
        let path = PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()));
        let observer = self.told.clone();
        match Qcow2Image::open(&path, self.options, self.backing_files, observer) {
            Ok(image) => {
                let mut version = [0; 4];
                self.file.read_exact_at(&mut version, 4).unwrap();
                // Version 2 has no corrupt bit.
                assert!(
                    !was_given_up || version != [0, 0, 0, 3],
                    "it is not marked as corrupt"
                );
                Some(image)
            }
            Err(error) => {
                let message = error.to_string();
                assert!(!message.contains('\n'), "{message}");
                None
            }
        }
    }

    /// The whole file, which must not be extended far past its end by a damaged table.
    fn bytes(&self) -> Vec<u8> {
        let length = self.file.metadata().unwrap().len();
        let most = self.before.len() as u64 + MOST_BYTES;
        assert!(length <= most, "a file of {length} bytes");
        let mut bytes = vec![0; usize::try_from(length).unwrap()];
        self.file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    /// Uses it according to the choices, and checks the result.
    pub fn go_on(mut self, choices: &mut Choices<'_>) {
        let Some(mut image) = self.open() else {
            // Opening it for writing clears unknown features, and with them the length of a name without
            // an offset.
            let has_no_name = self.before.get(8..16) == Some(&[0; 8][..]);
            let without_settled = |mut bytes: Vec<u8>| {
                bytes.iter_mut().skip(88).take(8).for_each(|byte| *byte = 0);
                let length = bytes.iter_mut().skip(16).take(4);
                length.filter(|_| has_no_name).for_each(|byte| *byte = 0);
                bytes
            };
            assert!(
                without_settled(self.bytes()) == without_settled(self.before),
                "an image is refused, and changed"
            );
            return;
        };
        let mut number = 0;
        while !choices.is_empty() && number < MOST_ASKS {
            number += 1;
            let kind = choices.below(18);
            if kind == 17 {
                image.close();
                drop(image);
                match self.open() {
                    Some(again) => image = again,
                    None => {
                        assert!(self.model.is_none(), "a good image is refused");
                        return self.look_at_the_end();
                    }
                }
                continue;
            }
            let sectors = image.length() / SECTOR as u64;
            if let Some(ask) = ask(kind, sectors, choices) {
                self.ask(&image, number, ask);
            }
        }
        image.close();
        drop(image);
        self.look_at_the_end();
    }

    fn ask(&mut self, image: &Qcow2Image, number: usize, ask: Ask) {
        let was_fatal = self.told.is_fatal();
        let size = usize::try_from(image.length()).unwrap_or(usize::MAX) / SECTOR;
        let changes = !matches!(ask, Ask::Read(..));
        let is_writable = self.options.access == Access::ReadWrite;
        if let Some(model) = &mut self.model
            && is_writable
        {
            model.began(number, ask);
        }
        let mut read = Vec::new();
        let result = perform(image, number, ask, &mut read);
        if was_fatal && !matches!(ask, Ask::Flush) {
            assert_eq!(
                result,
                Err(Errno(libc::ENOMEDIUM)),
                "{ask:?} of a frozen image"
            );
        }
        if result == Err(Errno(libc::ENOMEDIUM)) {
            assert!(
                self.told.is_fatal(),
                "nobody is told why an image is frozen"
            );
        }
        let Some(model) = &mut self.model else {
            return;
        };
        let told = lock(&self.told.0);
        assert!(told.is_empty(), "nothing is wrong with it: {told:?}");
        if changes && !is_writable {
            return;
        }
        match (ask, result) {
            (Ask::Read(start, count), Ok(())) => {
                assert_eq!(read.len(), count * SECTOR);
                for (index, sector) in read.chunks(SECTOR).enumerate() {
                    let (found, expected) = (stamp(sector), model.now(start + index));
                    assert!(
                        expected.contains(&found),
                        "sector {}: {found:#x}, not one of {expected:#x?}",
                        start + index
                    );
                }
            }
            (_, Ok(())) => model.ended(number, ask),
            (Ask::Resize(other), Err(Errno(libc::EOPNOTSUPP))) => {
                // Snapshots prevent shrinking, and version 2 has no zero clusters for growth.
                assert!(other > size || model.has_snapshots(), "{ask:?}");
                model.refused(ask);
            }
            (_, Err(errno)) => panic!("{ask:?}: {errno}"),
        }
    }

    fn look_at_the_end(mut self) {
        let blocks = self.file.metadata().unwrap().blocks();
        let before = self.before.len() as u64;
        assert!(blocks * 512 <= before + MOST_BYTES, "{blocks} blocks");
        if self.options.access == Access::ReadOnly {
            assert!(
                self.bytes() == self.before,
                "an image that is only read is changed"
            );
        }
        let Some(mut model) = self.model.take() else {
            return;
        };
        // Closing it has flushed it.
        model.ended(0, Ask::Flush);
        if let Err(wrong) = model.check(&self.bytes()) {
            panic!("{wrong}");
        }
    }
}

/// Whether an image names the shared backing file, with format raw.
fn names_backing_file(bytes: &[u8]) -> bool {
    let number = |at: usize, length: usize| {
        let bytes = bytes.get(at..at + length)?;
        Some(
            bytes
                .iter()
                .fold(0, |number, byte| number << 8 | usize::from(*byte)),
        )
    };
    let name = || {
        let (start, length) = (number(8, 8)?, number(16, 4)?);
        bytes.get(start..start.checked_add(length)?)
    };
    name() == Some(path_below().as_bytes())
}

/// A request for a disk of this many sectors.
fn ask(kind: u8, sectors: u64, choices: &mut Choices<'_>) -> Option<Ask> {
    let (place, length) = (choices.word(), choices.byte());
    if kind == 16 {
        let size = u64::from(place) % MOST_SECTORS;
        // Shrinking a far larger disk takes too long.
        let is_small = sectors <= MOST_SECTORS;
        return is_small.then(|| Ask::Resize(usize::try_from(size.max(1)).unwrap()));
    }
    if sectors == 0 {
        return Some(Ask::Flush);
    }
    let start = match choices.below(8) {
        // Near the end, or anywhere.
        0 => sectors - (u64::from(place) % 64).min(sectors - 1) - 1,
        1 => choices.quad() % sectors,
        _ => u64::from(place) % 1024 % sectors,
    };
    let most = sectors - start;
    let some = (1 + u64::from(length % 128)).min(most);
    let (start, some) = (usize::try_from(start).ok()?, usize::try_from(some).ok()?);
    let many = usize::try_from(most.min(1 + (u64::from(length) << 5))).ok()?;
    Some(match kind {
        0..=3 => Ask::Read(start, some),
        4..=8 => Ask::Write(start, some, Durability::Cached),
        9 => Ask::Write(start, some, Durability::Durable),
        10 | 11 => Ask::Discard(start, many),
        12 => Ask::Zero(start, some, Zeroing::MayUnmap),
        13 => Ask::Zero(start, some, Zeroing::KeepSpace),
        14 => Ask::Zero(start, many.min(512), Zeroing::MayUnmap),
        _ => Ask::Flush,
    })
}
