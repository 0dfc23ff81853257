//! fio writes, reads and trims, and verifies all of it.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::MetadataExt;

use faultvisor_tests::guest::Tools;
use faultvisor_tests::guest_shell::{self, GuestShell};
use faultvisor_tests::suite::{Context, Failure, Needs, Size, Test};
use faultvisor_tests::{check, check_eq, tests, tool};

use super::configuration::{self, Configuration, Format};
use super::traffic::Traffic;
use crate::client::Client;
use crate::linux;

pub const TESTS: &[Test] = tests![
    Needs::Linux, with sizes;
    fio_verifies_raw_disks_with_every_engine,
    fio_verifies_four_jobs_on_four_queues,
    fio_verifies_qcow2_with_a_backing_file,
    the_same_jobs_leave_the_same_bytes_on_qcow2_and_raw,
];

fn fio_verifies_raw_disks_with_every_engine(context: &Context) -> Result<(), Failure> {
    verify(
        context,
        &[
            ("io_uring", configuration::IO_URING),
            ("threads", configuration::THREADS),
            ("uncached", configuration::UNCACHED),
        ],
    )
}

fn fio_verifies_qcow2_with_a_backing_file(context: &Context) -> Result<(), Failure> {
    verify(context, &[("qcow2", configuration::QCOW2)])
}

/// The guest's memory, which holds fio and its libraries.
const MEMORY: &str = "448M";

/// A job of fio's.
struct Job {
    name: &'static str,
    options: &'static str,
    /// The range of each of its threads, small and full.
    kibibytes: (u32, u32),
}

/// They run in order. Each starts at the disk's start, and covers its range in random order, each byte once.
const JOBS: &[Job] = &[
    Job {
        name: "fill",
        options: "rw=write bs=64k iodepth=16 do_verify=0",
        kibibytes: (1024, 262_144),
    },
    // Reads the previous job's writes in other pieces, and verifies them.
    Job {
        name: "read",
        options: "rw=randread bsrange=512-64k iodepth=32",
        kibibytes: (1024, 262_144),
    },
    Job {
        name: "write",
        options: "rw=randwrite bssplit=512/30:4k/30:16k/29:256k/10:1m/1 iodepth=16 fsync=8",
        kibibytes: (2048, 262_144),
    },
    Job {
        name: "mixed",
        options: "rw=randrw bs=4k iodepth=64 fdatasync=16",
        kibibytes: (256, 65_536),
    },
    Job {
        name: "sectors-one-by-one",
        options: "rw=randwrite bs=512 iodepth=1 fsync=4",
        kibibytes: (32, 2048),
    },
    Job {
        name: "large",
        options: "rw=randrw bs=1m iodepth=4 ioengine=io_uring",
        kibibytes: (4096, 262_144),
    },
    Job {
        name: "trim-and-write",
        options: "rw=randtrimwrite bsrange=512-64k iodepth=4",
        kibibytes: (512, 32_768),
    },
    FOUR_AT_ONCE,
];

const JOBS_ON_FOUR_QUEUES: &[Job] = &[
    FOUR_AT_ONCE,
    Job {
        name: "four-mixed",
        options: "rw=randrw bs=4k iodepth=64 fsync=16 \
                  numjobs=4 cpus_allowed=0-3 cpus_allowed_policy=split",
        kibibytes: (128, 32_768),
    },
];

const FOUR_AT_ONCE: Job = Job {
    name: "four-at-once",
    options: "rw=randwrite bsrange=512-64k iodepth=16 ioengine=io_uring fdatasync=32 \
              numjobs=4",
    kibibytes: (256, 65_536),
};

/// Leaves zeroes in its range.
const TRIM: Job = Job {
    name: "trim",
    options: "rw=randtrim bsrange=4k-64k iodepth=4 verify=0",
    kibibytes: (1024, 32_768),
};
/// The same in whole clusters: qcow2 does not deallocate less.
const TRIM_CLUSTERS: Job = Job {
    options: "rw=randtrim bs=64k iodepth=4 verify=0",
    ..TRIM
};

