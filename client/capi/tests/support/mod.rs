//! Compilers, and the programs that they build.

// Each test program uses a part of it.
#![allow(dead_code, unreachable_pub)]
#![allow(missing_docs)]

pub mod machine;
pub mod script;

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// The time limit of a program in seconds, under valgrind, too.
const PATIENCE: &str = "300";

/// The language that a text is compiled as.
#[derive(Clone, Copy)]
pub enum Language {
    C99,
    Cxx11,
}

impl Language {
    fn compiler(self) -> &'static str {
        match self {
            Self::C99 => "cc",
            Self::Cxx11 => "c++",
        }
    }

    fn flags(self) -> [&'static str; 6] {
        let (standard, language) = match self {
            Self::C99 => ("-std=c99", "-xc"),
            Self::Cxx11 => ("-std=c++11", "-xc++"),
        };
        [
            standard,
            "-Wall",
            "-Wextra",
            "-Werror",
            "-pedantic",
            language,
        ]
    }
}

/// A directory with the header, the library and the programs compiled with them.
pub struct Workshop {
    directory: TempDir,
}

impl Workshop {
    /// Copies the header and the libraries that this test was built with.
    pub fn new() -> Self {
        let directory = TempDir::new().unwrap();
        fs::write(directory.path().join("libqmp.h"), qmp::HEADER).unwrap();
        for library in ["libqmp.so", "libqmp.a"] {
            symlink(built(library), directory.path().join(library)).unwrap();
        }
        symlink(built("libqmp.so"), directory.path().join("libqmp.so.1")).unwrap();
        Self { directory }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Whether a text compiles; if not, the compiler's messages.
    pub fn compiles(&self, language: Language, text: &str) -> Result<(), String> {
        self.compiles_with(language, &[], text)
    }

    /// The same with further options for the compiler.
    pub fn compiles_with(
        &self,
        language: Language,
        options: &[&str],
        text: &str,
    ) -> Result<(), String> {
        let source = self.path().join("source");
        fs::write(&source, text).unwrap();
        let mut compiler = Command::new(language.compiler());
        compiler.args(language.flags()).args(options);
        compiler.arg("-c").arg(&source);
        compiler.arg("-o").arg(self.path().join("object"));
        compiler.arg("-I").arg(self.path());
        said(language.compiler(), &mut compiler)
    }

    /// Compiles a program of the directory `c` and links it with `libqmp.so`.
    pub fn program(&self, file: &str) -> PathBuf {
        self.link(&source(file), &["-lqmp"])
    }

    /// Compiles a program and links it with these libraries.
    pub fn link(&self, source: &Path, libraries: &[&str]) -> PathBuf {
        let language = match source.extension() {
            Some(extension) if extension == "cc" => Language::Cxx11,
            _ => Language::C99,
        };
        let program = self.path().join(source.file_stem().unwrap());
        let mut compiler = Command::new(language.compiler());
        compiler.args(language.flags()).args(["-g", "-pthread"]);
        compiler.arg("-I").arg(self.path()).arg(source);
        compiler.args(["-x", "none", "-o"]).arg(&program);
        compiler.arg("-L").arg(self.path()).args(libraries);
        if let Err(why) = said(language.compiler(), &mut compiler) {
            panic!("{}: {why}", source.display());
        }
        program
    }

    /// Runs a program, and returns its output.
    pub fn run(&self, program: &Path, arguments: &[&OsStr]) -> String {
        let mut command = self.command("timeout");
        command.arg(PATIENCE).arg(program).args(arguments);
        finish("timeout", command).unwrap_or_else(|why| panic!("{why}"))
    }

    /// Runs a program under valgrind, which must find neither an error nor a leak, and returns its output.
    pub fn run_checked(&self, program: &Path, arguments: &[&OsStr]) -> String {
        self.check(program, arguments)
            .unwrap_or_else(|why| panic!("{why}"))
    }

    /// Runs a program under valgrind, and returns its output, or what was wrong.
    pub fn check(&self, program: &Path, arguments: &[&OsStr]) -> Result<String, String> {
        let mut command = self.command("timeout");
        command.args([
            PATIENCE,
            "valgrind",
            "--quiet",
            "--error-exitcode=99",
            "--leak-check=full",
            "--show-leak-kinds=all",
            "--errors-for-leak-kinds=all",
            "--num-callers=30",
        ]);
        let suppressions = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/valgrind.supp");
        command.arg(format!("--suppressions={suppressions}"));
        command.arg(program).args(arguments);
        let valgrind = Command::new("valgrind").arg("--version").output();
        assert!(
            valgrind.is_ok_and(|output| output.status.success()),
            "this test needs valgrind; Debian's package is 'valgrind'"
        );
        finish("valgrind", command)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("LD_LIBRARY_PATH", self.path());
        command
    }
}

/// Runs a program to its end.
fn finish(program: &str, mut command: Command) -> Result<String, String> {
    let output = output(program, &mut command);
    let (said, wrong) = (text(&output.stdout), text(&output.stderr));
    match output.status.success() {
        true => Ok(said),
        false => Err(format!("{command:?}: {}\n{said}\n{wrong}", output.status)),
    }
}

/// A file of the directory `c`.
pub fn source(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/c")
        .join(file)
}

/// A library that this package's build has put beside its tests.
fn built(library: &str) -> PathBuf {
    let test = env::current_exe().unwrap();
    let path = test.parent().unwrap().join(library);
    assert!(path.exists(), "cargo has not built {}", path.display());
    path
}

/// Runs a command; the error is what it writes to standard error.
fn said(name: &str, command: &mut Command) -> Result<(), String> {
    let output = output(name, command);
    match output.status.success() {
        true => Ok(()),
        false => Err(text(&output.stderr)),
    }
}

fn output(name: &str, command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| {
        panic!(
            "this test needs '{name}' ({error}); Debian's packages are 'gcc', 'g++', 'valgrind' and 'coreutils'"
        )
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
