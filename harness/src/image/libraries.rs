//! The libraries that a program loads, found as its loader finds them (ld.so(8)), without running the program.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::elf::{self, Dynamic, Kind};

/// Directories that loaders of x86-64 search by themselves: glibc's of Debian and of others, then musl's.
const DEFAULT: [&str; 8] = [
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
    "/usr/local/lib/x86_64-linux-gnu",
    "/usr/local/lib",
];
/// How many of them a glibc knows.
const BUILT_IN: usize = 6;
/// The list of further directories, which may include other lists.
const CONFIGURATION: &str = "/etc/ld.so.conf";
/// How deep lists include others.
const DEPTH: u32 = 8;

/// Why the libraries of a program are unknown.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// A file cannot be read.
    #[error("cannot read '{path}'")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// It is no ELF file and no script.
    #[error("'{0}' is neither an ELF program nor a script")]
    NoProgram(PathBuf),
    /// An ELF file is damaged.
    #[error("'{path}' is a damaged ELF file")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: ::elf::ParseError,
    },
    /// The file is for another architecture.
    #[error("'{0}' is not a program for x86-64")]
    OtherMachine(PathBuf),
    /// The program's loader would not find a library either.
    #[error("'{program}' needs '{library}', which this machine lacks: install its package")]
    Missing {
        /// The program or library that names it.
        program: PathBuf,
        /// The library, or the interpreter.
        library: String,
    },
}

impl LibraryError {
    /// Whether the file is no program at all.
    pub(super) fn is_of_no_program(&self) -> bool {
        matches!(self, Self::NoProgram(_) | Self::OtherMachine(_))
    }
}

/// The libraries of a program of this machine, with its interpreter, at the paths where the loader finds them; for a
/// script, its interpreter with its libraries.
///
/// # Errors
///
/// The program cannot be read, or a library is missing.
pub fn of(program: &Path) -> Result<Vec<PathBuf>, LibraryError> {
    let mut search = Search::default();
    search.program(program, 0)?;
    Ok(search.found.into_iter().collect())
}

/// Whether a loader finds a library only by the machine's configuration, which it reads from its cache.
pub(super) fn is_by_configuration(library: &Path) -> bool {
    let parent = library.parent().map(Path::to_path_buf).unwrap_or_default();
    let is_default = DEFAULT[..BUILT_IN]
        .iter()
        .any(|known| Path::new(known) == parent);
    !is_default && configured().contains(&parent)
}

/// A file whose libraries are searched, with the directories that the files above it give.
struct Pending {
    file: PathBuf,
    dynamic: Dynamic,
    inherited: Vec<PathBuf>,
}

#[derive(Default)]
struct Search {
    found: BTreeSet<PathBuf>,
    /// Names that were found: a loader loads each once.
    names: BTreeMap<String, PathBuf>,
}

impl Search {
    fn program(&mut self, program: &Path, depth: u32) -> Result<(), LibraryError> {
        match elf::read(program)? {
            Kind::Elf(dynamic) => self.libraries(program, dynamic),
            // Linux follows interpreters that are scripts four times (BINPRM_MAX_RECURSION).
            Kind::Script(interpreter, argument) if depth <= 4 => {
                self.interpreter(program, &interpreter, depth)?;
                // `env` starts the program that the script is for.
                let is_env = interpreter.file_name().is_some_and(|name| name == "env");
                let words = argument.as_deref().unwrap_or_default().split_whitespace();
                let mut words = words.filter(|word| !word.starts_with('-') && !word.contains('='));
                if is_env
                    && let Some(name) = words.next()
                    && let Some(path) = crate::tool::find(name)
                {
                    self.interpreter(program, &path, depth)?;
                }
                Ok(())
            }
            _ => Err(LibraryError::NoProgram(program.to_path_buf())),
        }
    }

    fn interpreter(
        &mut self,
        program: &Path,
        interpreter: &Path,
        depth: u32,
    ) -> Result<(), LibraryError> {
        if !interpreter.is_file() {
            return Err(LibraryError::Missing {
                program: program.to_path_buf(),
                library: interpreter.display().to_string(),
            });
        }
        self.found.insert(interpreter.to_path_buf());
        self.program(interpreter, depth + 1)
    }