/// The data depends only on the offset and the job, so that it is equal on every disk.
const PAINTING: &[Job] = &[
    Job {
        name: "pieces",
        options: "rw=randwrite bssplit=512/30:4k/30:16k/29:256k/10:1m/1 iodepth=16 fsync=8 \
                  verify=pattern verify_pattern=0x11%o",
        kibibytes: (2048, 131_072),
    },
    Job {
        options: "rw=randtrim bs=64k iodepth=4 verify=0 offset=256k",
        ..TRIM
    },
    Job {
        name: "four",
        options: "rw=randwrite bsrange=512-64k iodepth=16 ioengine=io_uring fdatasync=32 numjobs=4 \
                  offset=50% verify=pattern verify_pattern=0x22%o",
        kibibytes: (512, 16_384),
    },
    Job {
        name: "over",
        options: "rw=randrw bs=4k iodepth=64 fdatasync=16 verify=pattern verify_pattern=0x33%o",
        kibibytes: (256, 65_536),
    },
];

/// Runs jobs on one disk after the other, and trims part of each.
fn verify(context: &Context, disks: &[(&str, Configuration)]) -> Result<(), Failure> {
    let (mut guest, _client) = boot(context, disks, JOBS)?;
    for ((id, configuration), letter) in disks.iter().zip('a'..) {
        let device = format!("vd{letter}");
        let traffic = run_fio(&mut guest, "jobs", &device)
            .and_then(|()| trim(context, id, configuration, &device, &mut guest))
            .and_then(|()| Traffic::of(&mut guest, &device))
            .map_err(|failure| named(id, failure))?;
        check!(
            traffic.is_of_every_kind(),
            "{id}: not of every kind: {traffic}"
        );
        context.note(&format!("{id}: {traffic}"));
    }
    end(&mut guest)?;
    for (id, configuration) in disks {
        configuration.check_image(&context.disk(id)?)?;
    }
    Ok(())
}

/// Starts a guest with disks and job files.
fn boot(
    context: &Context,
    disks: &[(&str, Configuration)],
    jobs: &[Job],
) -> Result<(GuestShell, Client), Failure> {
    super::need(context, Tools::Fio)?;
    let size = context.size();
    let script = guest_shell::script()
        .with(Tools::Fio)
        .file("jobs", job_file(jobs, size)?)
        .file("trim", job_file(&[TRIM], size)?)
        .file("trim-clusters", job_file(&[TRIM_CLUSTERS], size)?);
    let cpus = disks.iter().map(|(_, disk)| disk.queues).max();
    let mut command = linux::command_of_size(context, &script, MEMORY, cpus.unwrap_or(1))?;
    // Below an overlay there are both data and holes.
    let start = linux::pattern(10, 12 << 20);
    for (id, configuration) in disks {
        let image = context.disk(id)?;
        configuration.make_image(&image, size.choose(16, 320), &start)?;
        configuration.add_disk(&mut command, &image, id);
    }
    let (mut guest, client) = linux::boot(context, &mut command)?;
    for ((id, configuration), letter) in disks.iter().zip('a'..) {
        configuration.check(&mut guest, id, &format!("vd{letter}"))?;
    }
    guest.be_patient(super::patience(size));
    Ok((guest, client))
}

/// Trims a disk's start, and checks that it reads zeroes and that the rest is unchanged.
fn trim(
    context: &Context,
    id: &str,
    configuration: &Configuration,
    device: &str,
    guest: &mut GuestShell,
) -> Result<(), Failure> {
    let image = context.disk(id)?;
    let trimmed = context.size().choose(TRIM.kibibytes.0, TRIM.kibibytes.1);
    let blocks = fs::metadata(&image)?.blocks();
    let rest = format!(
        "dd if=/dev/{device} bs=1M skip={} count={} iflag=direct 2> /dev/null | md5sum",
        trimmed / 1024,
        context.size().choose(4, 256)
    );
    let before = guest.run(&rest)?;
    let jobs = match configuration.format() {
        Format::Raw => "trim",
        Format::Qcow2 => "trim-clusters",
    };
    run_fio(guest, jobs, device)?;
    check_eq!(guest.run(&rest)?, before);
    let left = guest.run(&format!(
        "head -c {trimmed}k /dev/{device} | tr -d '\\0' | wc -c"
    ))?;
    check_eq!(left, "0");
    if configuration.format() == Format::Raw {
        let given_back = blocks.saturating_sub(fs::metadata(&image)?.blocks()) / 2;
        check!(
            given_back >= u64::from(trimmed) * 9 / 10,
            "of {trimmed} KiB trimmed, the host has {given_back} back"
        );
    }
    Ok(())
}

