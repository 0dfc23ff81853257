//! `--smp`.

use faultvisor_monitor::option_syntax::{KeyValues, OptionError};

/// As many as there are APIC IDs in the machine's tables without x2APIC.
const MAX_CPUS: u64 = 64;

/// QEMU's keys of the topology, beside the numbers of processors and cores.
const PARTS: [&str; 8] = [
    "sockets", "dies", "clusters", "modules", "books", "drawers", "threads", "maxcpus",
];

/// Parses QEMU's `[cpus=]N` and its topology, which must be that of the machine: the cores of one package, with one
/// thread each.
pub(super) fn parse(text: &str) -> Result<u8, OptionError> {
    let known = [["cpus", "cores"].as_slice(), &PARTS].concat();
    let mut keys = KeyValues::parse_implying("cpus", text, &known, &[])?;
    let cpus = keys.take_with("cpus", count)?;
    let cores = keys.take_with("cores", count)?;
    let cpus = match (cpus, cores) {
        (Some(cpus), _) => cpus,
        (None, Some(cores)) => cores,
        (None, None) => return Err(OptionError::Missing("cpus")),
    };
    let only = |expected: u8| {
        move |word: &str| match word.parse::<u64>() {
            Ok(number) if number == u64::from(expected) => Ok(()),
            _ => Err(format!(
                "each vCPU is a core of one package with one thread; expected {expected}"
            )),
        }
    };
    if let Some(cores) = cores {
        let word = cores.to_string();
        only(cpus)(&word).map_err(|reason| OptionError::Value {
            key: "cores",
            value: word.clone(),
            reason,
        })?;
    }
    for part in PARTS {
        keys.take_with(part, only(if part == "maxcpus" { cpus } else { 1 }))?;
    }
    Ok(cpus)
}

fn count(word: &str) -> Result<u8, String> {
    match word.parse::<u64>() {
        Ok(count @ 1..=MAX_CPUS) => u8::try_from(count).map_err(|error| error.to_string()),
        _ => Err(format!("expected a number of vCPUs from 1 to {MAX_CPUS}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpus(text: &str) -> Result<u8, String> {
        parse(text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_topology_is_accepted_that_is_the_machines() {
        for text in [
            "2",
            "cpus=2",
            "2,cores=2",
            "cores=2",
            "2,sockets=1,cores=2,threads=1,maxcpus=2",
            "2,dies=1,clusters=1,modules=1,books=1,drawers=1",
        ] {
            assert_eq!(cpus(text), Ok(2), "{text}");
        }
        assert_eq!(cpus("64"), Ok(64));
    }

    #[test]
    fn a_different_topology_is_refused_with_the_machines() {
        let error = |text| cpus(text).unwrap_err();
        let one = "each vCPU is a core of one package with one thread; expected 1";
        assert_eq!(error("2,threads=2"), format!("threads=2: {one}"));
        assert_eq!(error("2,sockets=2"), format!("sockets=2: {one}"));
        let two = "each vCPU is a core of one package with one thread; expected 2";
        assert_eq!(error("2,maxcpus=4"), format!("maxcpus=4: {two}"));
        assert_eq!(error("2,cores=1"), format!("cores=1: {two}"));
        for text in ["0", "65", "-1", "x", "18446744073709551616"] {
            let expected = format!("cpus={text}: expected a number of vCPUs from 1 to 64");
            assert_eq!(error(text), expected);
        }
        assert_eq!(error("threads=1"), "key 'cpus' is missing");
        assert_eq!(
            error("2,core=2"),
            "unknown key 'core'; did you mean 'cores'?"
        );
    }
}
