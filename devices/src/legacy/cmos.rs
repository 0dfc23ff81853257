//! The CMOS real-time clock (MC146818), as far as a kernel reads the time of day from it. A kernel that
//! reads the ACPI tables is told not to look for it.
//!
//! Without one, Linux polls the update-in-progress bit of a port that reads as ones until it gives
//! up, once in early boot and again when its clock driver probes.

use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::bus::BusDevice;
use crate::life_cycle::{Done, LifeCycle, RestoreError, SaveError, State};
use crate::sync::lock;

/// The clock's registers that hold something here (MC146818A data sheet, table "Address Map").
mod register {
    pub const SECONDS: u8 = 0x00;
    pub const MINUTES: u8 = 0x02;
    pub const HOURS: u8 = 0x04;
    pub const DAY_OF_WEEK: u8 = 0x06;
    pub const DAY_OF_MONTH: u8 = 0x07;
    pub const MONTH: u8 = 0x08;
    pub const YEAR: u8 = 0x09;
    /// Divider and rate; its top bit says that an update is in progress, which is never.
    pub const A: u8 = 0x0a;
    /// Format: 24 hours.
    pub const B: u8 = 0x0b;
    /// The clock has power and its time is valid.
    pub const D: u8 = 0x0d;
    /// The century, where a PC keeps it.
    pub const CENTURY: u8 = 0x32;
}

/// Register A as a PC's firmware leaves it: a 32,768 Hz time base, 1,024 Hz periodic rate.
const DIVIDER_32K_RATE_1024: u8 = 0x26;
/// Register B: 24-hour mode, values in BCD.
const MODE_24_HOURS: u8 = 0x02;
/// Register D: valid RAM and time.
const VALID: u8 = 0x80;
/// Bit 7 of the index port masks the NMI and is not part of the index.
const INDEX_MASK: u8 = 0x7f;

/// A clock that always shows the host's time in UTC and cannot be set.
#[derive(Default)]
pub struct Cmos {
    index: Mutex<u8>,
}

impl Cmos {
    /// Number of ports: the index port, and the data port behind it.
    pub const PORTS: u64 = 2;

    /// A clock.
    pub fn new() -> Self {
        Self::default()
    }
}

impl BusDevice for Cmos {
    fn read(&self, offset: u64, data: &mut [u8]) {
        data.fill(0);
        if offset == 1 {
            let since_epoch = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default();
            data[0] = CivilTime::at(since_epoch.as_secs()).register(*lock(&self.index));
        } else {
            data[0] = *lock(&self.index);
        }
    }

    fn write(&self, offset: u64, data: &[u8]) {
        if offset == 0 {
            *lock(&self.index) = data[0] & INDEX_MASK;
        }
    }
}

/// The state: the time is the host's.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    /// The selected register.
    index: u8,
}

impl LifeCycle for Cmos {
    fn reset(&self, done: Done) {
        *lock(&self.index) = 0;
        done();
    }

    fn save(&self) -> Result<State, SaveError> {
        let index = *lock(&self.index);
        State::of(&Saved { index })
    }

    fn restore(&self, state: &State) -> Result<(), RestoreError> {
        let Saved { index } = state.decode()?;
        if index & !INDEX_MASK != 0 {
            let value = index.into();
            return Err(RestoreError::OutOfRange {
                member: "index",
                value,
            });
        }
        *lock(&self.index) = index;
        Ok(())
    }
}

/// A moment in the Gregorian calendar, UTC.
#[derive(Debug, PartialEq, Eq)]
struct CivilTime {
    year: u64,
    month: u64,
    day: u64,
    /// Sunday is 1.
    weekday: u64,
    hour: u64,
    minute: u64,
    second: u64,
}

