//! `--drive`.

use std::path::PathBuf;
use std::str::FromStr;

use faultvisor_devices::block::format::qcow2::chain::BackingFiles;
use faultvisor_devices::block::host::direct_io::CacheMode;
use faultvisor_devices::block::host::image::ImageOptions;
use faultvisor_devices::block::model::access::Access;
use faultvisor_devices::block::open::Aio;
use faultvisor_devices::block::policy::error_policy::ErrorPolicy;
use faultvisor_devices::virtio::block::DiskConfiguration;
use faultvisor_devices::virtio::transport::RingFeatures;

use super::throttling::{self, Throttling};
use super::{device, volatile_cache};
use faultvisor_monitor::option_syntax::{KeyValues, OptionError, switch};

/// The longest serial that a guest can see (virtio 1.2 §5.2.6, VIRTIO_BLK_ID_BYTES).
const SERIAL_LENGTH: usize = 20;

/// Whether the image's format is given or has to be probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `format=raw`.
    Raw,
    /// `format=qcow2`.
    Qcow2,
    /// Not given: raw, unless the image is probed as another format.
    Probe,
}

impl FromStr for Format {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "raw" => Ok(Self::Raw),
            "qcow2" => Ok(Self::Qcow2),
            _ => Err("expected raw or qcow2"),
        }
    }
}

/// One disk, as described on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drive {
    /// The image.
    pub file: PathBuf,
    /// A file of QEMU's blkdebug driver with rules for it.
    pub blkdebug: Option<PathBuf>,
    /// Its format.
    pub format: Format,
    /// How the image is opened.
    pub image: ImageOptions,
    /// Whether backing images are opened.
    pub backing: BackingFiles,
    /// The I/O engine.
    pub aio: Aio,
    /// Size in bytes of the volatile cache, if there is one.
    pub volatile_cache: Option<u64>,
    /// The guest's device.
    pub disk: DiskConfiguration,
    /// The ring features that its transport offers.
    pub ring_features: RingFeatures,
    /// Its limits, if it has any.
    pub throttling: Option<Throttling>,
}

const KEYS: &[&str] = &[
    "file",
    "file.locking",
    "format",
    "backing",
    "id",
    "readonly",
    "werror",
    "rerror",
    "serial",
    "cache",
    "aio",
    "if",
    "index",
    "media",
    "snapshot",
    "copy-on-read",
    "detect-zeroes",
];

/// All keys of a drive.
pub(super) fn keys() -> Vec<&'static str> {
    let throttling = throttling::keys();
    [KEYS, device::KEYS, volatile_cache::KEYS, &throttling].concat()
}

/// Parses one `--drive`; `index` numbers the drives, for the name of one without `id`.
pub(super) fn parse(text: &str, index: usize) -> Result<Drive, OptionError> {
    let mut keys = KeyValues::parse(text, &self::keys())?;
    let (blkdebug, file) = keys
        .take_with("file", image)?
        .ok_or(OptionError::Missing("file"))?;
    let format = keys
        .take_with("format", str::parse)?
        .unwrap_or(Format::Probe);
    take_what_is_so(&mut keys, index)?;
    let id = keys
        .take_with("id", identifier)?
        .unwrap_or_else(|| format!("virtio{index}"));
    let read_only = keys.take_with("readonly", switch)?.unwrap_or(false);
    let access = if read_only {
        Access::ReadOnly
    } else {
        Access::ReadWrite
    };
    let (cache, write_cache) = keys.take_with("cache", cache)?.unwrap_or_default();
    let guest_cache = match (access, write_cache) {
        (Access::ReadOnly, _) => Err("a disk with readonly=on has no writes to lose"),
        (_, WriteCache::Off) => {
            Err("the guest must be told of it, and with cache=writethrough or directsync it is not")
        }
        (Access::ReadWrite, WriteCache::On) => Ok(()),
    };
    let volatile_cache = volatile_cache::take(&mut keys, guest_cache)?;
    let mut disk = DiskConfiguration {
        access,
        write_cache: write_cache == WriteCache::On,
        policy: ErrorPolicy {
            on_write: keys.take_with("werror", str::parse)?.unwrap_or_default(),
            on_read: keys.take_with("rerror", str::parse)?.unwrap_or_default(),
        },
        serial: keys.take_with("serial", serial)?.unwrap_or_default(),
        ..DiskConfiguration::new(id)
    };
    let mut ring_features = RingFeatures::default();
    device::take(&mut keys, &mut disk, &mut ring_features)?;
    let throttling = throttling::take(&mut keys, &disk.id)?;
    Ok(Drive {
        file,
        blkdebug,
        format,
        image: ImageOptions {
            access,
            locking: keys
                .take_with("file.locking", str::parse)?
                .unwrap_or_default(),
            cache,
        },
        backing: keys.take_with("backing", str::parse)?.unwrap_or_default(),
        aio: keys.take_with("aio", str::parse)?.unwrap_or_default(),
        volatile_cache,
        disk,
        ring_features,
        throttling,
    })
}

