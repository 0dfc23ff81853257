//! Timestamps in UTC, as in RFC 3339.

const SECONDS_A_DAY: i64 = 86_400;
/// The first second of the year 10000, which RFC 3339 cannot express.
const END: i64 = 253_402_300_800;

/// Formats a server's timestamp. An invalid one is written unchanged: QEMU sends -1 if it cannot read its clock.
pub fn written(seconds: i64, microseconds: i64) -> String {
    if !(0..END).contains(&seconds) || !(0..1_000_000).contains(&microseconds) {
        return format!("{seconds}s+{microseconds}us");
    }
    let (year, month, day) = date(seconds / SECONDS_A_DAY);
    let second = seconds % SECONDS_A_DAY;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{microseconds:06}Z")
}

/// The date of a day counted from 1970-01-01. Years begin in March here, so that a leap day is the last day.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_timestamps_are_formatted() {
        assert_eq!(written(0, 0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(written(951_782_399, 5), "2000-02-28T23:59:59.000005Z");
        assert_eq!(written(951_782_400, 0), "2000-02-29T00:00:00.000000Z");
        assert_eq!(
            written(1_300_000_000, 123_456),
            "2011-03-13T07:06:40.123456Z"
        );
        assert_eq!(written(4_107_542_400, 0), "2100-03-01T00:00:00.000000Z");
        assert_eq!(written(END - 1, 999_999), "9999-12-31T23:59:59.999999Z");
    }

    #[test]
    fn each_day_follows_the_one_before() {
        let mut last = (1969, 12, 31);
        for days in 0..END / SECONDS_A_DAY {
            let next = date(days);
            let (year, month, day) = last;
            let same_month = next == (year, month, day + 1);
            let same_year = next == (year, month + 1, 1) && day >= 28;
            let next_year = next == (year + 1, 1, 1) && (month, day) == (12, 31);
            assert!(
                same_month || same_year || next_year,
                "{last:?} and then {next:?}"
            );
            last = next;
        }
    }

    #[test]
    fn an_invalid_timestamp_is_shown_unchanged() {
        assert_eq!(written(-1, -1), "-1s+-1us");
        assert_eq!(
            written(i64::MAX, i64::MIN),
            format!("{}s+{}us", i64::MAX, i64::MIN)
        );
    }
}
