//! The end-to-end tests, as one program that runs on this machine and, built statically, in the lab.
//!
//! `cargo xtask test` runs it and reads its results; run by hand, `e2e run --name <part of a name>` runs some tests.

mod bare;
mod block;
mod boot;
mod catalogue;
mod client;
mod console;
mod debian;
mod demo;
mod disk;
mod examples;
mod faults;
mod features;
mod life_cycle;
mod linux;
mod machine;
mod place;
mod programs;
mod qemu_schema;
mod read_error;
mod readme;
mod space;
mod storm;
mod write_error;
mod wrong_use;

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use faultvisor_tests::guest::GuestImages;
use faultvisor_tests::host::Kvm;
use faultvisor_tests::suite::{self, DebianPlace, Failure, Needs, Part, Place, Selection, Size};

use demo::Shortage;

#[derive(Parser)]
#[command(about = "Faultvisor's end-to-end tests")]
struct Arguments {
    #[command(subcommand)]
    invocation: Invocation,
}

#[derive(Subcommand)]
enum Invocation {
    /// Run tests, each in a process of its own, and write their results as FV-… lines.
    Run {
        #[command(flatten)]
        place: PlaceArguments,
        #[command(flatten)]
        selection: SelectionArguments,
    },
    /// Run one test in this process.
    #[command(hide = true)]
    One {
        #[command(flatten)]
        place: PlaceArguments,
        name: String,
    },
    /// Make a tree of files, in a guest.
    Tree {
        /// Where.
        directory: PathBuf,
        /// How many files it has.
        files: u32,
    },
    /// Write the names of tests.
    List {
        #[command(flatten)]
        selection: SelectionArguments,
        /// Only those that have a full size.
        #[arg(long)]
        full_size: bool,
    },
    /// Show a disk that fills up, and a client that makes space for it.
    Demo {
        #[command(flatten)]
        place: PlaceArguments,
        /// Why the disk's image has less space than the disk.
        #[arg(long, value_enum)]
        shortage: Shortage,
    },
}

#[derive(clap::Args)]
struct PlaceArguments {
    /// The program under test.
    #[arg(long)]
    program: PathBuf,
    /// The directory of the guest's images.
    #[arg(long)]
    guest: PathBuf,
    /// The bare-metal guest; the demonstration does without it.
    #[arg(long)]
    bare_guest: Option<PathBuf>,
    /// A Python that has qemu.qmp.
    #[arg(long)]
    python: Option<PathBuf>,
    /// The directory of the examples that have been built.
    #[arg(long)]
    examples: Option<PathBuf>,
    /// A directory for the images of large disks, on a file system with direct I/O.
    #[arg(long)]
    disks: Option<PathBuf>,
    /// The directory of QEMU's schema.
    #[arg(long)]
    qemu_schema: Option<PathBuf>,
    /// The directory of Debian's kernels and initramfs images.
    #[arg(long, requires = "debian_disks")]
    debian_boot: Option<PathBuf>,
    /// Debian's disk, once for each of its tests.
    #[arg(long = "debian-disk")]
    debian_disks: Vec<PathBuf>,
    /// The CPU is an emulated one, in the lab.
    #[arg(long)]
    emulated_cpu: bool,
    /// The full size of the tests that have one.
    #[arg(long)]
    full_size: bool,
}

impl PlaceArguments {
    fn as_arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec![
            "--program".into(),
            self.program.clone().into(),
            "--guest".into(),
            self.guest.clone().into(),
        ];
        if let Some(bare_guest) = &self.bare_guest {
            arguments.extend(["--bare-guest".into(), bare_guest.clone().into()]);
        }
        if let Some(python) = &self.python {
            arguments.extend(["--python".into(), python.clone().into()]);
        }
        if let Some(examples) = &self.examples {
            arguments.extend(["--examples".into(), examples.clone().into()]);
        }
        if let Some(disks) = &self.disks {
            arguments.extend(["--disks".into(), disks.clone().into()]);
        }
        if let Some(schema) = &self.qemu_schema {
            arguments.extend(["--qemu-schema".into(), schema.clone().into()]);
        }
        if let Some(boot) = &self.debian_boot {
            arguments.extend(["--debian-boot".into(), boot.clone().into()]);
        }
        for disk in &self.debian_disks {
            arguments.extend(["--debian-disk".into(), disk.clone().into()]);
        }
        if self.emulated_cpu {
            arguments.push("--emulated-cpu".into());
        }
        if self.full_size {
            arguments.push("--full-size".into());
        }
        arguments
    }
}