    fn libraries(&mut self, program: &Path, dynamic: Dynamic) -> Result<(), LibraryError> {
        if let Some(interpreter) = &dynamic.interpreter {
            if !interpreter.is_file() {
                return Err(LibraryError::Missing {
                    program: program.to_path_buf(),
                    library: interpreter.display().to_string(),
                });
            }
            self.found.insert(interpreter.clone());
            // Libraries name the loader, too, as a library.
            if let Some(name) = interpreter.file_name() {
                let name = name.to_string_lossy().into_owned();
                self.names.insert(name, interpreter.clone());
            }
        }
        let mut pending = VecDeque::from([Pending {
            file: program.to_path_buf(),
            dynamic,
            inherited: Vec::new(),
        }]);
        // Breadth first, as the loader does: the first of a name is the one that is loaded.
        while let Some(loaded) = pending.pop_front() {
            let own = directories(&loaded.file, &loaded.dynamic.rpath);
            let inherited: Vec<_> = own.into_iter().chain(loaded.inherited.clone()).collect();
            let runpath = directories(&loaded.file, &loaded.dynamic.runpath);
            let searched = if runpath.is_empty() {
                &inherited
            } else {
                &runpath
            };
            for name in &loaded.dynamic.needed {
                if self.names.contains_key(name) {
                    continue;
                }
                let missing = || LibraryError::Missing {
                    program: loaded.file.clone(),
                    library: name.clone(),
                };
                let library = find(name, searched).ok_or_else(missing)?;
                self.names.insert(name.clone(), library.clone());
                self.found.insert(library.clone());
                if let Kind::Elf(dynamic) = elf::read(&library)? {
                    pending.push_back(Pending {
                        file: library,
                        dynamic,
                        inherited: inherited.clone(),
                    });
                }
            }
        }
        Ok(())
    }
}

fn find(name: &str, first: &[PathBuf]) -> Option<PathBuf> {
    if name.contains('/') {
        let path = PathBuf::from(name);
        return elf::is_library(&path).then_some(path);
    }
    let defaults = DEFAULT.iter().map(PathBuf::from);
    let all = first.iter().cloned().chain(configured().iter().cloned());
    let mut all = all.chain(defaults).map(|directory| directory.join(name));
    all.find(|path| elf::is_library(path))
}

/// Search paths of a file, with its tokens replaced.
fn directories(file: &Path, paths: &[String]) -> Vec<PathBuf> {
    // The loader takes the file's directory without symbolic links.
    let file = fs::canonicalize(file).unwrap_or_else(|_| file.to_path_buf());
    let origin = file.parent().unwrap_or(Path::new("/")).to_string_lossy();
    let with_library = |path: &String| {
        let path = path
            .replace("$ORIGIN", &origin)
            .replace("${ORIGIN}", &origin);
        let library = ["lib/x86_64-linux-gnu", "lib64"];
        if path.contains("$LIB") || path.contains("${LIB}") {
            library
                .map(|library| path.replace("$LIB", library).replace("${LIB}", library))
                .to_vec()
        } else {
            vec![path]
        }
    };
    paths
        .iter()
        .flat_map(with_library)
        .map(PathBuf::from)
        .collect()
}

/// The directories that the machine's configuration adds, from which its loader's cache is made.
fn configured() -> &'static [PathBuf] {
    static DIRECTORIES: OnceLock<Vec<PathBuf>> = OnceLock::new();
    DIRECTORIES.get_or_init(|| {
        let mut directories = Vec::new();
        read_configuration(Path::new(CONFIGURATION), DEPTH, &mut directories);
        directories
    })
}

fn read_configuration(path: &Path, depth: u32, into: &mut Vec<PathBuf>) {
    let Some(depth) = depth.checked_sub(1) else {
        return;
    };
    // Not every machine has one.
    let text = fs::read_to_string(path).unwrap_or_default();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        match line.strip_prefix("include") {
            Some(pattern) if pattern.starts_with([' ', '\t']) => {
                for included in matching(path, pattern.trim()) {
                    read_configuration(&included, depth, into);
                }
            }
            _ if line.starts_with('/') => into.push(line.into()),
            _ => {}
        }
    }
}

