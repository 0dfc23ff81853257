//! What can be told about built-in drivers of a kernel whose modules do not list them.

use std::collections::BTreeMap;
use std::fs;

use memchr::memmem;

use super::{Kernel, KernelError, compression, read};

/// A driver: its module, the option that builds it, and a text in the image of a kernel that has it built in.
struct Driver {
    module: &'static str,
    option: &'static str,
    trace: Option<&'static str>,
}

const fn driver(module: &'static str, option: &'static str, trace: Option<&'static str>) -> Driver {
    Driver {
        module,
        option,
        trace,
    }
}

/// The traces are names that drivers register.
const DRIVERS: [Driver; 10] = [
    driver("virtio_mmio", "CONFIG_VIRTIO_MMIO", Some("virtio-mmio")),
    driver("virtio_blk", "CONFIG_VIRTIO_BLK", Some("virtio_blk")),
    driver("vsock", "CONFIG_VSOCKETS", Some("AF_VSOCK")),
    driver(
        "vmw_vsock_virtio_transport_common",
        "CONFIG_VIRTIO_VSOCKETS_COMMON",
        Some("vmw_vsock_virtio_transport"),
    ),
    driver(
        "vmw_vsock_virtio_transport",
        "CONFIG_VIRTIO_VSOCKETS",
        Some("vmw_vsock_virtio_transport"),
    ),
    driver("ext4", "CONFIG_EXT4_FS", None),
    driver("xfs", "CONFIG_XFS_FS", None),
    driver("btrfs", "CONFIG_BTRFS_FS", None),
    driver("f2fs", "CONFIG_F2FS_FS", None),
    driver("vfat", "CONFIG_VFAT_FS", None),
];

/// The option that builds a module, if it is known.
pub(super) fn option(module: &str) -> Option<&'static str> {
    let module = module.replace('-', "_");
    let driver = DRIVERS.iter().find(|driver| driver.module == module)?;
    Some(driver.option)
}

/// What a kernel's configuration or its image shows.
pub(super) enum Evidence {
    /// A list of built-in modules came with the kernel: nothing else is built in.
    Complete,
    /// Options that are not `n`.
    Configuration(BTreeMap<String, String>),
    /// The unpacked image.
    Image(Vec<u8>),
}

impl Evidence {
    pub(super) fn of(kernel: &Kernel) -> Result<Self, KernelError> {
        if !kernel.modules.is_empty() {
            return Ok(Self::Complete);
        }
        let file = format!("config-{}", kernel.release);
        if let Ok(text) = fs::read_to_string(kernel.image.with_file_name(file)) {
            return Ok(Self::Configuration(options(&text)));
        }
        let image = kernel.unpacked(read(&kernel.image)?)?;
        Ok(match embedded_configuration(&image) {
            Some(text) => Self::Configuration(options(&text)),
            None => Self::Image(image),
        })
    }

    /// Whether the module is not built in, as far as can be told.
    pub(super) fn denies(&self, module: &str) -> bool {
        let module = module.replace('-', "_");
        let driver = DRIVERS.iter().find(|driver| driver.module == module);
        match (self, driver) {
            (Self::Complete, _) => true,
            (Self::Configuration(options), Some(driver)) => {
                options.get(driver.option).is_none_or(|value| value != "y")
            }
            (
                Self::Image(image),
                Some(Driver {
                    trace: Some(trace), ..
                }),
            ) => memmem::find(image, trace.as_bytes()).is_none(),
            _ => false,
        }
    }
}

fn options(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter(|line| line.starts_with("CONFIG_"));
    let pairs = lines.filter_map(|line| line.split_once('='));
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// The configuration that `CONFIG_IKCONFIG` embeds (Linux `kernel/configs.c`).
fn embedded_configuration(image: &[u8]) -> Option<String> {
    const START: &[u8] = b"IKCFG_ST";
    let at = image
        .windows(START.len())
        .position(|bytes| bytes == START)?;
    let text = compression::decompress(&image[at + START.len()..]).ok()??;
    String::from_utf8(text).ok()
}
