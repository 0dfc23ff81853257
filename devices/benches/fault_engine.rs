//! The fault engine's cost per request.
//!
//! Run with `cargo xtask bench fault`, or `cargo bench -p faultvisor-devices --bench fault_engine`. The aim is at most
//! 1 µs with 1,000 ranges set on a disk.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use faultvisor_devices::block::fault::action::FaultAction;
use faultvisor_devices::block::fault::draw::{Delay, Percentile};
use faultvisor_devices::block::fault::engine::{Counts, Engine, EngineView};
use faultvisor_devices::block::fault::kinds::Kinds;
use faultvisor_devices::block::fault::rule::{Match, Rule};
use faultvisor_devices::block::model::errno::Errno;
use faultvisor_devices::block::model::request::{Operation, Request};
use faultvisor_devices::block::model::segment::Segment;
use faultvisor_schema::{BlockFaultRule, BlockFaultRuleBranch};
use vm_memory::GuestAddress;

/// Sectors of a request of 4 KiB.
const SECTORS: u64 = 8;

/// Sectors from one range to the next.
const STRIDE: u64 = 64;

fn request(sector: u64) -> Request {
    let segment = Segment {
        address: GuestAddress(0x1000),
        length: 4096,
    };
    Request {
        operation: Operation::Read {
            offset: sector * 512,
        },
        segments: [segment].into_iter().collect(),
    }
}

fn rule(kinds: Kinds, sectors: (u64, u64), probability: f64) -> Rule {
    Rule {
        id: "bad-sector".to_owned(),
        matching: Match {
            sectors: Some(sectors),
            probability,
            ..Match::all(kinds)
        },
        action: FaultAction::Error {
            errno: Errno::EIO,
            after: false,
        },
        seed: 1,
    }
}

fn engine(rules: impl IntoIterator<Item = Rule>) -> Engine {
    let mut engine = Engine::new("disk0", Arc::new(EngineView::default()));
    for rule in rules {
        // The schema's form, which only a save reads.
        let given = BlockFaultRule {
            id: None,
            device: "disk0".to_owned(),
            operations: None,
            sector: None,
            sectors: None,
            state: None,
            min_bytes: None,
            max_bytes: None,
            skip: None,
            count: None,
            probability: None,
            seed: None,
            action: BlockFaultRuleBranch::Hang,
        };
        engine.add(rule, given, Arc::new(Counts::default()));
    }
    engine
}

/// Ranges of eight sectors, one per [`STRIDE`].
fn ranges(count: u64, probability: f64) -> Engine {
    let range = |index| (index * STRIDE, SECTORS);
    engine((0..count).map(|index| rule(Kinds::READ, range(index), probability)))
}

fn measure(criterion: &mut Criterion, group: &str, name: &str, engine: Engine, request: &Request) {
    let (mut engine, mut ordinal) = (engine, 0);
    criterion
        .benchmark_group(group)
        .bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| {
                ordinal += 1;
                engine.judge(ordinal, 0, black_box(request))
            });
        });
}

/// The request lies in the middle of the sectors that the ranges span.
fn disjoint_ranges(criterion: &mut Criterion) {
    for count in [0, 1, 10, 1000] {
        let middle = count / 2 * STRIDE;
        let (between, inside) = (request(middle + SECTORS), request(middle));
        let name = &count.to_string();
        measure(
            criterion,
            "no range matches",
            name,
            ranges(count, 1.0),
            &between,
        );
        if count > 0 {
            let group = "one range matches and does not fire";
            measure(criterion, group, name, ranges(count, 0.0), &inside);
            let group = "one range matches and fires";
            measure(criterion, group, name, ranges(count, 1.0), &inside);
        }
    }
}

/// Worst case of 1,000 ranges: the request overlaps all of them.
fn overlapping_ranges(criterion: &mut Criterion) {
    let group = "1000 ranges that all overlap the request";
    let read = request(1000);
    let all = |kinds, probability| {
        let range = |index: u64| (index, 2000);
        engine((0..1000).map(move |index| rule(kinds, range(index), probability)))
    };
    let engines = [
        ("of other requests", all(Kinds::WRITE, 1.0)),
        ("probability 0", all(Kinds::READ, 0.0)),
        ("probability 1e-9", all(Kinds::READ, 1e-9)),
    ];
    for (name, engine) in engines {
        measure(criterion, group, name, engine, &read);
    }
}

/// Rules that delay every request, without the wait itself.
fn delay(criterion: &mut Criterion) {
    let points = [(50.0, 100), (99.0, 2000), (100.0, 50_000)];
    let points = points.map(|(percentile, microseconds)| Percentile {
        percentile,
        microseconds,
    });
    let mut delay = rule(Kinds::ALL, (0, 1), 1.0);
    delay.matching.sectors = None;
    delay.action = FaultAction::Delay(Delay::Percentiles(points.to_vec()));
    let read = request(0);
    measure(criterion, "a delay", "percentiles", engine([delay]), &read);
}

criterion_group!(benches, disjoint_ranges, overlapping_ranges, delay);
criterion_main!(benches);
