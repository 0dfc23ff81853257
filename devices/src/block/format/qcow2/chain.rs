//! An image and its backing images: finding, opening and locking them.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use imago::FormatAccess;
use imago::qcow2::Qcow2;
use imago::raw::Raw;

use super::error::FormatError;
use super::header::{Backing, Header};
use super::layer::Layer;
use crate::block::format::open_error::OpenError;
use crate::block::format::probing::{self, Guess};
use crate::block::host::image::{Contents, Image, ImageOptions};
use crate::block::host::image_error::ImageError;
use crate::block::model::access::Access;
use crate::block::model::request::SECTOR_SIZE;

/// The longest chain of images.
const MAX_LAYERS: usize = 100;

/// Smaller clusters share a page of the page cache with their neighbours.
const PAGE_BITS: u32 = 12;

/// Whether an image's backing file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BackingFiles {
    /// It is opened, and its own backing file, too.
    #[default]
    Follow,
    /// An image with a backing file is refused: in an image of unknown origin the name can be that of any file of the
    /// host.
    Forbid,
}

impl FromStr for BackingFiles {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "on" => Ok(Self::Follow),
            "off" => Ok(Self::Forbid),
            _ => Err("expected on or off"),
        }
    }
}

/// The format of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageFormat {
    /// Raw.
    Raw,
    /// qcow2.
    Qcow2,
}

impl ImageFormat {
    /// Its name in QEMU.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
        }
    }
}

/// A description of one image of a chain.
#[derive(Debug)]
pub struct LayerInfo {
    /// Its path.
    pub path: PathBuf,
    /// Its format.
    pub format: ImageFormat,
    /// Its readable size in bytes, when it was opened.
    pub virtual_size: u64,
    /// The format's unit of allocation in bytes.
    pub cluster_size: Option<u64>,
    /// The backing file, as this image names it.
    pub backing_name: Option<String>,
    /// Its path.
    pub backing_path: Option<PathBuf>,
    /// Its format, if this image names it.
    pub backing_format: Option<String>,
    /// A second handle on it.
    pub file: File,
}

/// Open images, the guest's first.
pub(super) struct Chain {
    pub access: FormatAccess<Layer>,
    pub top: Layer,
    pub header: Header,
    pub layers: Vec<LayerInfo>,
}

/// One of them, before they are put together.
struct Opened {
    layer: Layer,
    header: Option<Header>,
    info: LayerInfo,
}

impl Chain {
    /// Opens a qcow2 image and all its backing images.
    pub(super) fn open(
        path: &Path,
        options: ImageOptions,
        backing_files: BackingFiles,
    ) -> Result<Self, OpenError> {
        let mut identities = vec![identity(path)];
        let mut opened = vec![open_qcow2(path, options)?];
        while let Some(above) = opened.last_mut()
            && let Some(backing) = above
                .header
                .as_ref()
                .and_then(|header| header.backing.clone())
        {
            let wrong = |reason| OpenError::format(&above.info.path, reason);
            if backing_files == BackingFiles::Forbid {
                return Err(wrong(FormatError::BackingForbidden(backing.name)));
            }
            if identities.len() > MAX_LAYERS {
                return Err(OpenError::format(path, FormatError::Depth(MAX_LAYERS)));
            }
            let below = resolve(&above.info.path, &backing.name).map_err(wrong)?;
            let identity = identity(&below);
            if identity.is_some() && identities.contains(&identity) {
                return Err(OpenError::format(&below, FormatError::Loop));
            }
            identities.push(identity);
            above.info.backing_path = Some(below.clone());
            let of = above.info.path.clone();
            let next = open_backing(&below, &backing, options).map_err(|source| match source {
                // The message names the image with the backing file already.
                OpenError::Format {
                    reason: FormatError::BackingFormat(format),
                    ..
                } => OpenError::format(&of, FormatError::BackingFormat(format)),
                source => OpenError::Backing {
                    of,
                    source: Box::new(source),
                },
            })?;
            opened.push(next);
        }
        join(opened)
    }
}

/// Puts a chain together from its last image.
fn join(opened: Vec<Opened>) -> Result<Chain, OpenError> {
    let mut below: Option<(FormatAccess<Layer>, Layer, Option<Header>)> = None;
    let mut layers = Vec::new();
    for Opened {
        layer,
        header,
        info,
    } in opened.into_iter().rev()
    {
        let wrong = |error| OpenError::format(&info.path, FormatError::Library(error));
        let is_writable = layer.image().access() == Access::ReadWrite;
        let access = match &header {
            None => FormatAccess::new(Raw::open_image(layer.clone(), false).map_err(wrong)?),
            Some(_) => {
                let image = Qcow2::open_image(layer.clone(), is_writable);
                let mut image: Qcow2<Layer> = image.map_err(wrong)?;
                // The library must open neither.
                image.set_data_file(None);
                image.set_backing(below.take().map(|(access, ..)| access));
                FormatAccess::new(image)
            }
        };
        layers.push(info);
        below = Some((access, layer, header));
    }
    layers.reverse();
    match below {
        Some((access, top, Some(header))) => Ok(Chain {
            access,
            top,
            header,
            layers,
        }),
        // The first image is opened as qcow2, so this does not occur.
        _ => Err(OpenError::format(Path::new(""), FormatError::Magic)),
    }
}

