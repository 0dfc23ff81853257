//! The modules of a kernel: found, unpacked, and in the order in which they load.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::KernelError;
use super::compression;
use crate::cache::artifact::{ArtifactError, Fingerprint, Stamp};

/// A module, unpacked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Module {
    /// Its name, as its file has it.
    pub name: String,
    /// Its ELF file.
    pub contents: Vec<u8>,
}

/// How many modules may depend on each other in a row. Linux's own stay below ten.
const DEPTH: usize = 32;

/// The modules of one kernel.
#[derive(Debug, Clone, Default)]
pub struct Modules {
    /// By their names, with underscores.
    files: BTreeMap<String, PathBuf>,
    /// Of these files, for the fingerprint.
    stamps: BTreeMap<PathBuf, Stamp>,
    built_in: BTreeSet<String>,
    /// Other names, with the modules that they mean.
    aliases: BTreeMap<String, String>,
}

impl Modules {
    /// Reads what a kernel's directories of modules have (`/lib/modules/RELEASE`). Those that do not exist are skipped.
    ///
    /// # Errors
    ///
    /// A directory cannot be read.
    pub fn read(directories: &[PathBuf]) -> Result<Self, KernelError> {
        let mut found = Self::default();
        for directory in directories {
            found.collect(directory)?;
            // A package of further modules has no such list.
            let built_in = fs::read_to_string(directory.join("modules.builtin"));
            let built_in = built_in.unwrap_or_default();
            let names = built_in
                .lines()
                .filter_map(|line| module_name(Path::new(line)));
            found.built_in.extend(names.map(spelled));
            // Made by depmod, which a package that was only unpacked has not run.
            let aliases = fs::read_to_string(directory.join("modules.alias"));
            for line in aliases.unwrap_or_default().lines() {
                if let ["alias", alias, name] = line.split(' ').collect::<Vec<_>>()[..] {
                    found.aliases.insert(spelled(alias), spelled(name));
                }
            }
        }
        Ok(found)
    }

    /// Whether there is neither a module nor a list of built-in ones.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.built_in.is_empty()
    }

    /// Whether the kernel has this module, loadable or built in.
    pub fn has(&self, name: &str) -> bool {
        let name = spelled(name);
        self.files.contains_key(&name) || self.built_in.contains(&name)
    }

    /// Whether the module is part of the kernel's image.
    pub fn is_built_in(&self, name: &str) -> bool {
        self.built_in.contains(&spelled(name))
    }

    /// Those of `names` that exist and are not built in, each after the modules that it depends on.
    ///
    /// # Errors
    ///
    /// A module cannot be read or unpacked, or one that it depends on is missing.
    pub fn in_load_order(&self, names: &[&str]) -> Result<Vec<Module>, KernelError> {
        let mut order = Order {
            modules: self,
            visited: BTreeSet::new(),
            ordered: Vec::new(),
            depth: 0,
        };
        for name in names {
            if self.files.contains_key(&spelled(name)) {
                order.add(name)?;
            }
        }
        Ok(order.ordered)
    }

    /// Adds the modules' part of a fingerprint.
    pub(super) fn add_to(&self, inputs: Fingerprint) -> Fingerprint {
        inputs.value((&self.files, &self.stamps, &self.built_in, &self.aliases))
    }

    fn collect(&mut self, directory: &Path) -> Result<(), KernelError> {
        if !directory.is_dir() {
            return Ok(());
        }
        let unreadable = |error| ArtifactError::new("read", directory, error);
        for entry in fs::read_dir(directory).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let path = entry.path();
            // Not through links: `build` leads to the kernel's source.
            if entry.file_type().map_err(unreadable)?.is_dir() {
                self.collect(&path)?;
            } else if let Some(name) = module_name(&path) {
                let metadata = fs::metadata(&path).map_err(unreadable)?;
                self.stamps.insert(path.clone(), Stamp::of(&metadata));
                self.files.insert(spelled(name), path);
            }
        }
        Ok(())
    }

    /// The module that a name or an alias means.
    fn file(&self, name: &str) -> Option<&PathBuf> {
        let name = spelled(name);
        let by_alias = || self.files.get(self.aliases.get(&name)?);
        self.files.get(&name).or_else(by_alias)
    }
}

/// Modules in load order, as far as they are found.
struct Order<'a> {
    modules: &'a Modules,
    visited: BTreeSet<PathBuf>,
    ordered: Vec<Module>,
    /// How many modules wait for what they depend on.
    depth: usize,
}

impl Order<'_> {
    fn add(&mut self, name: &str) -> Result<(), KernelError> {
        let Some(path) = self.modules.file(name) else {
            return Ok(());
        };
        if !self.visited.insert(path.clone()) {
            return Ok(());
        }
        if self.depth == DEPTH {
            return Err(KernelError::TooDeep(name.to_owned()));
        }
        self.depth += 1;
        let contents = read(path)?;
        for needed in values(&contents, "depends") {
            for needed in needed.split(',').filter(|name| !name.is_empty()) {
                if !self.modules.has(needed) {
                    return Err(KernelError::NoDependency {
                        module: name.to_owned(),
                        needed: needed.to_owned(),
                    });
                }
                self.add(needed)?;
            }
        }
        // What it asks for at run time, which nothing in a guest without modprobe would load. It may do without.
        for soft in values(&contents, "softdep") {
            let before = soft.split_once("pre:").map_or("", |(_, names)| names);
            let before = before.split("post:").next().unwrap_or_default();
            for needed in before.split_whitespace() {
                self.add(needed)?;
            }
        }
        self.depth -= 1;
        let name = module_name(path).unwrap_or(name).to_owned();
        self.ordered.push(Module { name, contents });
        Ok(())
    }
}

/// A module's file, unpacked.
fn read(path: &Path) -> Result<Vec<u8>, KernelError> {
    let contents = fs::read(path).map_err(|error| ArtifactError::new("read", path, error))?;
    let unpacked = compression::decompress(&contents).map_err(|source| KernelError::Module {
        path: path.to_path_buf(),
        source,
    })?;
    Ok(unpacked.unwrap_or(contents))
}

/// The values of a key in a module's `.modinfo` section.
fn values<'a>(module: &'a [u8], key: &str) -> impl Iterator<Item = String> + use<'a> {
    let section = modinfo(module).unwrap_or_default();
    let prefix = format!("{key}=");
    section.split(|byte| *byte == 0).filter_map(move |entry| {
        let value = entry.strip_prefix(prefix.as_bytes())?;
        Some(String::from_utf8_lossy(value).into_owned())
    })
}

fn modinfo(module: &[u8]) -> Option<&[u8]> {
    let file = elf::ElfBytes::<elf::endian::LittleEndian>::minimal_parse(module).ok()?;
    let section = file.section_header_by_name(".modinfo").ok()??;
    Some(file.section_data(&section).ok()?.0)
}

/// A module's name with underscores: the kernel takes both spellings, and files use either.
fn spelled(name: &str) -> String {
    name.replace('-', "_")
}

/// Returns `virtio_blk` for `…/virtio_blk.ko.xz`.
fn module_name(path: &Path) -> Option<&str> {
    let (name, rest) = path.file_name()?.to_str()?.split_once(".ko")?;
    matches!(rest, "" | ".gz" | ".xz" | ".zst").then_some(name)
}
