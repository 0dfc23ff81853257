//! The same jobs run by fio inside Linux, in the lab, with the image in memory.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use faultvisor_bench::contender::{self, Contender};
use faultvisor_bench::guest_fio::{self, Sample};
use faultvisor_tests::guest;
use faultvisor_tests::lab::{self, Payload, Settings};
use faultvisor_tests::packages;
use faultvisor_tests::workspace::Workspace;

use super::Options;
use super::fio;
use super::job::{self, Job};
use super::medium::Cache;
use super::table::{Entry, FAULTVISOR, Group, MICROVM, Table};
use crate::{console, programs, qemu, side_by_side};

/// The lab's files.
const PROGRAM: &str = "/payload/faultvisor";
const MEASURES: &str = "/payload/bench-guests";
const INITRAMFS: &str = "/payload/fio.cpio";
const LIST: &str = "/payload/contenders.json";
const IMAGE: &str = "/tmp/disk.img";
/// The lab keeps the image in memory, beside a guest with fio's libraries.
const IMAGE_MIB: u64 = 128;
const GUEST_MEMORY_MIB: &str = "448M";
const LAB_MEMORY_MIB: u32 = 3000;
const COMMAND_LINE: &str = "console=ttyS0 reboot=t panic=-1 quiet loglevel=0";
const LIMIT: Duration = Duration::from_secs(60 * 60);

/// Measures in the lab.
pub fn perform(workspace: &Workspace, options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    packages::ensure_installed(&[packages::QEMU, packages::FIO], &console::note)?;
    let programs = programs::build(workspace)?;
    let guest = guest::build(workspace, &console::note)?;
    guest::build_tools(workspace, &guest, &console::note)?;
    let lab = lab::build(workspace, &console::note)?;
    let jobs = options.jobs();
    let scratch = tempfile::tempdir()?;
    let initramfs = scratch.path().join("fio.cpio");
    guest_fio::initramfs(&guest, &fio_jobs(&jobs, options.milliseconds), &initramfs)?;

    let qemu = qemu()?;
    let mut payload = Payload::new(&lab)?;
    payload.built(PROGRAM, &programs.faultvisor)?;
    payload.built(MEASURES, &programs.guests)?;
    payload.copy(INITRAMFS, &initramfs)?;
    payload.program(&qemu)?;
    for file in side_by_side::firmware(&qemu)? {
        payload.copy(&file.to_string_lossy(), &file)?;
    }
    let inside = lab::add_guest(&mut payload, &guest)?;
    let kernel = inside.vmlinux().display().to_string();
    let contenders = contenders(options, &kernel, &qemu.display().to_string());
    let list = contender::to_json(&contenders);
    payload.file(LIST, 0o644, list.as_bytes())?;

    console::note("measuring in the lab");
    let script = format!(
        "dd if=/dev/zero of={IMAGE} bs=1M count={IMAGE_MIB} 2> /dev/null\n\
         {MEASURES} guest-fio --contenders {LIST} --runs {}",
        options.runs
    );
    let mut samples = Vec::new();
    let mut settings = Settings::with_limit(LIMIT);
    settings.memory_mib = LAB_MEMORY_MIB;
    let outcome = lab.run(payload, &script, &settings, |line| {
        match line.parse::<Sample>() {
            Ok(sample) => samples.push(sample),
            Err(()) => console::line(&format!("   │ {line}")),
        }
    })?;
    let names: Vec<&str> = contenders.iter().map(|it| it.name.as_str()).collect();
    console::line(table(&jobs, &names, &samples).to_string().trim_end());
    Ok(if outcome.status == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Each job's name, and fio's options for it in the guest.
fn fio_jobs(jobs: &[Job], milliseconds: u64) -> Vec<(String, Vec<String>)> {
    let options = |job: &Job| {
        let mut options = fio::options(*job, "/dev/vda", Cache::None);
        options.push("--time_based".to_owned());
        options.push(format!("--runtime={milliseconds}ms"));
        (job.to_string(), options)
    };
    jobs.iter().map(options).collect()
}

fn contenders(options: &Options, kernel: &str, qemu: &str) -> Vec<Contender> {
    let is_chosen =
        |contender| options.contenders.is_empty() || options.contenders.contains(&contender);
    let common = [
        "-kernel",
        kernel,
        "-initrd",
        INITRAMFS,
        "-m",
        GUEST_MEMORY_MIB,
    ];
    let serial = [
        "-append",
        COMMAND_LINE,
        "-no-reboot",
        "-serial",
        "stdio",
        "-drive",
    ];
    // The lab's file system in memory lacks direct I/O.
    let drive = format!("file={IMAGE},format=raw,cache=writeback,aio=io_uring");
    let words = |program: &str, rest: &[&str]| {
        let words = [program].into_iter().chain(common).chain(serial);
        words
            .chain(rest.iter().copied())
            .map(str::to_owned)
            .collect()
    };
    let mut contenders = Vec::new();
    if is_chosen(super::Contender::Faultvisor) {
        contenders.push(Contender {
            name: FAULTVISOR.to_owned(),
            command: words(PROGRAM, &[&drive]),
        });
    }
    if is_chosen(super::Contender::Microvm) {
        let drive = format!("if=none,id=disk0,{drive}");
        let rest = [
            &drive,
            "-M",
            "microvm",
            "-accel",
            "kvm",
            "-cpu",
            "host",
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-name",
            "microvm,debug-threads=on",
            "-global",
            "virtio-mmio.force-legacy=false",
            "-object",
            "iothread,id=io0",
            "-device",
            "virtio-blk-device,drive=disk0,iothread=io0",
        ];
        contenders.push(Contender {
            name: MICROVM.to_owned(),
            command: words(qemu, &rest),
        });
    }
    contenders
}

fn table(jobs: &[Job], names: &[&str], samples: &[Sample]) -> Table {
    let entry = |name: &'static str, job: &str| Entry {
        name,
        samples: samples
            .iter()
            .filter(|sample| sample.name == name && sample.job == job)
            .map(|sample| job::Sample {
                rate: sample.rate,
                p50: sample.p50,
                p99: sample.p99,
                cpu: sample.cpu,
                kicks: None,
                others: f64::NAN,
            })
            .collect(),
    };
    let group = |job: &Job| {
        let name = job.to_string();
        let entries = [FAULTVISOR, MICROVM].into_iter();
        Group {
            job: *job,
            entries: entries
                .filter(|it| names.contains(it))
                .map(|it| entry(it, &name))
                .collect(),
        }
    };
    Table(jobs.iter().map(group).collect())
}
