//! Databases and files under power cuts: what was acknowledged as durable to a program in the guest must be there when
//! the guest is up again. A disk with lying flushes proves that the test would detect a loss.
//!
//! The disk has a volatile write cache. In the guest two SQLite databases, one with a write-ahead log and one with a
//! rollback journal, and plain files on ext4 (`data=ordered`) are written concurrently; each transaction and each file
//! is acknowledged on the console when it is durable. A rule cuts the power at a write or a flush that the point's
//! number determines. Then the guest checks what is left, and continues. Some cuts strike during that check: in the
//! recovery from the previous one.

mod ledger;
mod site;

use std::time::Instant;

use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, tests};
use serde_json::{Value, json};

use crate::linux::pattern;
use ledger::{Found, Ledger};
use site::{Journal, Site};

pub const TESTS: &[Test] = tests![
    Needs::Linux, with sizes;
    acknowledged_data_survives_a_power_cut,
    dropped_flushes_lose_acknowledged_data,
];

/// Modes of survival of a volatile cache, used in turn.
const SURVIVE: [&str; 3] = ["random", "prefix", "none"];
/// One point in this many lies in a recovery.
const RECOVERY: u64 = 5;
/// The range of the request that a cut strikes, under load and in a recovery.
const WRITES: [u64; 2] = [150, 24];
const FLUSHES: [u64; 2] = [75, 12];
/// Number of writes before the power fails on a disk with lying flushes.
const LYING_WRITES: u64 = 100;

/// The phase that a cut strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    UnderLoad,
    /// From the guest's next check of its disk on, which replays journals.
    InRecovery,
}

/// A power cut.
#[derive(Debug)]
struct Point {
    when: When,
    survive: &'static str,
    /// The request that it strikes: a write, or a flush, when the cache holds the most.
    operation: &'static str,
    /// Number of such requests before it.
    skip: u64,
    seed: u64,
}

impl Point {
    fn new(number: u64) -> Self {
        let word = |index: usize| {
            let bytes = pattern(number, 16);
            bytes[8 * index..8 * index + 8]
                .iter()
                .fold(0, |word, byte| word << 8 | u64::from(*byte))
        };
        let when = match number % RECOVERY {
            4 => When::InRecovery,
            _ => When::UnderLoad,
        };
        let (operation, last) = match number % 2 {
            0 => ("write", WRITES),
            _ => ("flush", FLUSHES),
        };
        let last = last[usize::from(when == When::InRecovery)];
        Self {
            when,
            survive: SURVIVE[usize::try_from(number % 3).unwrap_or_default()],
            operation,
            skip: word(0) % last,
            // Numbers that every JSON parser represents exactly.
            seed: word(1) >> 12,
        }
    }

    fn rule(&self) -> Value {
        let Self {
            survive,
            operation,
            skip,
            seed,
            ..
        } = self;
        json!({ "device": "disk0", "operations": [operation], "skip": skip, "count": 1, "seed": seed,
                "action": "power-cut", "survive": survive, "then": "reset" })
    }
}

/// Totals of all cuts.
#[derive(Debug, Default)]
struct Tally {
    cuts: u64,
    in_recovery: u64,
    /// Cuts that lost data.
    lossy: u64,
    writes: u64,
    sectors: u64,
}

impl Tally {
    fn add(&mut self, loss: &Value) -> Result<(), Failure> {
        let number = |name: &str| {
            let missing = || Failure::new(format!("no '{name}' in {loss}"));
            loss[name].as_u64().ok_or_else(missing)
        };
        check!(loss.get("error").is_none(), "the power cut failed: {loss}");
        self.cuts += 1;
        self.lossy += u64::from(number("writes")? > 0);
        self.writes += number("writes")?;
        self.sectors += number("sectors")?;
        Ok(())
    }
}

