//! `fvctl image` and `fvctl kernel`.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use faultvisor_harness::cache::Cache;
use faultvisor_harness::image::{DiskFormat, DiskImage, GuestImage, Suite};

use crate::failure::Failure;
use crate::machine::find_kernel;
use crate::options::{DiskImageOptions, ImageAction, InitrdOptions, KernelOptions};
use crate::progress::Progress;

/// Makes an image, and prints its path.
///
/// # Errors
///
/// Something that it is made of is missing, or it cannot be written.
pub fn make(action: &ImageAction) -> Result<u8, Failure> {
    let progress = Progress::start();
    let note = |line: &str| progress.note(line);
    let cache = Cache::of_user()?;
    let (made, output) = match action {
        ImageAction::Initrd(options) => (initrd(options, &cache, &note)?, &options.output),
        ImageAction::Disk(options) => (disk(options, &cache, &note)?, &options.output),
    };
    let path = match output {
        Some(output) => {
            fs::copy(&made, output).map_err(Failure::file("write", output))?;
            output
        }
        None => &made,
    };
    drop(progress);
    print(path)
}

/// Finds a kernel, and prints the path of its ELF image.
///
/// # Errors
///
/// There is none, or it cannot be unpacked.
pub fn kernel(options: &KernelOptions) -> Result<u8, Failure> {
    let progress = Progress::start();
    let note = |line: &str| progress.note(line);
    let cache = Cache::of_user()?;
    let kernel = find_kernel(options.kernel.as_deref(), &cache, &note)?;
    let path = kernel.vmlinux(&cache, &note)?;
    drop(progress);
    print(&path)
}

fn initrd(options: &InitrdOptions, cache: &Cache, note: &dyn Fn(&str)) -> Result<PathBuf, Failure> {
    let kernel = find_kernel(options.kernel.as_deref(), cache, note)?;
    let mut image = GuestImage::builder(kernel);
    for program in &options.programs {
        image = image.program(program);
    }
    for module in &options.modules {
        image = image.module(module);
    }
    for pair in &options.copy {
        let Some((source, path)) = pair
            .rsplit_once(':')
            .filter(|(_, path)| path.starts_with('/'))
        else {
            return Err(Failure::Usage(format!(
                "--copy {pair}: must be SOURCE:PATH, with an absolute path"
            )));
        };
        image = image.copy(path, source);
    }
    Ok(image.build(cache, note)?.initramfs)
}

fn disk(
    options: &DiskImageOptions,
    cache: &Cache,
    note: &dyn Fn(&str),
) -> Result<PathBuf, Failure> {
    let source = &options.source;
    let mut image = if let Some(directory) = &source.from {
        DiskImage::directory(directory)
    } else if let Some(archive) = &source.tar {
        DiskImage::archive(archive)
    } else if let Some(suite) = &source.debian {
        let suite = Suite::new(suite, cache, note)?;
        DiskImage::suite(suite.packages(options.packages.iter().cloned()))
    } else {
        DiskImage::empty()
    };
    if let Some(bytes) = options.size {
        image = image.size(bytes);
    }
    let format = match options.format.as_str() {
        "raw" => DiskFormat::Raw,
        "qcow2" => DiskFormat::Qcow2,
        other => {
            return Err(Failure::Usage(format!(
                "--format {other}: must be raw or qcow2"
            )));
        }
    };
    Ok(image.format(format).cached(cache, note)?)
}

fn print(path: &Path) -> Result<u8, Failure> {
    let written = writeln!(io::stdout(), "{}", path.display());
    written.map_err(Failure::host("cannot write the path"))?;
    Ok(0)
}
