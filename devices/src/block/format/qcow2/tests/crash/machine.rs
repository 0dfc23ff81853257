//! An image on which a script is performed, and what a crash makes of it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;

use rustix::fs::{MemfdFlags, memfd_create};
use tempfile::{NamedTempFile, TempPath};

use super::medium::{Dice, Medium};
use super::recorder::{Change, Event, Journal, record};
use crate::block::engine::thread_pool::Medium as _;
use crate::block::format::qcow2::chain::BackingFiles;
use crate::block::format::qcow2::disk::Qcow2Image;
use crate::block::format::qcow2::tests::ground::{UNLOCKED, open_with};
use crate::block::host::direct_io::CacheMode;
use crate::block::host::image::ImageOptions;
use crate::block::model::errno::Errno;
use crate::block::model::request::Durability;
use crate::block::tests::bench::no_other_children;
use crate::fuzzing::qcow2::{
    self, Ask, Examination, Layout, Maker, Model, SECTOR, Stamp, Verdict, stamp,
};

/// After how many states one is tried for more than its tables and data.
const THOROUGH: usize = 61;

/// States after a loss of power that are looked at after each change.
const POWER_LOSSES: usize = 2;

/// What is under an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backing {
    None,
    /// Shorter than the disk.
    Raw,
    Qcow2,
}

/// What an image is to begin as.
#[derive(Debug, Clone, Copy)]
pub struct Image {
    pub layout: Layout,
    pub snapshots: usize,
    pub backing: Backing,
    pub is_compressed: bool,
    /// Clusters of data at the end of the disk.
    pub filled: usize,
}

/// A file that other programs find, too.
#[derive(Debug)]
struct ImageFile {
    file: File,
    path: PathBuf,
    /// Removed in the end.
    _temporary: Option<TempPath>,
}

impl ImageFile {
    /// In memory.
    fn new(bytes: &[u8]) -> Self {
        let mut file = File::from(memfd_create("image", MemfdFlags::CLOEXEC).unwrap());
        file.write_all(bytes).unwrap();
        let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
        Self {
            file,
            path: path.into(),
            _temporary: None,
        }
    }

    /// On a file system that has direct I/O.
    fn on_disk(bytes: &[u8]) -> Self {
        let (mut file, temporary) = NamedTempFile::new().unwrap().into_parts();
        file.write_all(bytes).unwrap();
        Self {
            file,
            path: temporary.to_path_buf(),
            _temporary: Some(temporary),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let length = self.file.metadata().unwrap().len();
        let mut bytes = vec![0; usize::try_from(length).unwrap()];
        self.file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }
}

/// What is in a cluster from the beginning.
fn filling(kind: u64, first: usize, sectors: usize) -> Vec<u8> {
    (first..first + sectors)
        .flat_map(|sector| {
            (kind << 56 | (sector as u64 + 1))
                .to_le_bytes()
                .repeat(SECTOR / 8)
        })
        .collect()
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Layout {
            version,
            cluster_bits,
            refcount_order,
            ..
        } = self.layout;
        let compressed = if self.is_compressed {
            ", compressed"
        } else {
            ""
        };
        write!(
            f,
            "v{version}, clusters of 2^{cluster_bits}, refcounts of 2^{refcount_order}, {} \
             snapshots, over {:?}{compressed}",
            self.snapshots, self.backing
        )
    }
}