fn acknowledged_data_survives_a_power_cut(context: &Context) -> Result<(), Failure> {
    let points: u64 = context.size().choose(8, 50);
    let mut site = Site::boot(context)?;
    site.format(Journal::Unwritten)?;
    let mut ledger = Ledger::default();
    let mut tally = Tally::default();
    let began = Instant::now();
    for number in 0..points {
        let point = Point::new(number);
        let in_context = |failure| match failure {
            Failure::Failed(why) => Failure::Failed(format!("point {number}, {point:?}: {why}")),
            skipped @ Failure::Skipped(_) => skipped,
        };
        let loss = strike(&mut site, &point, number, &mut ledger, &mut tally)
            .and_then(|()| site.power_cut())
            .map_err(in_context)?;
        check_eq!(loss["survive"], point.survive);
        check_eq!(loss["seed"], point.seed);
        tally.add(&loss).map_err(in_context)?;
    }
    let found = site.look()?;
    let found = found.ok_or_else(|| Failure::new("the guest has started again by itself"))?;
    check_eq!(ledger.complaints(&found), Vec::<String>::new());
    let round = began.elapsed().as_secs_f64() / f64::from(u32::try_from(points)?);
    let boot = site.boot_seconds();
    let Tally {
        cuts,
        in_recovery,
        lossy,
        writes,
        sectors,
    } = tally;
    context.note(&format!(
        "{cuts} power cuts, {in_recovery} of them in a recovery; {} acknowledged, all there; {lossy} cuts lost \
         {writes} writes ({sectors} sectors); {round:.1} s a round, {boot:.1} s of it to boot",
        ledger.acknowledged
    ));
    check!(
        ledger.acknowledged > 2 * points,
        "only {} acknowledged at {points} points: the cuts are no test",
        ledger.acknowledged
    );
    check!(
        lossy >= points / 4,
        "of {points} cuts only {lossy} have lost any write: they are no test"
    );
    site.quit()
}

/// Has the guest check its disk and write to it until the power fails.
fn strike(
    site: &mut Site,
    point: &Point,
    number: u64,
    ledger: &mut Ledger,
    tally: &mut Tally,
) -> Result<(), Failure> {
    if point.when == When::InRecovery {
        site.add(point.rule())?;
    }
    let Some(found) = site.look()? else {
        tally.in_recovery += 1;
        return Ok(());
    };
    let complaints = ledger.complaints(&found);
    check!(complaints.is_empty(), "{}", complaints.join(", "));
    if point.when == When::UnderLoad {
        site.add(point.rule())?;
    }
    ledger.forget_files();
    // Their numbers are not used by any other load.
    site.load(&found, 1000 * (number + 1), ledger)
}

fn dropped_flushes_lose_acknowledged_data(context: &Context) -> Result<(), Failure> {
    let points: u64 = context.size().choose(2, 6);
    let mut site = Site::boot(context)?;
    let mut finders = 0;
    for number in 0..points {
        let point = Point {
            when: When::UnderLoad,
            skip: LYING_WRITES,
            // Even points strike writes: there may be few flushes.
            ..Point::new(2 * number)
        };
        site.format(Journal::Zeroes)?;
        let mut ledger = Ledger::default();
        site.add(json!({ "device": "disk0", "operations": ["flush"], "action": "drop" }))?;
        site.add(point.rule())?;
        site.load(&Found::default(), 1, &mut ledger)?;
        let loss = site.power_cut()?;
        check!(ledger.acknowledged > 0, "nothing was acknowledged");
        let complaints = match site.look()? {
            Some(found) => ledger.complaints(&found),
            None => {
                site.restarted()?;
                vec!["the guest's kernel did not survive the look".to_owned()]
            }
        };
        finders += u64::from(!complaints.is_empty());
        context.note(&format!(
            "survive {}: {} acknowledged, {} writes lost, {} complaints: {}",
            point.survive,
            ledger.acknowledged,
            loss["writes"],
            complaints.len(),
            complaints.first().map_or("", String::as_str)
        ));
        // Nothing written after the format was ever durable.
        check!(
            point.survive != "none" || !complaints.is_empty(),
            "all is there that was never flushed"
        );
    }
    check!(finders > 0, "no loss was found at any point");
    site.quit()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn points_are_of_all_kinds() {
        let points: Vec<Point> = (0..50).map(Point::new).collect();
        for survive in SURVIVE {
            for when in [When::UnderLoad, When::InRecovery] {
                let of_kind = |point: &&Point| (point.survive, point.when) == (survive, when);
                assert!(
                    points.iter().filter(of_kind).count() >= 3,
                    "{survive} {when:?}"
                );
            }
        }
        for (operation, [last, _]) in [("write", WRITES), ("flush", FLUSHES)] {
            let of_kind = points.iter().filter(|point| point.operation == operation);
            let skips: BTreeSet<u64> = of_kind.map(|point| point.skip).collect();
            assert!(skips.len() > 15 && skips.last() < Some(&last), "{skips:?}");
            assert!(skips.first() < Some(&(last / 4)), "{skips:?}");
            assert!(skips.last() > Some(&(last * 3 / 4)), "{skips:?}");
        }
    }
}
