//! What a loader reads of an ELF file: its interpreter, and the libraries that it names.

use std::fs;
use std::path::{Path, PathBuf};

use elf::ElfBytes;
use elf::abi::{
    DT_NEEDED, DT_RPATH, DT_RUNPATH, DT_STRTAB, EM_X86_64, PT_DYNAMIC, PT_INTERP, PT_LOAD,
};
use elf::endian::LittleEndian;
use elf::parse::ParseError;
use elf::segment::ProgramHeader;

use super::libraries::LibraryError;

/// The dynamic part of an ELF file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Dynamic {
    /// The program interpreter.
    pub(super) interpreter: Option<PathBuf>,
    /// Names of libraries, as given.
    pub(super) needed: Vec<String>,
    /// `DT_RPATH`, which also holds for the libraries of libraries.
    pub(super) rpath: Vec<String>,
    /// `DT_RUNPATH`, which replaces it.
    pub(super) runpath: Vec<String>,
}

/// What a file is.
#[derive(Debug)]
pub(super) enum Kind {
    /// An ELF file for this architecture.
    Elf(Dynamic),
    /// A script, with its interpreter and at most one argument.
    Script(PathBuf, Option<String>),
    /// Another file.
    Other,
}

/// Reads a file.
pub(super) fn read(path: &Path) -> Result<Kind, LibraryError> {
    let bytes = fs::read(path).map_err(|source| LibraryError::Read {
        path: path.to_path_buf(),
        source,
    })?;
    if bytes.starts_with(b"#!") {
        return Ok(script(&bytes));
    }
    if !bytes.starts_with(b"\x7fELF") {
        return Ok(Kind::Other);
    }
    if !is_for_this_machine(&bytes) {
        return Err(LibraryError::OtherMachine(path.to_path_buf()));
    }
    let damaged = |source| LibraryError::Damaged {
        path: path.to_path_buf(),
        source,
    };
    let file = ElfBytes::<LittleEndian>::minimal_parse(&bytes).map_err(damaged)?;
    Ok(Kind::Elf(dynamic(&file).map_err(damaged)?))
}

/// Whether the loader of a program of this architecture takes the file as a library.
pub(super) fn is_library(path: &Path) -> bool {
    use std::io::Read;
    let mut header = [0; 20];
    let read = fs::File::open(path).and_then(|mut file| file.read_exact(&mut header));
    read.is_ok() && is_for_this_machine(&header)
}

/// Whether an ELF header is one of 64 bits (EI_CLASS 2) for x86-64 (e_machine).
fn is_for_this_machine(header: &[u8]) -> bool {
    header.starts_with(b"\x7fELF\x02") && header.get(18..20) == Some(&EM_X86_64.to_le_bytes())
}

fn dynamic(file: &ElfBytes<'_, LittleEndian>) -> Result<Dynamic, ParseError> {
    let mut found = Dynamic::default();
    let Some(segments) = file.segments() else {
        return Ok(found);
    };
    let of_type = |wanted: u32| {
        segments
            .iter()
            .find(move |segment| segment.p_type == wanted)
    };
    if let Some(segment) = of_type(PT_INTERP) {
        let path = file.segment_data(&segment)?;
        let path = path.split(|byte| *byte == 0).next().unwrap_or_default();
        found.interpreter = Some(String::from_utf8_lossy(path).into_owned().into());
    }
    if of_type(PT_DYNAMIC).is_none() {
        return Ok(found);
    }
    let Some(table) = file.dynamic()? else {
        return Ok(found);
    };
    let Some(strings) = table.iter().find(|entry| entry.d_tag == DT_STRTAB) else {
        return Ok(found);
    };
    // Section headers may be stripped: the string table is found as the loader finds it.
    let loaded = segments.iter().filter(|segment| segment.p_type == PT_LOAD);
    let Some(strings) = bytes_at(file, loaded, strings.d_ptr())? else {
        return Ok(found);
    };
    let text = |offset: u64| -> Option<String> {
        let rest = strings.get(usize::try_from(offset).ok()?..)?;
        let text = rest.split(|byte| *byte == 0).next()?;
        Some(String::from_utf8_lossy(text).into_owned())
    };
    for entry in table.iter() {
        let paths = |offset| -> Vec<String> {
            let paths = text(offset).unwrap_or_default();
            let paths = paths.split(':').filter(|path| !path.is_empty());
            paths.map(str::to_owned).collect()
        };
        match entry.d_tag {
            DT_NEEDED => found.needed.extend(text(entry.d_val())),
            DT_RPATH => found.rpath = paths(entry.d_val()),
            DT_RUNPATH => found.runpath = paths(entry.d_val()),
            _ => {}
        }
    }
    Ok(found)
}

/// The file's contents from a virtual address on, to the end of its segment.
fn bytes_at<'data>(
    file: &ElfBytes<'data, LittleEndian>,
    mut loaded: impl Iterator<Item = ProgramHeader>,
    address: u64,
) -> Result<Option<&'data [u8]>, ParseError> {
    let within = |segment: &ProgramHeader| {
        address
            .checked_sub(segment.p_vaddr)
            .is_some_and(|offset| offset < segment.p_filesz)
    };
    let Some(segment) = loaded.find(within) else {
        return Ok(None);
    };
    let data = file.segment_data(&segment)?;
    let offset = usize::try_from(address - segment.p_vaddr).unwrap_or(usize::MAX);
    Ok(data.get(offset..))
}

/// The first line of a script (Linux `fs/binfmt_script.c`).
fn script(bytes: &[u8]) -> Kind {
    let line = bytes[2..].split(|byte| *byte == b'\n').next();
    let line = String::from_utf8_lossy(line.unwrap_or_default()).into_owned();
    let (interpreter, argument) = match line.trim().split_once([' ', '\t']) {
        Some((interpreter, argument)) => (interpreter, Some(argument.trim().to_owned())),
        None => (line.trim(), None),
    };
    if interpreter.is_empty() {
        return Kind::Other;
    }
    Kind::Script(interpreter.into(), argument)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_names_its_interpreter_and_the_c_library() {
        let Kind::Elf(found) = read(&std::env::current_exe().unwrap()).unwrap() else {
            panic!("not taken for an ELF file");
        };
        let interpreter = found.interpreter.unwrap();
        assert!(interpreter.is_file(), "{}", interpreter.display());
        assert!(
            found.needed.contains(&"libc.so.6".to_owned()),
            "{:?}",
            found.needed
        );
    }

    #[test]
    fn a_script_names_its_interpreter() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("script");
        fs::write(&path, "#! /usr/bin/env  python3 -u\nprint()\n").unwrap();
        let Kind::Script(interpreter, argument) = read(&path).unwrap() else {
            panic!("not taken for a script");
        };
        assert_eq!(interpreter, Path::new("/usr/bin/env"));
        assert_eq!(argument.as_deref(), Some("python3 -u"));
    }

    #[test]
    fn a_cut_or_foreign_file_is_refused_by_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("program");
        let bytes = fs::read(std::env::current_exe().unwrap()).unwrap();
        fs::write(&path, &bytes[..80]).unwrap();
        let error = read(&path).unwrap_err();
        assert!(matches!(error, LibraryError::Damaged { .. }), "{error}");
        let mut foreign = bytes[..4096].to_vec();
        foreign[18] = 0xb7; // AArch64
        fs::write(&path, foreign).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(
            error.ends_with("/program' is not a program for x86-64"),
            "{error}"
        );
        assert!(!is_library(&path));
    }
}