impl Image {
    /// Makes it, above a file.
    fn make(&self, backing: Option<(&str, &'static str)>) -> Vec<u8> {
        let per_cluster = self.layout.cluster_size() / SECTOR;
        let mut maker = Maker::new(self.layout);
        if let Some((name, format)) = backing {
            maker = maker.over(name, format);
        }
        let data = |maker: &mut Maker, kind, cluster: usize| {
            maker.data(cluster, &filling(kind, cluster * per_cluster, per_cluster));
        };
        let packed = |maker: &mut Maker, kind: u64, cluster: usize| {
            let stamp = kind << 56 | (cluster as u64 + 1);
            let bytes = stamp.to_le_bytes().repeat(self.layout.cluster_size() / 8);
            match self.is_compressed {
                true => maker.compressed(cluster, &bytes),
                false => maker.data(cluster, &bytes),
            }
        };
        for cluster in 0..5 {
            data(&mut maker, 1, cluster);
        }
        for cluster in 5..8 {
            packed(&mut maker, 2, cluster);
        }
        if self.layout.version == 3 {
            maker.zero(8, false);
            maker.zero(9, true);
        }
        let clusters = usize::try_from(self.layout.size).unwrap() / self.layout.cluster_size();
        for cluster in clusters - self.filled..clusters {
            data(&mut maker, 5, cluster);
        }
        for snapshot in 0..self.snapshots {
            if snapshot > 0 {
                data(&mut maker, 3, 1);
                packed(&mut maker, 4, 6);
            }
            // The last one has the tables of the second level that the guest begins with.
            maker.snapshot();
        }
        maker.finish()
    }
}

/// What became of an image.
#[derive(Debug)]
pub struct Outcome {
    /// The first crash of each kind that it does not survive.
    pub failures: Vec<String>,
    /// Its file after the script.
    pub file: Vec<u8>,
}

/// An image, and those under it.
#[derive(Debug)]
pub struct Machine {
    name: String,
    cache: CacheMode,
    initial: Vec<u8>,
    backing: Option<ImageFile>,
    content_below: Vec<Stamp>,
}

impl Machine {
    pub fn new(image: &Image, cache: CacheMode) -> Self {
        let half = Layout {
            size: image.layout.size / 2,
            refcount_order: 4,
            version: 3,
            cluster_bits: 12,
        };
        let (bytes, format) = match image.backing {
            Backing::None => (Vec::new(), ""),
            Backing::Raw => {
                let sectors = usize::try_from(half.size).unwrap() / SECTOR;
                (filling(0x10, 0, sectors), "raw")
            }
            Backing::Qcow2 => {
                let mut maker = Maker::new(half);
                for cluster in 0..12 {
                    maker.data(cluster, &filling(0x11, cluster * 8, 8));
                }
                maker.compressed(12, &[0x12; 4096]);
                (maker.finish(), "qcow2")
            }
        };
        let content_below = match image.backing {
            Backing::None => Vec::new(),
            Backing::Raw => bytes.chunks(SECTOR).map(stamp).collect(),
            Backing::Qcow2 => {
                let image = Examination::new(&bytes).unwrap();
                image.content(image.active, &[])
            }
        };
        let backing = (image.backing != Backing::None).then(|| ImageFile::new(&bytes));
        let path = backing.as_ref().map(|file| file.path.display().to_string());
        let initial = image.make(path.as_deref().map(|path| (path, format)));
        let machine = Self {
            name: image.to_string(),
            cache,
            initial,
            backing,
            content_below,
        };
        machine.assert_is_clean();
        machine
    }

    fn file(&self, bytes: &[u8]) -> ImageFile {
        match self.cache {
            CacheMode::None => ImageFile::on_disk(bytes),
            CacheMode::Writeback | CacheMode::Unsafe => ImageFile::new(bytes),
        }
    }

    fn options(&self) -> ImageOptions {
        ImageOptions {
            cache: self.cache,
            ..UNLOCKED
        }
    }

    /// What it begins as has nothing wrong.
    fn assert_is_clean(&self) {
        let verdict = Examination::new(&self.initial).unwrap().verdict();
        assert_eq!(verdict, Verdict::default(), "{}", self.name);
        if let Some(code) = qemu_says(&self.initial) {
            assert_eq!(code, 0, "{}", self.name);
        }
    }

    /// Performs a script, and crashes after each change of the image's file.
    pub fn crash_everywhere(&self, asks: &[Ask]) -> Outcome {
        let file = self.file(&self.initial);
        let mut files = vec![&file.file];
        files.extend(self.backing.iter().map(|backing| &backing.file));
        let events = record(&files, |journal| {
            let (image, _) = open_with(&file.path, self.options(), BackingFiles::Follow).unwrap();
            perform(&image, asks, journal);
            // What it writes in the end it writes in an order, too.
            image.close();
        });
        let mut model = Model::new(&self.initial, self.content_below.clone());
        let mut medium = Medium::new(&self.initial);
        let mut dice = Dice::new(events.len() as u64);
        let mut failures = BTreeMap::new();
        for (number, event) in events.iter().enumerate() {
            match event {
                Event::Began(ask) => {
                    model.began(*ask, asks[*ask]);
                    // Nothing has changed, and more is possible.
                    continue;
                }
                Event::Ended(ask) => model.ended(*ask, asks[*ask]),
                Event::Refused(ask) => model.refused(asks[*ask]),
                Event::Changed(0, change) => medium.change(change),
                Event::Changed(_, change) => {
                    assert_eq!(*change, Change::Sync, "a backing file is written");
                }
            }
            for (kind, wrong) in self.check(&model, &mut medium, &mut dice, number) {
                failures.entry(kind).or_insert_with(|| {
                    format!(
                        "{}: {kind}: {wrong}\n  after {} of {} events: {}",
                        self.name,
                        number + 1,
                        events.len(),
                        told(&events[..=number], asks),
                    )
                });
            }
        }
        assert!(
            file.bytes() == medium.cached,
            "something reaches the file that is not recorded"
        );
        Outcome {
            failures: failures.into_values().collect(),
            file: medium.cached,
        }
    }