/// Takes those of QEMU's keys that have one value only.
fn take_what_is_so(keys: &mut KeyValues, index: usize) -> Result<(), OptionError> {
    keys.take_with("if", |word| match word {
        "virtio" => Ok(()),
        "none" => Err("expected virtio: a drive is a disk by itself, without a -device"),
        _ => Err("expected virtio"),
    })?;
    keys.take_with("index", |word| match word.parse::<usize>() {
        Ok(number) if number == index => Ok(()),
        _ => Err(format!(
            "drives are numbered in their order, and this one is {index}"
        )),
    })?;
    keys.take_with("media", |word| match word {
        "disk" => Ok(()),
        "cdrom" => Err("expected disk, which may have readonly=on"),
        _ => Err("expected disk"),
    })?;
    keys.take_with("snapshot", |word| match switch(word)? {
        false => Ok(()),
        true => Err("expected off: write to an overlay, made by qemu-img create -f qcow2 -b BASE -F raw OVERLAY"),
    })?;
    keys.take_with("copy-on-read", |word| match switch(word)? {
        false => Ok(()),
        true => Err("expected off"),
    })?;
    keys.take_with("detect-zeroes", |word| match switch(word) {
        Ok(false) => Ok(()),
        _ => Err("expected off"),
    })?;
    Ok(())
}

/// An image, or QEMU's form `blkdebug:RULES:IMAGE`, in which the rules may be empty.
fn image(text: &str) -> Result<(Option<PathBuf>, PathBuf), &'static str> {
    let Some(both) = text.strip_prefix("blkdebug:") else {
        return Ok((None, text.into()));
    };
    match both.split_once(':') {
        Some((_, "")) | None => Err("expected blkdebug:RULES:IMAGE"),
        Some(("", image)) => Ok((None, image.into())),
        Some((rules, image)) => Ok((Some(rules.into()), image.into())),
    }
}

/// Whether the guest's disk has a write cache until its driver decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum WriteCache {
    #[default]
    On,
    Off,
}

/// QEMU's names for the use of the host's page cache, and for the write cache that the guest is shown.
fn cache(word: &str) -> Result<(CacheMode, WriteCache), &'static str> {
    match word {
        "writeback" => Ok((CacheMode::Writeback, WriteCache::On)),
        "writethrough" => Ok((CacheMode::Writeback, WriteCache::Off)),
        "none" => Ok((CacheMode::None, WriteCache::On)),
        "directsync" => Ok((CacheMode::None, WriteCache::Off)),
        "unsafe" => Ok((CacheMode::Unsafe, WriteCache::On)),
        _ => Err("expected writeback, writethrough, none, directsync or unsafe"),
    }
}

