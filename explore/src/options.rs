//! The command line of `fvctl`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::disk::DiskOption;
use crate::environment::Variable;
use crate::place::Place;

/// The end of the long help and of the manual.
const EXIT_STATUS: &str = "\
Exit status:
  N      the exit status of the guest's command; 128+N if signal N ended it
  124    the time limit passed
  125    an error of fvctl or of the machine; one line on standard error says which
  126    the guest's command cannot be executed
  127    the guest has no such command";

/// Runs programs in a guest whose disks fail on request.
///
/// A guest needs no image: it boots a Linux kernel with an initial RAM disk that holds programs of this host with their
/// libraries.
#[derive(Debug, Parser)]
#[command(name = "fvctl", version, after_long_help = EXIT_STATUS)]
pub struct Options {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What there is to do.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Boot a guest, run a command in it, and end with the command's exit status.
    ///
    /// The command's output and errors are those of fvctl. Each injected fault and each I/O error of a disk is a line
    /// on standard error. The guest has the command's programs (those of 'sh -c' too), busybox for what is not
    /// installed, and whatever --with names.
    Run(RunOptions),
    /// Boot a guest, or take one that was kept, and run an interactive shell in it.
    Shell(ShellOptions),
    /// Copy files and directories into a guest that was kept, or out of it.
    Cp(CopyOptions),
    /// Connect standard input and output to sshd in a guest, on vsock port 22: a ProxyCommand for ssh.
    ///
    /// For ~/.ssh/config: 'Host *.fv' with 'ProxyCommand fvctl ssh %h'.
    Ssh(SshOptions),
    /// List the guests that were kept.
    List,
    /// End guests that were kept.
    Stop(StopOptions),
    /// Make an image for guests, and print its path.
    #[command(subcommand)]
    Image(ImageAction),
    /// Find a kernel for guests, and print its path.
    Kernel(KernelOptions),
    /// Keep a guest: the process that 'run --keep' starts.
    #[command(hide = true)]
    Hold(HoldOptions),
}

impl Action {
    /// Whether everything on standard error is JSON.
    pub fn is_json(&self) -> bool {
        matches!(self, Self::Run(options) if options.json)
    }
}

/// The options of a machine that is booted, which mean nothing for one that was kept. Those that an environment variable
/// may set are not among them.
const OF_A_MACHINE: [&str; 11] = [
    "disk",
    "fault",
    "fault_profile",
    "programs",
    "modules",
    "arguments",
    "append",
    "memory",
    "smp",
    "lab",
    "verbose",
];

/// The guest's hardware and software.
#[derive(Debug, Clone, Args)]
pub struct MachineOptions {
    /// The kernel: a file, 'host' (this host's), 'debian' or 'debian:PACKAGE' (of the distribution), or 'image:FILE'
    /// (what is in the /boot of a disk image). By default the host's, if it can be read, or else the distribution's.
    #[arg(long, value_name = "KERNEL", env = "FAULTVISOR_KERNEL")]
    pub kernel: Option<String>,
    /// An initial RAM disk to boot instead of one made of the host's programs. It must start the agent.
    #[arg(long, value_name = "FILE", env = "FAULTVISOR_INITRD")]
    pub initrd: Option<PathBuf>,
    /// Words for the kernel's command line, after fvctl's own.
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        allow_hyphen_values = true
    )]
    pub append: String,
    /// Guest memory.
    #[arg(short, long, value_name = "SIZE", default_value = "512M")]
    pub memory: String,
    /// Number of vCPUs.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub smp: u8,
    /// A disk: a size for an empty one, or an image; then keys of --drive: 256M,volatile-cache=on or
    /// file.img,format=qcow2. The first is disk0 and /dev/vda. Repeatable.
    #[arg(long, value_name = "SIZE|FILE[,KEYS]")]
    pub disk: Vec<DiskOption>,
    /// A fault rule, as of faultvisor; device=disk0 by default. Repeatable.
    #[arg(long, value_name = "RULE")]
    pub fault: Vec<String>,
    /// A file of fault rules, as of faultvisor. Repeatable.
    #[arg(long, value_name = "FILE")]
    pub fault_profile: Vec<PathBuf>,
    /// A further program of the host for the guest: a path, or a name in PATH. Repeatable.
    #[arg(long = "with", value_name = "PROGRAM")]
    pub programs: Vec<PathBuf>,
    /// A kernel module to load in the guest, with those that it depends on. Repeatable.
    #[arg(long = "module", value_name = "NAME")]
    pub modules: Vec<String>,
    /// The VMM's program.
    #[arg(long, value_name = "FILE", env = "FAULTVISOR")]
    pub program: Option<PathBuf>,
    /// A further argument of the VMM. Repeatable.
    #[arg(long = "vmm-arg", value_name = "ARGUMENT", allow_hyphen_values = true)]
    pub arguments: Vec<OsString>,
    /// Run the machine in a nested host that QEMU emulates: where the KVM of this host does not run Linux. What is
    /// written to an image stays there.
    #[arg(long)]
    pub lab: bool,
    /// Show the guest's console and the VMM's messages on standard error.
    #[arg(short, long)]
    pub verbose: bool,
}