    /// What is wrong, and after which kind of crash.
    fn check(
        &self,
        model: &Model,
        medium: &mut Medium,
        dice: &mut Dice,
        number: usize,
    ) -> Vec<(&'static str, String)> {
        let is_thorough = number.is_multiple_of(THOROUGH);
        let look = |file: &[u8]| {
            model.check(file)?;
            match is_thorough {
                true => self.check_thoroughly(model, file),
                false => Ok(()),
            }
        };
        let mut wrong = Vec::new();
        wrong.extend(look(&medium.cached).err().map(|why| ("killed", why)));
        if self.cache != CacheMode::Unsafe && medium.pending() > 0 {
            for _ in 0..POWER_LOSSES {
                let why = medium.after_power_loss(dice, look).err();
                wrong.extend(why.map(|why| ("without power", why)));
            }
        }
        wrong
    }

    /// QEMU agrees that nothing is wrong, and the image can be used on.
    fn check_thoroughly(&self, model: &Model, file: &[u8]) -> Result<(), String> {
        if let Some(code) = qemu_says(file)
            && ![0, 3].contains(&code)
        {
            return Err(format!("qemu-img check: {code}"));
        }
        let used = self.file(file);
        let opened = open_with(&used.path, self.options(), BackingFiles::Follow);
        let (image, _) = opened.map_err(|error| format!("not opened: {error}"))?;
        let mut model = model.clone();
        model.crashed();
        let sectors = usize::try_from(image.length()).unwrap() / SECTOR;
        model.began(0, Ask::Resize(sectors));
        model.ended(0, Ask::Resize(sectors));
        let asks = [
            Ask::Write(0, sectors.min(2048), Durability::Cached),
            Ask::Discard(0, sectors.min(64)),
            Ask::Write(0, sectors.min(8), Durability::Cached),
            Ask::Flush,
        ];
        for (number, ask) in asks.into_iter().enumerate() {
            let number = (1 << 20) + number;
            model.began(number, ask);
            let result = qcow2::perform(&image, number, ask, &mut Vec::new());
            result.map_err(|errno| format!("used on: {errno} of {ask:?}"))?;
            model.ended(number, ask);
        }
        image.close();
        drop(image);
        model
            .check(&used.bytes())
            .map_err(|wrong| format!("used on: {wrong}"))
    }
}

/// The last few events.
fn told(events: &[Event], asks: &[Ask]) -> String {
    let last = events.len().saturating_sub(12);
    let lines = events[last..].iter().map(|event| match event {
        Event::Began(ask) => format!("began {:?}", asks[*ask]),
        Event::Refused(ask) => format!("refused {:?}", asks[*ask]),
        Event::Ended(ask) => format!("ended {:?}", asks[*ask]),
        Event::Changed(_, Change::Write(offset, bytes)) => {
            format!("write {offset:#x}+{:#x}", bytes.len())
        }
        Event::Changed(_, change) => format!("{change:x?}"),
    });
    lines.collect::<Vec<_>>().join(", ")
}

fn perform(image: &Qcow2Image, asks: &[Ask], journal: &Journal) {
    for (number, ask) in asks.iter().enumerate() {
        if ask.end() > usize::try_from(image.length()).unwrap() / SECTOR {
            continue;
        }
        journal.note(Event::Began(number));
        let result = qcow2::perform(image, number, *ask, &mut Vec::new());
        journal.note(match (ask, result) {
            // A size that it cannot have.
            (Ask::Resize(_), Err(Errno(libc::EOPNOTSUPP))) => Event::Refused(number),
            _ => {
                assert_eq!(result, Ok(()), "{ask:?}");
                Event::Ended(number)
            }
        });
    }
}

/// How `qemu-img check` ends, where it is installed.
fn qemu_says(file: &[u8]) -> Option<i32> {
    let file = ImageFile::new(file);
    let _only = no_other_children();
    let mut command = Command::new("qemu-img");
    command.args(["check", "-U", "-f", "qcow2"]).arg(&file.path);
    command.output().ok()?.status.code()
}