/// Opens a backing image read-only.
fn open_backing(
    path: &Path,
    backing: &Backing,
    options: ImageOptions,
) -> Result<Opened, OpenError> {
    let options = ImageOptions {
        access: Access::ReadOnly,
        ..options
    };
    let is_qcow2 = match backing.format.as_deref() {
        Some("qcow2") => true,
        Some("raw") => false,
        Some(other) => {
            let reason = FormatError::BackingFormat(other.to_owned());
            return Err(OpenError::format(path, reason));
        }
        // As QEMU does, which warns when an image is created without one.
        None => {
            let guess =
                probing::probe(path).map_err(|error| ImageError::Open(path.to_owned(), error))?;
            let (is_qcow2, format) = match guess {
                Guess::Raw => (false, "raw"),
                Guess::Qcow2 => (true, "qcow2"),
                Guess::Foreign(format) => return Err(OpenError::foreign(path, format)),
            };
            tracing::warn!(
                "nothing says of what format the backing file '{}' is; it is used as {format}",
                path.display()
            );
            is_qcow2
        }
    };
    if is_qcow2 {
        return open_qcow2(path, options);
    }
    let image = Image::open_as(path, options, Contents::Container)?;
    let info = LayerInfo {
        path: path.to_owned(),
        format: ImageFormat::Raw,
        virtual_size: image.length(),
        cluster_size: None,
        backing_name: None,
        backing_path: None,
        backing_format: None,
        file: duplicate(&image, path)?,
    };
    Ok(Opened {
        layer: Layer::raw(image),
        header: None,
        info,
    })
}

fn open_qcow2(path: &Path, options: ImageOptions) -> Result<Opened, OpenError> {
    let wrong = |reason| OpenError::format(path, reason);
    let mut image = Image::open_as(path, options, Contents::Container)?;
    let header = Header::read(image.cached_file(), image.length()).map_err(wrong)?;
    if header.size % SECTOR_SIZE != 0 {
        return Err(wrong(FormatError::Unaligned(header.size)));
    }
    if header.cluster_bits < PAGE_BITS {
        // The library's buffered writes and the guest's direct ones would meet in one page, which the kernel does not
        // keep consistent.
        image = image.through_page_cache();
    }
    let backing = header.backing.as_ref();
    let info = LayerInfo {
        path: path.to_owned(),
        format: ImageFormat::Qcow2,
        virtual_size: header.size,
        cluster_size: Some(1 << header.cluster_bits),
        backing_name: backing.map(|backing| backing.name.clone()),
        backing_path: None,
        backing_format: backing.and_then(|backing| backing.format.clone()),
        file: duplicate(&image, path)?,
    };
    Ok(Opened {
        layer: Layer::qcow2(image, &header).map_err(wrong)?,
        header: Some(header),
        info,
    })
}

fn duplicate(image: &Image, path: &Path) -> Result<File, OpenError> {
    let file = image.cached_file().try_clone();
    Ok(file.map_err(|error| ImageError::Open(path.to_owned(), error))?)
}

/// A file's identity, whatever its path; `None` if there is no such file.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// The path of a backing file, from the path of the image above it and the name there, as QEMU resolves it
/// (`path_combine`, `path_has_protocol`).
fn resolve(above: &Path, name: &str) -> Result<PathBuf, FormatError> {
    if let Some(path) = name.strip_prefix("file:") {
        return Ok(path.into());
    }
    let first = name.split('/').next().unwrap_or_default();
    if first.contains(':') {
        return Err(FormatError::Protocol(name.to_owned()));
    }
    let directory = above.parent().unwrap_or(Path::new(""));
    Ok(directory.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backing_file_is_where_qemu_finds_it() {
        let path = |above: &str, name: &str| {
            let found = resolve(Path::new(above), name);
            found.map(|path| path.display().to_string()).ok()
        };
        for (above, name, found) in [
            ("top", "base", "base"),
            ("dir/top", "base", "dir/base"),
            ("/a/top", "../b/base", "/a/../b/base"),
            ("/a/top", "/b/base", "/b/base"),
            ("/a/top", "./x:y", "/a/./x:y"),
            ("dir/top", "file:base", "base"),
            ("dir/top", "file:/base", "/base"),
        ] {
            assert_eq!(path(above, name).as_deref(), Some(found), "{above}, {name}");
        }
        for protocol in ["nbd:host:10809", "json:{\"a\":1}", "https://x/y", "fat:."] {
            assert_eq!(path("/a/top", protocol), None, "{protocol}");
        }
    }
}
