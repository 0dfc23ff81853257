//! From the command line to init, and to a clean end.

use std::fs;
use std::path::Path;

use faultvisor_tests::guest_shell::GuestShell;
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, guest_shell, packages, resident, tests};
use serde_json::json;

use crate::{linux, wrong_use};

pub const TESTS: &[Test] = tests![
    Needs::Linux;
    a_vmlinux_with_a_note_of_xens_boots_through_pvh,
    a_vmlinux_without_it_boots_by_the_64_bit_protocol,
    a_bzimage_boots_to_init_and_shuts_down_cleanly,
    a_guests_memory_comes_from_the_hosts_huge_page_pool,
];

/// How a kernel was started, as Linux reports it (`kernel.bootloader_type`).
enum Loader {
    /// PVH: the code that converts the start information to boot parameters.
    Pvh = 0xb0,
    /// "Undefined", as the program fills it in.
    Undefined = 0xff,
}

fn a_vmlinux_with_a_note_of_xens_boots_through_pvh(context: &Context) -> Result<(), Failure> {
    boots_and_shuts_down(context, &context.guest().vmlinux(), Loader::Pvh)
}

fn a_vmlinux_without_it_boots_by_the_64_bit_protocol(context: &Context) -> Result<(), Failure> {
    // XEN_ELFNOTE_PHYS32_ENTRY with its name, and a plausible length of its address.
    let mut image = fs::read(context.guest().vmlinux())?;
    let is_note = |bytes: &[u8]| {
        bytes[..4] == [4, 0, 0, 0] && bytes[8..] == [18, 0, 0, 0, b'X', b'e', b'n', 0]
    };
    let found = image.windows(16).step_by(4).position(is_note);
    let index = found.ok_or_else(|| Failure::new("the stock kernel has no such note"))?;
    // An unknown type.
    image[index * 4 + 8] = 0x7f;
    let kernel = context.path("vmlinux");
    fs::write(&kernel, image)?;
    boots_and_shuts_down(context, &kernel, Loader::Undefined)
}

fn a_bzimage_boots_to_init_and_shuts_down_cleanly(context: &Context) -> Result<(), Failure> {
    boots_and_shuts_down(context, &context.guest().bzimage(), Loader::Undefined)
}

/// The size of the host's pool of huge pages, restored on drop.
struct Pool {
    before: String,
}

impl Pool {
    const SIZE: &str = "/proc/sys/vm/nr_hugepages";

    fn of(pages: u64) -> Result<Self, Failure> {
        let before = fs::read_to_string(Self::SIZE)?;
        if !packages::is_root() {
            return Err(Failure::skip("only root makes huge pages"));
        }
        let had: u64 = before.trim().parse()?;
        let pool = Self { before };
        fs::write(Self::SIZE, (had + pages).to_string())?;
        Ok(pool)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let _ = fs::write(Self::SIZE, &self.before);
    }
}

fn a_guests_memory_comes_from_the_hosts_huge_page_pool(context: &Context) -> Result<(), Failure> {
    const MEMORY: u64 = 256 << 20;
    let pool = Pool::of(MEMORY >> 21)?;
    let mut command = linux::command(context)?;
    command.args(["-m", "256M", "--mem-hugepages", "--mem-prealloc"]);
    let (mut guest, client) = linux::boot(context, &mut command)?;
    let huge = |guest: &mut GuestShell| resident::huge_pages_of_process(guest.machine());
    check_eq!(huge(&mut guest)?, MEMORY);
    guest.run("echo left behind > /dev/shm/file || echo left behind > /tmp/file")?;
    client.system_reset()?;
    client.expect("RESET")?;
    guest.wait()?;
    guest.run("test ! -e /dev/shm/file && test ! -e /tmp/file")?;
    check_eq!(huge(&mut guest)?, MEMORY);

    // The pool has no page left for a second machine, which reports that at start instead of dying later.
    let mut second = context.command();
    second.arg("--kernel").arg(context.guest().vmlinux());
    second.args(["-m", "256M", "--mem-hugepages", "--serial", "null"]);
    let text = wrong_use::refused(&mut second)?;
    check!(
        text.contains("it takes 128 huge pages, and the host has "),
        "it says: {text}"
    );
    guest.power_off()?;
    guest.expect_exit(0)?;
    drop(pool);
    Ok(())
}

fn boots_and_shuts_down(context: &Context, kernel: &Path, loader: Loader) -> Result<(), Failure> {
    let mut command = linux::command_for(context, kernel, &guest_shell::script())?;
    command.args(["--name", "a guest"]);
    let (mut guest, client) = linux::boot(context, &mut command)?;
    // The guest and the machine are the requested ones.
    let command_line = guest.run("cat /proc/cmdline")?;
    check!(
        command_line.contains(guest_shell::APPEND),
        "the kernel's command line is '{command_line}'"
    );
    check_eq!(guest.run("nproc")?, "1");
    let found = guest.run("cat /proc/sys/kernel/bootloader_type")?;
    check_eq!(found, (loader as u32).to_string());
    guest.run("dmesg | grep -q 'Hypervisor detected: KVM'")?;
    check_eq!(client.run_state()?, "running");
    let name = client.execute("query-name")?;
    check_eq!(name, json!({ "name": "a guest" }));

    guest.power_off()?;
    let shutdown = client.expect("SHUTDOWN")?;
    check_eq!(
        shutdown,
        json!({ "guest": true, "reason": "guest-shutdown" })
    );
    guest.expect_exit(0)?;
    // Nothing failed on the way.
    check_eq!(guest.machine().messages().text(), "");
    Ok(())
}