/// QEMU's rule for identifiers: a letter, then letters, digits and `-`, `.`, `_`.
pub(super) fn identifier(word: &str) -> Result<String, &'static str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if word.starts_with(|first: char| first.is_ascii_alphabetic()) && word.bytes().all(allowed) {
        Ok(word.to_owned())
    } else {
        Err("an id starts with a letter and goes on with letters, digits, '-', '.' and '_'")
    }
}

fn serial(word: &str) -> Result<String, String> {
    if word.len() <= SERIAL_LENGTH {
        Ok(word.to_owned())
    } else {
        Err(format!("a serial has at most {SERIAL_LENGTH} bytes"))
    }
}

#[cfg(test)]
mod tests {
    use faultvisor_devices::block::host::direct_io::CacheMode;
    use faultvisor_devices::block::host::locking::Locking;
    use faultvisor_devices::block::policy::error_policy::{OnReadError, OnWriteError};

    use super::*;

    #[test]
    fn every_key_has_its_effect_and_every_default_is_qemus() {
        let text = "file=/d,format=raw,id=disk0,readonly=on,werror=stop,rerror=ignore,serial=D1,\
                    cache=unsafe,aio=threads,if=virtio,file.locking=off";
        let drive = parse(text, 7).unwrap();
        let disk = &drive.disk;
        assert_eq!((disk.id.as_str(), disk.serial.as_str()), ("disk0", "D1"));
        assert_eq!(disk.access, Access::ReadOnly);
        assert_eq!(
            (drive.image.access, drive.format),
            (Access::ReadOnly, Format::Raw)
        );
        assert_eq!(drive.image.locking, Locking::Off);
        assert_eq!(drive.aio, Aio::Threads);
        assert_eq!(drive.image.cache, CacheMode::Unsafe);
        assert_eq!(disk.policy.on_write, OnWriteError::Stop);
        assert_eq!(disk.policy.on_read, OnReadError::Ignore);
        let default = parse("file=x", 7).unwrap();
        assert_eq!(default.disk, DiskConfiguration::new("virtio7"));
        assert_eq!(
            (default.image, default.format),
            (ImageOptions::default(), Format::Probe)
        );
        assert_eq!(default.aio, Aio::Best);
        let overlay = parse("file=x,format=qcow2,backing=off", 0).unwrap();
        assert_eq!(
            (overlay.format, overlay.backing),
            (Format::Qcow2, BackingFiles::Forbid)
        );
        assert_eq!(default.backing, BackingFiles::Follow);
        assert_eq!(parse("file=x,aio=io_uring", 0).unwrap().aio, Aio::IoUring);
    }

    #[test]
    fn a_cache_mode_sets_the_hosts_cache_and_the_guests_write_cache() {
        let cache = |word: &str| {
            let drive = parse(&format!("file=x,cache={word}"), 0).unwrap();
            (drive.image.cache, drive.disk.write_cache)
        };
        assert_eq!(cache("writeback"), (CacheMode::Writeback, true));
        assert_eq!(cache("writethrough"), (CacheMode::Writeback, false));
        assert_eq!(cache("none"), (CacheMode::None, true));
        assert_eq!(cache("directsync"), (CacheMode::None, false));
        assert_eq!(cache("unsafe"), (CacheMode::Unsafe, true));
    }

    #[test]
    fn a_volatile_cache_needs_a_write_cache_and_a_writable_disk() {
        let size = |keys: &str| parse(&format!("file=x,{keys}"), 0).map(|it| it.volatile_cache);
        assert_eq!(size("cache=none"), Ok(None));
        for cache in ["writeback", "none", "unsafe"] {
            let keys = format!("cache={cache},config-wce=off,volatile-cache=on");
            assert_eq!(size(&keys), Ok(Some(64 << 20)), "{cache}");
        }
        let error = |keys: &str| size(keys).unwrap_err().to_string();
        for cache in ["writethrough", "directsync"] {
            let keys = format!("volatile-cache=on,cache={cache}");
            assert_eq!(
                error(&keys),
                "volatile-cache=on: the guest must be told of it, and with cache=writethrough or \
                 directsync it is not"
            );
            let off = format!("volatile-cache=off,cache={cache}");
            assert_eq!(size(&off), Ok(None));
        }
        assert_eq!(
            error("volatile-cache=on,readonly=on"),
            "volatile-cache=on: a disk with readonly=on has no writes to lose"
        );
    }