impl MachineOptions {
    /// The words of these options, but for the kernel and the initial RAM disk.
    pub fn words(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec![
            "--append".into(),
            self.append.clone().into(),
            "--memory".into(),
            self.memory.clone().into(),
            "--smp".into(),
            self.smp.to_string().into(),
        ];
        let mut add = |name: &str, value: OsString| {
            let mut word = OsString::from(name);
            word.push("=");
            word.push(value);
            words.push(word);
        };
        for disk in &self.disk {
            add("--disk", disk.to_string().into());
        }
        for rule in &self.fault {
            add("--fault", rule.into());
        }
        for profile in &self.fault_profile {
            add("--fault-profile", profile.into());
        }
        for argument in &self.arguments {
            add("--vmm-arg", argument.clone());
        }
        if let Some(program) = &self.program {
            add("--program", program.into());
        }
        if self.verbose {
            words.push("--verbose".into());
        }
        words
    }
}

/// How a command runs.
#[derive(Debug, Clone, Default, Args)]
pub struct CommandOptions {
    /// A variable of the command's environment: NAME=VALUE, or NAME for the host's value. Repeatable.
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub env: Vec<Variable>,
    /// The command's working directory in the guest.
    #[arg(short, long, value_name = "DIRECTORY")]
    pub workdir: Option<String>,
    /// The command's time limit, such as 90, 1.5s or 2m. It is killed with all its children.
    #[arg(long, value_name = "TIME", value_parser = crate::duration::parse)]
    pub timeout: Option<Duration>,
}

impl CommandOptions {
    /// The words of these options.
    pub fn words(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = Vec::new();
        for Variable { name, value } in &self.env {
            if let Some(value) = value {
                words.push(format!("--env={name}={value}").into());
            }
        }
        if let Some(directory) = &self.workdir {
            words.push(format!("--workdir={directory}").into());
        }
        if let Some(timeout) = self.timeout {
            words.push(format!("--timeout={}", timeout.as_secs_f64()).into());
        }
        words
    }
}

/// What to run.
#[derive(Debug, Args)]
pub struct RunOptions {
    /// The machine.
    #[command(flatten)]
    pub machine: MachineOptions,
    /// The command's surroundings.
    #[command(flatten)]
    pub command: CommandOptions,
    /// Keep the guest under this name when the command has ended: for shell, cp, ssh and stop.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["verbose", "lab"])]
    pub keep: Option<String>,
    /// Run in the guest that was kept under this name, instead of booting one.
    #[arg(long = "in", value_name = "NAME", conflicts_with = "keep", conflicts_with_all = OF_A_MACHINE)]
    pub kept: Option<String>,
    /// Give the command a terminal.
    #[arg(short, long)]
    pub tty: bool,
    /// Pass standard input on to the command.
    #[arg(short, long)]
    pub interactive: bool,
    /// Write faults, errors and the result as lines of JSON to standard error.
    #[arg(long)]
    pub json: bool,
    /// The command, and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub words: Vec<String>,
}

/// Where to run a shell.
#[derive(Debug, Args)]
pub struct ShellOptions {
    /// The machine.
    #[command(flatten)]
    pub machine: MachineOptions,
    /// The name of a guest that was kept. Without one, a guest is booted, and ends with the shell.
    #[arg(conflicts_with_all = OF_A_MACHINE)]
    pub name: Option<String>,
}

/// What to copy.
#[derive(Debug, Args)]
pub struct CopyOptions {
    /// A path, or NAME:PATH in a guest.
    pub from: Place,
    /// A path, or NAME:PATH in a guest.
    pub to: Place,
}

/// Where to connect to.
#[derive(Debug, Args)]
pub struct SshOptions {
    /// The name of a guest that was kept, with or without '.fv'.
    pub name: String,
    /// The vsock port.
    #[arg(long, default_value_t = 22)]
    pub port: u32,
}

