//! A kernel and an initramfs for a guest that runs a command.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::words::{self, Needs};
use super::{Busybox, ImageError, Initramfs, agent};
use crate::cache::Cache;
use crate::cache::artifact::ArtifactError;
use crate::kernel::{DEVICES, Kernel};
use crate::tool;

/// Where the agent reads which modules to load.
const MODULES: &str = "/etc/faultvisor/modules";
/// Where the agent is in a distribution's initramfs.
const AGENT_BESIDE_INIT: &str = "/faultvisor-agent";
/// Has the kernel start it, and has it start the distribution's init.
const BESIDE_INIT: &str = "rdinit=/faultvisor-agent faultvisor.then=/init";
/// The shell. busybox's own runs its commands in place of programs of the same name.
const SHELL: &str = "sh";
/// The file system that disks have unless something else is said.
const FILE_SYSTEM: &str = "ext4";
/// Users and groups, hosts, and name services: what programs look up.
const ACCOUNTS: [(&str, &str); 4] = [
    (
        "/etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    ),
    ("/etc/group", "root:x:0:\nnogroup:x:65534:\n"),
    ("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"),
    (
        "/etc/nsswitch.conf",
        "passwd: files\ngroup: files\nhosts: files dns\n",
    ),
];

/// What a guest needs to run a command: a kernel, and an initramfs whose init is the agent.
#[derive(Debug, Clone)]
pub struct GuestImage {
    /// The kernel as an ELF image.
    pub kernel: PathBuf,
    /// The kernel's release.
    pub release: String,
    /// The initramfs.
    pub initramfs: PathBuf,
    /// Words that the kernel's command line must have, or nothing.
    pub append: &'static str,
}

impl GuestImage {
    /// An image for this kernel.
    pub fn builder(kernel: Kernel) -> GuestImageBuilder {
        GuestImageBuilder {
            kernel,
            needs: Needs::default(),
            with: Vec::new(),
            files: Vec::new(),
            modules: Vec::new(),
            agent: None,
            busybox: None,
            distribution: None,
        }
    }
}

/// Collects what goes into a [`GuestImage`].
#[derive(Debug, Clone)]
pub struct GuestImageBuilder {
    kernel: Kernel,
    needs: Needs,
    with: Vec<String>,
    files: Vec<(String, PathBuf)>,
    modules: Vec<String>,
    agent: Option<PathBuf>,
    busybox: Option<Busybox>,
    distribution: Option<PathBuf>,
}

impl GuestImageBuilder {
    /// Adds the programs that a command names: those of its words that are in `PATH`, also inside the text of `sh -c`,
    /// and the modules of the file systems that it names. What a program starts by itself is not known: see
    /// [`program`](Self::program).
    #[must_use]
    pub fn command(mut self, command: &[String]) -> Self {
        let needs = words::of_command(command);
        self.needs.programs.extend(needs.programs);
        self.needs.file_systems.extend(needs.file_systems);
        self
    }

    /// Adds a program of this machine, by its name in `PATH` or its path.
    #[must_use]
    pub fn program(mut self, program: impl Into<String>) -> Self {
        self.with.push(program.into());
        self
    }

    /// Adds a file or a directory of this machine at a path in the guest.
    #[must_use]
    pub fn copy(mut self, path: impl Into<String>, source: impl Into<PathBuf>) -> Self {
        self.files.push((path.into(), source.into()));
        self
    }

    /// Adds a module, which must exist or be built in, with those that it depends on.
    #[must_use]
    pub fn module(mut self, name: impl Into<String>) -> Self {
        self.modules.push(name.into());
        self
    }

    /// Adds the module of a file system.
    #[must_use]
    pub fn file_system(self, name: impl Into<String>) -> Self {
        self.module(name)
    }

    /// Sets the agent's program; without it, [`agent::find`] looks for it.
    #[must_use]
    pub fn agent(mut self, program: impl Into<PathBuf>) -> Self {
        self.agent = Some(program.into());
        self
    }

    /// Sets the busybox; without it, [`Busybox::find`] looks for it.
    #[must_use]
    pub fn busybox(mut self, busybox: Busybox) -> Self {
        self.busybox = Some(busybox);
        self
    }

    /// Appends the agent to a distribution's initramfs, such as [`Kernel::initramfs`], instead of making one: it starts
    /// beside the distribution's own init, whose disk stays as it is. Programs and files are not added.
    #[must_use]
    pub fn beside_init_of(mut self, initramfs: impl Into<PathBuf>) -> Self {
        self.distribution = Some(initramfs.into());
        self
    }

    /// Makes what the cache does not have.
    ///
    /// # Errors
    ///
    /// A program, a library, a module, busybox or the agent is missing, or a file cannot be read or written.
    pub fn build(self, cache: &Cache, note: &dyn Fn(&str)) -> Result<GuestImage, ImageError> {
        let mut initramfs = match &self.distribution {
            Some(_) => self.appended()?,
            None => self.files(cache, note)?,
        };
        let required: Vec<&str> = DEVICES
            .into_iter()
            .chain(self.modules.iter().map(String::as_str))
            .collect();
        // A kernel without one of these can still run commands.
        let optional: BTreeSet<&str> = self
            .needs
            .file_systems
            .iter()
            .map(String::as_str)
            .chain([FILE_SYSTEM])
            .collect();
        let optional: Vec<&str> = optional.into_iter().collect();
        let kernel = self.kernel.fingerprint();
        let mut inputs = initramfs
            .fingerprint()?
            .value((kernel.text(), &required, &optional));
        if let Some(first) = &self.distribution {
            inputs = inputs.file(&absolute(first)?)?;
        }
        let path = cache.ensure("guests", &inputs, ".cpio", |to| -> Result<(), ImageError> {
            note("making the guest's initramfs");
            let modules = self.kernel.load_order(&required, &optional)?;
            initramfs.modules(&modules, MODULES)?;
            match &self.distribution {
                Some(first) => Ok(initramfs.write_behind(first, to)?),
                None => Ok(initramfs.write_file(to)?),
            }
        })?;
        let is_beside = self.distribution.is_some();
        Ok(GuestImage {
            kernel: self.kernel.vmlinux(cache, note)?,
            release: self.kernel.release().to_owned(),
            initramfs: path,
            append: if is_beside { BESIDE_INIT } else { "" },
        })
    }

    /// What follows a distribution's initramfs.
    fn appended(&self) -> Result<Initramfs, ImageError> {
        let mut initramfs = Initramfs::appended();
        initramfs.program_at(AGENT_BESIDE_INIT, &absolute(&self.find_agent()?)?)?;
        Ok(initramfs)
    }

    fn find_agent(&self) -> Result<PathBuf, ImageError> {
        match &self.agent {
            Some(agent) => Ok(agent.clone()),
            None => agent::find(None),
        }
    }

    /// All but the modules.
    fn files(&self, cache: &Cache, note: &dyn Fn(&str)) -> Result<Initramfs, ImageError> {
        let agent = self.find_agent()?;
        let mut initramfs = Initramfs::new();
        initramfs.skeleton()?;
        for (path, contents) in ACCOUNTS {
            initramfs.file(path, 0o644, contents)?;
        }
        initramfs.program_at("/init", &absolute(&agent)?)?;
        match &self.busybox {
            Some(busybox) => initramfs.busybox(busybox)?,
            None => initramfs.busybox(&Busybox::find(cache, note)?)?,
        };
        if let Some(shell) = tool::find(SHELL) {
            initramfs.host_program(&shell)?;
        }
        for program in &self.needs.programs {
            // A word of the command that happens to be the name of something else in PATH.
            match initramfs.host_program(program) {
                Err(ImageError::Library(error)) if error.is_of_no_program() => {}
                result => {
                    result?;
                }
            }
        }
        for program in &self.with {
            initramfs.program(program)?;
        }
        for (path, source) in &self.files {
            initramfs.copy(path, &absolute(source)?)?;
        }
        Ok(initramfs)
    }
}

fn absolute(path: &Path) -> Result<PathBuf, ArtifactError> {
    std::path::absolute(path).map_err(|error| ArtifactError::new("read", path, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::archive::tests::members;
    use crate::image::initramfs::tests::fake_busybox;
    use crate::kernel::tests::{kernel, tree};
    use std::fs;

    fn quiet(_: &str) {}

    /// Names of an image's files.
    fn names(image: &GuestImage) -> Vec<String> {
        let archive = fs::read(&image.initramfs).unwrap();
        members(&archive)
            .into_iter()
            .map(|(name, ..)| name)
            .collect()
    }

    #[test]
    fn the_image_of_a_command_has_its_programs_the_agent_and_the_modules() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::at(directory.path());
        let root = tree(
            &[
                ("vsock.ko", b"\0"),
                ("vmw_vsock_virtio_transport_common.ko", b"depends=vsock\0"),
                (
                    "vmw_vsock_virtio_transport.ko",
                    b"depends=vmw_vsock_virtio_transport_common\0",
                ),
                ("virtio_blk.ko", b"\0"),
                ("xfs.ko", b"\0"),
                ("loop.ko", b"\0"),
            ],
            "kernel/drivers/virtio/virtio_mmio.ko\n",
        );
        let agent = directory.path().join("agent");
        fs::copy(tool::find("true").unwrap(), &agent).unwrap();
        let busybox = fake_busybox(directory.path());
        let build = |command: &[&str]| {
            let command: Vec<_> = command.iter().map(|word| (*word).to_owned()).collect();
            let builder = GuestImage::builder(kernel(root.path()))
                .command(&command)
                .program("tar")
                .agent(&agent)
                .busybox(busybox.clone());
            builder.build(&cache, &quiet).unwrap()
        };
        let image = build(&[
            "sh",
            "-c",
            "mkfs.ext4 -q /dev/vda && mount -t xfs /dev/vda /mnt",
        ]);
        let found = names(&image);
        for name in [
            "init",
            "usr/bin/busybox",
            "usr/sbin/mke2fs",
            "usr/bin/mount",
            "usr/bin/tar",
        ] {
            assert!(
                found.iter().any(|path| path == name),
                "{name} is not in {found:?}"
            );
        }
        let archive = fs::read(&image.initramfs).unwrap();
        let list = members(&archive).into_iter();
        let mut list = list.filter(|(name, ..)| format!("/{name}") == MODULES);
        let expected = "/lib/modules/virtio_blk.ko\n/lib/modules/vsock.ko\n\
                        /lib/modules/vmw_vsock_virtio_transport_common.ko\n\
                        /lib/modules/vmw_vsock_virtio_transport.ko\n/lib/modules/xfs.ko\n";
        assert_eq!(String::from_utf8(list.next().unwrap().2).unwrap(), expected);
        assert_eq!(image.release, kernel(root.path()).release());

        // The same again is the same file; another command makes another.
        let same = build(&[
            "sh",
            "-c",
            "mkfs.ext4 -q /dev/vda && mount -t xfs /dev/vda /mnt",
        ]);
        assert_eq!(same.initramfs, image.initramfs);
        assert_ne!(build(&["sh"]).initramfs, image.initramfs);
    }

    #[test]
    fn the_agent_follows_a_distributions_initramfs() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::at(directory.path());
        let built_in = DEVICES.map(|name| format!("kernel/{name}.ko\n")).concat();
        let root = tree(&[], &built_in);
        let first = directory.path().join("initrd.img");
        fs::write(&first, "compressed").unwrap();
        let image = GuestImage::builder(kernel(root.path()))
            .agent(tool::find("true").unwrap())
            .beside_init_of(&first)
            .build(&cache, &quiet)
            .unwrap();
        let bytes = fs::read(&image.initramfs).unwrap();
        let rest = bytes.strip_prefix(b"compressed\0\0").unwrap();
        let names: Vec<_> = members(rest).into_iter().map(|(name, ..)| name).collect();
        assert!(names.contains(&"faultvisor-agent".to_owned()), "{names:?}");
        assert!(
            names.contains(&"etc/faultvisor/modules".to_owned()),
            "{names:?}"
        );
        // Nothing of the distribution's is replaced.
        assert!(!names.contains(&"init".to_owned()) && !names.contains(&"bin".to_owned()));
        assert_eq!(
            image.append,
            "rdinit=/faultvisor-agent faultvisor.then=/init"
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::at(directory.path());
        let root = tree(&[("virtio_mmio.ko", b"\0")], "");
        let image = || {
            GuestImage::builder(kernel(root.path()))
                .agent(tool::find("true").unwrap())
                .busybox(fake_busybox(directory.path()))
        };
        let error =
            |builder: GuestImageBuilder| builder.build(&cache, &quiet).unwrap_err().to_string();
        let of_kernel = error(image());
        assert!(
            of_kernel.starts_with("Linux 6.1.0-test has no 'virtio_blk': "),
            "{of_kernel}"
        );
        assert_eq!(
            error(image().program("no-such-program-here")),
            "no program 'no-such-program-here' in PATH"
        );
        let absent = error(image().copy("/data", "/no/such/file"));
        assert_eq!(absent, "cannot read '/no/such/file'");
    }
}