    #[test]
    fn rules_of_blkdebug_stand_before_the_image() {
        let files = |file: &str| {
            let drive = parse(&format!("file={file}"), 0).unwrap();
            let text = |path: PathBuf| path.to_str().unwrap().to_owned();
            (drive.blkdebug.map(text), text(drive.file))
        };
        let both = |rules: &str, image: &str| (Some(rules.to_owned()), image.to_owned());
        assert_eq!(files("blkdebug:r.conf:d.img"), both("r.conf", "d.img"));
        assert_eq!(files("blkdebug:/r:/a:b"), both("/r", "/a:b"));
        assert_eq!(files("blkdebug::d.img"), (None, "d.img".to_owned()));
        let plain = "./blkdebug:r:d".to_owned();
        assert_eq!(files(&plain), (None, plain));
        for file in ["blkdebug:", "blkdebug:d.img", "blkdebug:r.conf:"] {
            let error = parse(&format!("file={file}"), 0).unwrap_err().to_string();
            assert_eq!(error, format!("file={file}: expected blkdebug:RULES:IMAGE"));
        }
    }

    #[test]
    fn options_with_one_possible_value_accept_only_that() {
        let all =
            "file=x,if=virtio,index=3,media=disk,snapshot=off,copy-on-read=off,detect-zeroes=off";
        assert_eq!(parse(all, 3), parse("file=x", 3));
        let error = |text: &str| parse(&format!("file=x,{text}"), 3).unwrap_err().to_string();
        assert_eq!(
            error("index=0"),
            "index=0: drives are numbered in their order, and this one is 3"
        );
        assert_eq!(
            error("media=cdrom"),
            "media=cdrom: expected disk, which may have readonly=on"
        );
        assert!(error("snapshot=on").contains("qemu-img create -f qcow2 -b"));
        assert!(error("if=none").contains("without a -device"));
        assert_eq!(error("if=ide"), "if=ide: expected virtio");
        for text in ["copy-on-read=on", "detect-zeroes=unmap"] {
            assert_eq!(error(text), format!("{text}: expected off"));
        }
        assert_eq!(
            error("readonly"),
            "key 'readonly' needs a value: readonly=…"
        );
    }

    #[test]
    fn a_wrong_value_is_named_with_its_key_and_the_reason() {
        let error = |text| parse(text, 0).unwrap_err().to_string();
        assert_eq!(error("id=x"), "key 'file' is missing");
        let werror = "werror=panic: 'panic' is not one of report, ignore, enospc, stop";
        assert_eq!(error("file=x,werror=panic"), werror);
        assert_eq!(
            error("file=x,readonly=maybe"),
            "readonly=maybe: expected on or off"
        );
        assert_eq!(
            error("file=x,file.locking=maybe"),
            "file.locking=maybe: expected on, off or auto"
        );
        assert_eq!(
            error("file=x,aio=native"),
            "aio=native: expected io_uring or threads"
        );
        assert_eq!(
            error("file=x,cache=some"),
            "cache=some: expected writeback, writethrough, none, directsync or unsafe"
        );
        assert_eq!(
            error("file=x,format=vmdk"),
            "format=vmdk: expected raw or qcow2"
        );
        assert_eq!(
            error("file=x,backing=base"),
            "backing=base: expected on or off"
        );
        assert!(error("file=x,id=0").starts_with("id=0: an id starts with a letter"));
        assert!(error("file=x,serial=123456789012345678901").contains("at most 20 bytes"));
    }
}