impl CivilTime {
    /// The calendar date of a time given in seconds since 1970.
    fn at(seconds: u64) -> Self {
        let (days, of_day) = (seconds / 86_400, seconds % 86_400);
        // Count from 0000-03-01, so that the leap day is the last of its year and every 400 years
        // are alike.
        let days_since_march_0 = days + 719_468;
        let (era, of_era) = (days_since_march_0 / 146_097, days_since_march_0 % 146_097);
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * of_year + 2) / 153;
        let month = (month_from_march + 2) % 12 + 1;
        Self {
            year: era * 400 + year_of_era + u64::from(month <= 2),
            month,
            day: of_year - (153 * month_from_march + 2) / 5 + 1,
            weekday: (days + 4) % 7 + 1,
            hour: of_day / 3_600,
            minute: of_day / 60 % 60,
            second: of_day % 60,
        }
    }

    fn register(&self, index: u8) -> u8 {
        match index {
            register::SECONDS => bcd(self.second),
            register::MINUTES => bcd(self.minute),
            register::HOURS => bcd(self.hour),
            register::DAY_OF_WEEK => bcd(self.weekday),
            register::DAY_OF_MONTH => bcd(self.day),
            register::MONTH => bcd(self.month),
            register::YEAR => bcd(self.year % 100),
            register::CENTURY => bcd(self.year / 100),
            register::A => DIVIDER_32K_RATE_1024,
            register::B => MODE_24_HOURS,
            register::D => VALID,
            _ => 0,
        }
    }
}

/// A number below 100 in binary-coded decimal.
fn bcd(value: u64) -> u8 {
    u8::try_from(value / 10 % 10 * 16 + value % 10).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::life_cycle::testing::{assert_refuses, assert_survives_a_reset, reset};

    #[test]
    fn the_calendar_is_correct_at_its_limits() {
        let date = |seconds| {
            let time = CivilTime::at(seconds);
            (time.year, time.month, time.day, time.weekday)
        };
        assert_eq!(date(0), (1970, 1, 1, 5));
        assert_eq!(date(951_782_399), (2000, 2, 28, 2));
        assert_eq!(date(951_782_400), (2000, 2, 29, 3));
        assert_eq!(date(951_868_800), (2000, 3, 1, 4));
        assert_eq!(date(1_709_251_199), (2024, 2, 29, 5));
        assert_eq!(date(4_107_542_400), (2100, 3, 1, 2));
    }

    #[test]
    fn the_time_reads_in_bcd_and_no_update_is_ever_in_progress() {
        let time = CivilTime::at(1_700_000_000); // 2023-11-14 22:13:20 UTC
        let registers = [0x00, 0x02, 0x04, 0x07, 0x08, 0x09, 0x32];
        let read: Vec<u8> = registers.iter().map(|r| time.register(*r)).collect();
        assert_eq!(read, [0x20, 0x13, 0x22, 0x14, 0x11, 0x23, 0x20]);
        assert_eq!(time.register(register::A) & 0x80, 0);
    }

    #[test]
    fn the_index_port_selects_the_register_without_the_nmi_bit() {
        let cmos = Cmos::new();
        cmos.write(0, &[0x8d]);
        let mut data = [0];
        cmos.read(1, &mut data);
        assert_eq!(data, [VALID]);
    }

    #[test]
    fn a_reset_selects_the_first_register_again_and_a_restore_the_saved_one() {
        let cmos = Cmos::new();
        cmos.write(0, &[register::D]);
        assert_survives_a_reset(&cmos, |cmos| {
            let mut data = [0; 2];
            cmos.read(0, &mut data[..1]);
            cmos.read(1, &mut data[1..]);
            data
        });
        reset(&cmos);
        let mut data = [0xff];
        cmos.read(0, &mut data);
        assert_eq!(data, [register::SECONDS]);
    }

    #[test]
    fn a_damaged_state_is_refused() {
        let cmos = Cmos::new();
        cmos.write(0, &[register::D]);
        assert_refuses(
            &cmos,
            &["{}", r#"{"index":128}"#, r#"{"index":0,"nmi":1}"#, "13"],
        );
    }
}