/// The files that an include names: one, or all in a directory with an ending (`ld.so.conf.d/*.conf`).
fn matching(list: &Path, pattern: &str) -> Vec<PathBuf> {
    let pattern = list.parent().unwrap_or(Path::new("/")).join(pattern);
    let name = pattern.file_name().unwrap_or_default().to_string_lossy();
    let Some(ending) = name.strip_prefix('*') else {
        return vec![pattern];
    };
    let entries = pattern.parent().map(fs::read_dir);
    let entries = entries.into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.to_string_lossy().ends_with(ending))
        .collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tool;
    use std::process::Command;

    /// What the machine's own loader lists for a program.
    fn listed(program: &Path) -> BTreeSet<PathBuf> {
        let loader = "/lib64/ld-linux-x86-64.so.2";
        let listing = tool::output(Command::new(loader).arg("--list").arg(program)).unwrap();
        let listing = String::from_utf8(listing).unwrap();
        let path = |line: &str| {
            let path = line.split_once("=>").map_or(line, |(_, found)| found);
            let path = path.split_whitespace().next()?;
            path.starts_with('/').then(|| PathBuf::from(path))
        };
        listing.lines().filter_map(path).collect()
    }

    fn real(paths: impl IntoIterator<Item = PathBuf>) -> BTreeSet<PathBuf> {
        let paths = paths.into_iter();
        paths.map(|path| fs::canonicalize(path).unwrap()).collect()
    }

    #[test]
    fn the_libraries_are_those_that_the_machines_loader_loads() {
        let this_program = std::env::current_exe().unwrap();
        let installed = ["mke2fs", "sh", "apt-get", "mount", "tar"].map(tool::find);
        for program in installed.into_iter().flatten().chain([this_program]) {
            let found = real(of(&program).unwrap());
            assert!(found.len() > 1, "{}", program.display());
            assert_eq!(found, real(listed(&program)), "{}", program.display());
        }
    }

    #[test]
    fn a_script_comes_with_its_interpreter_and_that_ones_libraries() {
        let directory = tempfile::tempdir().unwrap();
        let script = directory.path().join("script");
        fs::write(&script, "#!/bin/sh -e\nexit 0\n").unwrap();
        let found = of(&script).unwrap();
        assert!(found.contains(&PathBuf::from("/bin/sh")), "{found:?}");
        assert!(
            found.iter().any(|path| path.ends_with("libc.so.6")),
            "{found:?}"
        );
        fs::write(&script, "#!/no/such/interpreter\n").unwrap();
        let error = of(&script).unwrap_err().to_string();
        let expected =
            "/script' needs '/no/such/interpreter', which this machine lacks: install its package";
        assert!(error.ends_with(expected), "{error}");
    }

    #[test]
    fn a_library_is_found_beside_the_program_that_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("beside.c"), "int answer(void) { return 42; }").unwrap();
        fs::write(
            path("main.c"),
            "int answer(void); int main(void) { return answer(); }",
        )
        .unwrap();
        let cc = |arguments: &[&str]| {
            let mut cc = tool::command("cc").unwrap();
            tool::run(cc.current_dir(directory.path()).args(arguments)).unwrap();
        };
        cc(&["-shared", "-o", "libbeside.so", "beside.c"]);
        for tags in ["--enable-new-dtags", "--disable-new-dtags"] {
            let flag = format!("-Wl,{tags},-rpath,$ORIGIN");
            cc(&["-o", "main", "main.c", "-L.", "-lbeside", &flag]);
            assert!(of(&path("main")).unwrap().contains(&path("libbeside.so")));
        }
        fs::remove_file(path("libbeside.so")).unwrap();
        let error = of(&path("main")).unwrap_err().to_string();
        assert!(
            error.contains("/main' needs 'libbeside.so', which"),
            "{error}"
        );
    }

    #[test]
    fn lists_of_directories_include_others() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::create_dir(path("conf.d")).unwrap();
        fs::write(path("conf.d/a.conf"), "# comment\n/opt/a\n").unwrap();
        fs::write(path("conf.d/b.txt"), "/opt/b\n").unwrap();
        fs::write(
            path("ld.so.conf"),
            "include conf.d/*.conf\ninclude ld.so.conf\n/opt/c # why\n",
        )
        .unwrap();
        let mut found = Vec::new();
        read_configuration(&path("ld.so.conf"), 2, &mut found);
        assert_eq!(found, ["/opt/a", "/opt/c", "/opt/c"].map(PathBuf::from));
    }
}
