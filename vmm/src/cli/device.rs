//! The part of `--drive` that describes the guest's device, by the names of QEMU's virtio-blk properties.

use faultvisor_devices::virtio::block::{DiskConfiguration, Feature, MAX_QUEUE_SIZE, MAX_QUEUES};
use faultvisor_devices::virtio::transport::RingFeatures;

use super::size::parse_size;
use faultvisor_monitor::option_syntax::{KeyValues, OptionError, switch};

/// Minimum and maximum block size of a disk in bytes, as in QEMU.
const BLOCK_SIZES: (u32, u32) = (512, 2 << 20);

/// The keys.
pub(super) const KEYS: &[&str] = &[
    "num-queues",
    "queue-size",
    "logical_block_size",
    "physical_block_size",
    "discard",
    "write-zeroes",
    "config-wce",
    "event_idx",
    "indirect_desc",
];

/// Parses them into a disk whose other keys are parsed, and the ring features that its transport offers.
pub(super) fn take(
    keys: &mut KeyValues,
    disk: &mut DiskConfiguration,
    ring_features: &mut RingFeatures,
) -> Result<(), OptionError> {
    if let Some(queues) = keys.take_with("num-queues", number_of_queues)? {
        disk.queues = queues;
    }
    if let Some(size) = keys.take_with("queue-size", queue_size)? {
        disk.queue_size = size;
    }
    if let Some(size) = keys.take_with("logical_block_size", block_size)? {
        disk.logical_block_size = size;
        disk.physical_block_size = size;
    }
    let logical = disk.logical_block_size;
    let physical = |word: &str| match block_size(word)? {
        size if size < logical => Err(format!("less than the logical block size, {logical}")),
        size => Ok(size),
    };
    if let Some(size) = keys.take_with("physical_block_size", physical)? {
        disk.physical_block_size = size;
    }
    for (key, feature) in [
        ("write-zeroes", Feature::WriteZeroes),
        ("config-wce", Feature::ConfigWce),
    ] {
        if keys.take_with(key, switch)? == Some(false) {
            disk.withheld.push(feature);
        }
    }
    if keys.take_with("event_idx", switch)? == Some(false) {
        *ring_features = ring_features.without_event_index();
    }
    if keys.take_with("indirect_desc", switch)? == Some(false) {
        *ring_features = ring_features.without_indirect_descriptors();
    }
    if keys.take_with("discard", unmaps)? == Some(false) {
        disk.withheld.push(Feature::Discard);
    }
    Ok(())
}

fn number_of_queues(word: &str) -> Result<u16, String> {
    match word.parse() {
        Ok(queues) if (1..=MAX_QUEUES).contains(&queues) => Ok(queues),
        _ => Err(format!("expected a number from 1 to {MAX_QUEUES}")),
    }
}

fn queue_size(word: &str) -> Result<u16, String> {
    match word.parse::<u16>() {
        // Header, data and status.
        Ok(size) if size.is_power_of_two() && (4..=MAX_QUEUE_SIZE).contains(&size) => Ok(size),
        _ => Err(format!(
            "expected a power of two from 4 to {MAX_QUEUE_SIZE}"
        )),
    }
}

fn block_size(word: &str) -> Result<u32, String> {
    let (least, most) = BLOCK_SIZES;
    let size = parse_size(word, 'B').map_err(|error| error.to_string())?;
    match u32::try_from(size) {
        Ok(size) if size.is_power_of_two() && (least..=most).contains(&size) => Ok(size),
        _ => Err(format!("expected a power of two from {least} to {most}")),
    }
}

/// QEMU's words for the treatment of discards.
fn unmaps(word: &str) -> Result<bool, &'static str> {
    match word {
        "unmap" => Ok(true),
        "ignore" => Ok(false),
        _ => switch(word).map_err(|_| "expected unmap, on, ignore or off"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<DiskConfiguration, String> {
        parse_with_rings(text).map(|(disk, _)| disk)
    }

    fn parse_with_rings(text: &str) -> Result<(DiskConfiguration, RingFeatures), String> {
        let mut disk = DiskConfiguration::new("disk0");
        let mut rings = RingFeatures::default();
        let parsed = KeyValues::parse(text, KEYS)
            .and_then(|mut keys| take(&mut keys, &mut disk, &mut rings));
        parsed.map_err(|error| error.to_string())?;
        Ok((disk, rings))
    }

    #[test]
    fn every_key_has_its_effect() {
        let disk = parse("num-queues=4,queue-size=1024,logical_block_size=4096").unwrap();
        assert_eq!((disk.queues, disk.queue_size), (4, 1024));
        assert_eq!(
            (disk.logical_block_size, disk.physical_block_size),
            (4096, 4096)
        );
        let disk = parse("physical_block_size=4K").unwrap();
        assert_eq!(
            (disk.logical_block_size, disk.physical_block_size),
            (512, 4096)
        );
        let all = "discard=ignore,write-zeroes=off,config-wce=off,event_idx=off,indirect_desc=off";
        let (disk, rings) = parse_with_rings(all).unwrap();
        let all_rings = RingFeatures::default();
        assert_eq!(disk.withheld.len(), 3);
        assert_eq!(
            rings,
            all_rings
                .without_event_index()
                .without_indirect_descriptors()
        );
        for (key, expected) in [
            ("event_idx", all_rings.without_event_index()),
            ("indirect_desc", all_rings.without_indirect_descriptors()),
        ] {
            let (_, rings) = parse_with_rings(&format!("{key}=off")).unwrap();
            assert_eq!(rings, expected);
        }
        let none = "discard=unmap,write-zeroes=on,config-wce=on,event_idx=on,indirect_desc=on";
        let unchanged = (DiskConfiguration::new("disk0"), all_rings);
        assert_eq!(parse_with_rings(none).unwrap(), unchanged);
    }

    #[test]
    fn an_invalid_device_is_refused_with_the_valid_range() {
        let error = |text| parse(text).unwrap_err();
        let queues = "num-queues=0: expected a number from 1 to 256";
        assert_eq!(error("num-queues=0"), queues);
        assert!(parse("num-queues=257").is_err());
        let size = "queue-size=100: expected a power of two from 4 to 1024";
        assert_eq!(error("queue-size=100"), size);
        for size in ["2", "2048", "65536", "-4", ""] {
            assert!(parse(&format!("queue-size={size}")).is_err(), "{size}");
        }
        let block = "logical_block_size=1000: expected a power of two from 512 to 2097152";
        assert_eq!(error("logical_block_size=1000"), block);
        let smaller = "logical_block_size=4096,physical_block_size=512";
        let reason = "physical_block_size=512: less than the logical block size, 4096";
        assert_eq!(error(smaller), reason);
        let discard = "discard=maybe: expected unmap, on, ignore or off";
        assert_eq!(error("discard=maybe"), discard);
    }
}