/// What to end.
#[derive(Debug, Args)]
pub struct StopOptions {
    /// The names.
    #[arg(required = true)]
    pub names: Vec<String>,
}

/// Which image to make.
#[derive(Debug, Subcommand)]
pub enum ImageAction {
    /// An initial RAM disk with the agent, busybox and programs of this host.
    Initrd(InitrdOptions),
    /// A disk image with an ext4 file system.
    Disk(DiskImageOptions),
}

/// What is in an initial RAM disk.
#[derive(Debug, Args)]
pub struct InitrdOptions {
    /// The kernel whose modules it has, as for 'run'.
    #[arg(long, value_name = "KERNEL", env = "FAULTVISOR_KERNEL")]
    pub kernel: Option<String>,
    /// A kernel module to load in the guest, with those that it depends on. Repeatable.
    #[arg(long = "module", value_name = "NAME")]
    pub modules: Vec<String>,
    /// A file or directory of this host, and where it is in the guest. Repeatable.
    #[arg(long, value_name = "SOURCE:PATH")]
    pub copy: Vec<String>,
    /// Put the image here, and not into the cache.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Programs: paths, or names in PATH.
    pub programs: Vec<String>,
}

/// What is on a disk.
#[derive(Debug, Args)]
#[group(id = "source", multiple = false)]
pub struct DiskSource {
    /// The files of a directory.
    #[arg(long, value_name = "DIRECTORY")]
    pub from: Option<PathBuf>,
    /// The files of a tar archive, as of 'docker export'.
    #[arg(long, value_name = "FILE")]
    pub tar: Option<PathBuf>,
    /// A Debian of this suite, such as bookworm.
    #[arg(long, value_name = "SUITE")]
    pub debian: Option<String>,
}

/// What is on a disk, and its form.
#[derive(Debug, Args)]
pub struct DiskImageOptions {
    /// What is on it; nothing if not given.
    #[command(flatten)]
    pub source: DiskSource,
    /// A package of a Debian. Repeatable.
    #[arg(long = "package", value_name = "NAME", requires = "debian")]
    pub packages: Vec<String>,
    /// Its size, such as 1G; by default what the files need.
    #[arg(long, value_name = "SIZE", value_parser = crate::disk::bytes)]
    pub size: Option<u64>,
    /// raw or qcow2.
    #[arg(long, default_value = "raw")]
    pub format: String,
    /// Put the image here, and not into the cache.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Which kernel to find.
#[derive(Debug, Args)]
pub struct KernelOptions {
    /// The kernel, as for 'run --kernel'.
    pub kernel: Option<String>,
}

/// What to keep.
#[derive(Debug, Args)]
pub struct HoldOptions {
    /// The machine.
    #[command(flatten)]
    pub machine: MachineOptions,
    /// The guest's name.
    #[arg(long)]
    pub name: String,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn run(words: &[&str]) -> RunOptions {
        let words = ["fvctl", "run"].iter().chain(words);
        match Options::try_parse_from(words).unwrap().action {
            Action::Run(options) => options,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_definition_is_sound() {
        Options::command().debug_assert();
    }

    #[test]
    fn the_words_after_two_dashes_are_the_commands_own() {
        let options = run(&["--disk", "256M", "--", "sh", "-c", "exit 3", "--timeout"]);
        assert_eq!(options.words, ["sh", "-c", "exit 3", "--timeout"]);
        assert_eq!(options.machine.disk.len(), 1);
        assert_eq!(run(&["ls", "-l", "--json"]).words, ["ls", "-l", "--json"]);
    }

    #[test]
    fn a_machines_options_survive_being_passed_on() {
        let given = [
            "--disk",
            "1G,cache=none",
            "--disk",
            "a b.img,id=x",
            "--fault",
            "action=hang",
            "-v",
            "--smp",
            "2",
            "--append",
            "-x y",
            "--vmm-arg",
            "--no-acpi",
            "-m",
            "1G",
            "true",
        ];
        let first = run(&given);
        let mut words = vec!["fvctl".into(), "run".into()];
        words.extend(first.machine.words());
        words.push("true".into());
        let Action::Run(second) = Options::try_parse_from(words).unwrap().action else {
            panic!("not run");
        };
        assert_eq!(
            format!("{:?}", first.machine),
            format!("{:?}", second.machine)
        );
    }
}