impl From<PlaceArguments> for Place {
    fn from(arguments: PlaceArguments) -> Self {
        let debian = arguments.debian_boot.map(|boot| DebianPlace {
            boot,
            disks: arguments.debian_disks,
            is_emulated: arguments.emulated_cpu,
        });
        Self {
            debian,
            program: arguments.program,
            guest: GuestImages::at(arguments.guest),
            bare_guest: arguments.bare_guest.unwrap_or_default(),
            python: arguments.python,
            examples: arguments.examples,
            disks: arguments.disks,
            qemu_schema: arguments.qemu_schema,
            size: size(arguments.full_size),
        }
    }
}

#[derive(clap::Args)]
struct SelectionArguments {
    /// Only tests whose names contain this.
    #[arg(long = "name")]
    names: Vec<String>,
    /// Only tests that need this: nothing, kvm, linux, or debian.
    #[arg(long, value_parser = parse_needs)]
    needs: Vec<Needs>,
    /// Only one part of them, such as 1/2.
    #[arg(long)]
    part: Option<Part>,
}

impl From<SelectionArguments> for Selection {
    fn from(arguments: SelectionArguments) -> Self {
        Self {
            names: arguments.names,
            needs: arguments.needs,
            size: Size::Small,
            part: arguments.part,
        }
    }
}

fn size(is_full: bool) -> Size {
    if is_full { Size::Full } else { Size::Small }
}

fn parse_needs(word: &str) -> Result<Needs, String> {
    match word {
        "nothing" => Ok(Needs::Nothing),
        "kvm" => Ok(Needs::Kvm),
        "linux" => Ok(Needs::Linux),
        "debian" => Ok(Needs::Debian),
        _ => Err("one of: nothing, kvm, linux, debian".to_owned()),
    }
}

fn main() -> ExitCode {
    match perform(Arguments::parse().invocation) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            // The lab's console is stdout and stderr; a write error can be reported nowhere else.
            let _ = writeln!(io::stderr(), "e2e: {error}");
            ExitCode::FAILURE
        }
    }
}

fn perform(invocation: Invocation) -> Result<u8, Box<dyn Error>> {
    let stdout = &mut io::stdout();
    match invocation {
        Invocation::Run { place, selection } => {
            let mut one = vec![OsString::from("one")];
            one.extend(place.as_arguments());
            let mut selection = Selection::from(selection);
            selection.size = size(place.full_size);
            let all_well =
                suite::run_all(catalogue::TESTS, &selection, &Kvm::probe(), &one, stdout)?;
            Ok(u8::from(!all_well))
        }
        Invocation::One { place, name } => Ok(suite::run_one(
            catalogue::TESTS,
            &name,
            place.into(),
            stdout,
        )?),
        Invocation::Tree { directory, files } => {
            block::tree::make(&directory, files)?;
            Ok(0)
        }
        Invocation::List {
            selection,
            full_size,
        } => {
            let mut selection = Selection::from(selection);
            selection.size = size(full_size);
            for test in suite::selected(catalogue::TESTS, &selection) {
                writeln!(stdout, "{}", test.name)?;
            }
            Ok(0)
        }
        Invocation::Demo { place, shortage } => match demo::perform(&place.into(), shortage) {
            Ok(()) => Ok(0),
            Err(Failure::Failed(why) | Failure::Skipped(why)) => Err(why.into()),
        },
    }
}