/// Prefixes a failure with its disk.
fn named(id: &str, failure: Failure) -> Failure {
    match failure {
        Failure::Failed(why) => Failure::Failed(format!("{id}: {why}")),
        skipped @ Failure::Skipped(_) => skipped,
    }
}

fn end(guest: &mut GuestShell) -> Result<(), Failure> {
    check_eq!(guest.disk_errors()?, "");
    guest.power_off()?;
    guest.expect_exit(0)?;
    Ok(())
}

fn fio_verifies_four_jobs_on_four_queues(context: &Context) -> Result<(), Failure> {
    let disks = [("queues", configuration::FOUR_QUEUES)];
    let (mut guest, _client) = boot(context, &disks, JOBS_ON_FOUR_QUEUES)?;
    run_fio(&mut guest, "jobs", "vda")?;
    context.note(&Traffic::of(&mut guest, "vda")?.to_string());
    end(&mut guest)
}

fn the_same_jobs_leave_the_same_bytes_on_qcow2_and_raw(context: &Context) -> Result<(), Failure> {
    let disks = [
        ("raw", configuration::IO_URING),
        ("qcow2", configuration::QCOW2),
    ];
    let (mut guest, _client) = boot(context, &disks, PAINTING)?;
    for ((id, _), device) in disks.iter().zip(["vda", "vdb"]) {
        run_fio(&mut guest, "jobs", device).map_err(|failure| named(id, failure))?;
        let traffic = Traffic::of(&mut guest, device)?;
        check!(
            traffic.is_of_every_kind(),
            "{id}: not of every kind: {traffic}"
        );
        context.note(&format!("{id}: {traffic}"));
    }
    end(&mut guest)?;
    let (raw, qcow2) = (context.disk("raw")?, context.disk("qcow2")?);
    configuration::QCOW2.check_image(&qcow2)?;
    let mut compare = configuration::qemu_img("compare")?;
    compare.args(["-f", "raw", "-F", "qcow2"]);
    tool::run(compare.arg(raw).arg(qcow2))?;
    Ok(())
}

/// Runs a job file on a disk of the guest. fio's errors become the test's.
fn run_fio(guest: &mut GuestShell, jobs: &str, device: &str) -> Result<(), Failure> {
    let run = format!(
        "DISK=/dev/{device} fio /test/{jobs} > /tmp/fio 2>&1 || {{ grep -v '^ ' /tmp/fio | tail -n 20; false; }}"
    );
    guest.run(&run)?;
    Ok(())
}

fn job_file(jobs: &[Job], size: Size) -> Result<String, Failure> {
    // A checksum per sector, so that one job verifies another's writes in other pieces.
    let mut text = String::from(
        "[global]\nfilename=${DISK}\ndirect=1\nioengine=libaio\nthread=1\nrandseed=1\nstonewall\n\
         verify=crc32c\nverify_interval=512\nverify_fatal=1\ndo_verify=1\nexitall_on_error=1\n",
    );
    for job in jobs {
        let (small, full) = job.kibibytes;
        let kibibytes = size.choose(small, full);
        writeln!(text, "[{}]", job.name)?;
        // The threads of a job have adjacent ranges.
        writeln!(text, "size={kibibytes}k\noffset_increment={kibibytes}k")?;
        for option in job.options.split_whitespace() {
            writeln!(text, "{option}")?;
        }
    }
    Ok(text)
}
