//! The machine's address map: guest-physical addresses, I/O ports and interrupts of each device.
//!
//! `boot/layout.rs` has the layout of the first megabyte.

/// The keyboard controller's first port. Port 0x61 in between is the PIT's speaker gate, which KVM emulates.
pub const KEYBOARD_CONTROLLER: u64 = 0x60;
/// The index port of the CMOS clock; its data port follows.
pub const CMOS: u64 = 0x70;
/// COM1's ports.
pub const COM1: u64 = 0x3f8;
/// pvpanic's port, as in QEMU.
pub const PVPANIC: u64 = 0x505;
/// The sleep control and sleep status registers.
pub const POWER_CONTROL: u64 = 0x600;

/// The ISA interrupt of COM1.
pub const COM1_INTERRUPT: u32 = 4;
/// The interrupt of the power button: the SCI of a PC. Virtio devices get others.
pub const POWER_BUTTON_INTERRUPT: u32 = 9;
/// The interrupts assigned to virtio devices in turn: the legacy inputs that a PC's own devices leave free, which a
/// kernel sets up by default. More devices share them, which edge-triggered interrupts allow.
pub const VIRTIO_INTERRUPTS: [u32; 9] = [5, 6, 7, 10, 11, 12, 14, 15, 3];

/// The upper bound of low guest memory. The rest of the first 4 GiB belongs to devices.
pub const LOW_MEMORY_END: u64 = 0xc000_0000;
/// The first of the virtio-mmio windows, which are contiguous up to [`VIRTIO_END`].
pub const VIRTIO: u64 = 0xd000_0000;
/// The end of the virtio-mmio windows: KVM's I/O APIC follows.
pub const VIRTIO_END: u64 = IO_APIC as u64;
/// KVM's I/O APIC.
pub const IO_APIC: u32 = 0xfec0_0000;
/// KVM's local APICs.
pub const LOCAL_APIC: u32 = 0xfee0_0000;
/// One page for the identity map that KVM needs on Intel hosts, below the place of a PC's firmware.
pub const IDENTITY_MAP: u64 = 0xfffb_c000;
/// Three pages for the task state segment that KVM needs there.
pub const TASK_STATE: usize = 0xfffb_d000;
/// The start of guest memory that does not fit below [`LOW_MEMORY_END`].
pub const HIGH_MEMORY_START: u64 = 1 << 32;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::boot::layout;

    const PAGE: u64 = 0x1000;

    /// The rows of the tables under a heading of docs/memory-map.md, without their heads.
    fn rows(heading: &str) -> Vec<Vec<String>> {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/memory-map.md");
        let page = fs::read_to_string(page).unwrap();
        let (_, section) = page.split_once(&format!("## {heading}\n")).unwrap();
        let section = section.split("\n## ").next().unwrap();
        let lines: Vec<_> = section.lines().collect();
        let cells = |line: &str| line.split('|').skip(1).map(str::to_owned).collect();
        (0..lines.len())
            .filter(|&at| {
                lines[at].starts_with("| ")
                    && !lines.get(at + 1).unwrap_or(&"").starts_with("| ---")
            })
            .map(|at| lines[at])
            .filter(|line| !line.starts_with("| ---"))
            .map(cells)
            .collect()
    }

    /// The numbers of a cell that stand alone or in backquotes.
    fn numbers(cell: &str) -> Vec<u64> {
        let words = cell.split(|c: char| c.is_whitespace() || "`,–".contains(c));
        let number = |word: &str| {
            let digits = word.replace('_', "");
            match digits.strip_prefix("0x") {
                Some(hexadecimal) => u64::from_str_radix(hexadecimal, 16).ok(),
                None => digits.parse().ok(),
            }
        };
        words.filter_map(number).collect()
    }

    #[test]
    fn the_page_on_the_memory_map_has_every_guest_physical_address() {
        let found: Vec<_> = rows("Guest-physical addresses")
            .iter()
            .map(|cells| (numbers(&cells[0]), numbers(&cells[1])))
            .collect();
        let range = |from: u64, to: u64| (vec![from], vec![to]);
        let chip = |address: u32| range(address.into(), u64::from(address) + PAGE);
        let task_state = u64::try_from(TASK_STATE).unwrap();
        assert_eq!(task_state, IDENTITY_MAP + PAGE);
        let expected = [
            range(0, layout::CONVENTIONAL_MEMORY_END),
            range(layout::CONVENTIONAL_MEMORY_END, layout::ACPI_TABLES),
            range(layout::ACPI_TABLES, layout::ACPI_TABLES_END),
            range(layout::HIGH_MEMORY, LOW_MEMORY_END),
            range(LOW_MEMORY_END, VIRTIO),
            // One window: 4 KiB for each device.
            (vec![VIRTIO], vec![VIRTIO, 4]),
            chip(IO_APIC),
            chip(LOCAL_APIC),
            range(IDENTITY_MAP, task_state + 3 * PAGE),
            (vec![HIGH_MEMORY_START], vec![]),
        ];
        assert_eq!(found[..expected.len()], expected);
        // The second table: what lies in the first megabyte at a start.
        let first: Vec<_> = found[expected.len()..]
            .iter()
            .map(|(of, _)| of.clone())
            .collect();
        let directories = layout::PAGE_DIRECTORIES;
        let tables = vec![
            layout::PAGE_MAP,
            layout::PAGE_DIRECTORY_POINTERS,
            directories,
            // One for each GiB; and the end.
            directories + 4 * PAGE,
        ];
        assert_eq!(
            first,
            [
                vec![layout::GDT],
                vec![layout::IDT],
                vec![layout::BOOT_PARAMETERS],
                vec![layout::START_INFO],
                vec![layout::STACK],
                tables,
                vec![layout::COMMAND_LINE]
            ]
        );
    }

    #[test]
    fn the_page_on_the_memory_map_has_every_port() {
        let ports: Vec<_> = rows("Ports")
            .iter()
            .map(|cells| numbers(&cells[0]))
            .collect();
        for expected in [
            vec![KEYBOARD_CONTROLLER, KEYBOARD_CONTROLLER + 4],
            vec![CMOS, CMOS + 1],
            vec![COM1, COM1 + 7],
            vec![PVPANIC],
            vec![POWER_CONTROL, POWER_CONTROL + 1],
        ] {
            assert!(
                ports.contains(&expected),
                "{expected:x?} is not in {ports:x?}"
            );
        }
    }

    #[test]
    fn the_page_on_the_memory_map_has_every_interrupt() {
        let found: Vec<_> = rows("Interrupts")
            .iter()
            .map(|cells| numbers(&cells[0]))
            .collect();
        let virtio = VIRTIO_INTERRUPTS.map(u64::from).to_vec();
        let others = [0, COM1_INTERRUPT, POWER_BUTTON_INTERRUPT].map(|of| vec![u64::from(of)]);
        assert_eq!(found, [&others[..], &[virtio]].concat());
    }
}
