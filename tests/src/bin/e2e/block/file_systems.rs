//! File systems and a tree of files: copied, hashed, mounted again, hashed again.

use faultvisor_tests::guest::Tools;
use faultvisor_tests::guest_shell;
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check_eq, tests};

use super::configuration::{self, Configuration};
use super::traffic::Traffic;
use crate::linux;

pub const TESTS: &[Test] = tests![
    Needs::Linux, with sizes;
    a_tree_of_files_survives_on_ext4,
    a_tree_of_files_survives_on_xfs,
];

/// Commands that make and check a file system.
struct FileSystem {
    name: &'static str,
    tools: Tools,
    /// Loads its kernel modules.
    load: &'static str,
    make: &'static str,
    check: &'static str,
}

const EXT4: FileSystem = FileSystem {
    name: "ext4",
    tools: Tools::E2fsprogs,
    load: "true",
    make: "mkfs.ext4 -q",
    check: "e2fsck -fn",
};
const XFS: FileSystem = FileSystem {
    name: "xfs",
    tools: Tools::Xfsprogs,
    load: "while read -r module; do insmod $module; done < /lib/modules/xfs.order",
    make: "mkfs.xfs -q",
    check: "xfs_repair -n",
};

fn a_tree_of_files_survives_on_ext4(context: &Context) -> Result<(), Failure> {
    survives(context, &EXT4, &configuration::THREADS)
}

fn a_tree_of_files_survives_on_xfs(context: &Context) -> Result<(), Failure> {
    survives(context, &XFS, &configuration::UNCACHED)
}

/// Makes a tree on one disk, copies it to another, and compares.
fn survives(
    context: &Context,
    file_system: &FileSystem,
    configuration: &Configuration,
) -> Result<(), Failure> {
    super::need(context, file_system.tools)?;
    let size = context.size();
    let script = guest_shell::script()
        .with(file_system.tools)
        .program("e2e", std::env::current_exe()?);
    let mut command = linux::command_of_size(context, &script, "320M", 1)?;
    for id in ["source", "copy"] {
        let image = context.disk(id)?;
        configuration.make_image(&image, size.choose(320, 4096), b"")?;
        configuration.add_disk(&mut command, &image, id);
    }
    let (mut guest, _client) = linux::boot(context, &mut command)?;
    configuration.check(&mut guest, "copy", "vdb")?;
    guest.be_patient(super::patience(size));
    let FileSystem {
        name, make, check, ..
    } = file_system;
    guest.run(file_system.load)?;
    for (disk, directory) in [("vda", "source"), ("vdb", "copy")] {
        guest.run(&format!("{make} /dev/{disk} && mkdir /tmp/{directory}"))?;
        guest.run(&format!("mount -t {name} /dev/{disk} /tmp/{directory}"))?;
    }
    let files = size.choose(300, 80_000);
    guest.run(&format!("/test/e2e tree /tmp/source/tree {files}"))?;
    // Hashes of the disk's data, not of the guest's page cache.
    let remount = |directory: &str, disk: &str| {
        format!("umount /tmp/{directory} && mount -t {name} /dev/{disk} /tmp/{directory}")
    };
    let hash = |directory: &str| {
        format!(
            "cd /tmp/{directory} && find . -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum; cd /tmp"
        )
    };
    let made = guest.run(&hash("source"))?;
    guest.run(&remount("source", "vda"))?;
    guest.run("cp -a /tmp/source/tree /tmp/copy/")?;
    check_eq!(guest.run(&hash("copy"))?, made);
    guest.run(&remount("copy", "vdb"))?;
    check_eq!(guest.run(&hash("copy"))?, made);
    let count = guest.run("find /tmp/copy/tree -type f | wc -l")?;
    check_eq!(count, files.to_string());
    guest.run(&format!("umount /tmp/copy && {check} /dev/vdb"))?;
    for device in ["vda", "vdb"] {
        let traffic = Traffic::of(&mut guest, device)?;
        context.note(&format!("{files} files, {device}: {traffic}"));
    }
    check_eq!(guest.disk_errors()?, "");
    guest.power_off()?;
    guest.expect_exit(0)?;
    Ok(())
}
