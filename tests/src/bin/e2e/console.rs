//! The serial console.

use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check_eq, tests};

use crate::linux;

pub const TESTS: &[Test] = tests![
    Needs::Linux;
    long_lines_arrive_whole_in_both_directions,
];

fn long_lines_arrive_whole_in_both_directions(context: &Context) -> Result<(), Failure> {
    let mut command = linux::command(context)?;
    let (mut guest, client) = linux::boot(context, &mut command)?;
    // From less than the UART's FIFO to almost what a terminal takes as a line, in pieces of a driver's and around them.
    for length in [1, 63, 64, 65, 255, 256, 257, 319, 320, 321, 4000] {
        let word: String = ('a'..='z').cycle().take(length).collect();
        check_eq!(guest.run(&format!("echo {word}"))?, word);
    }
    client.quit()?;
    guest.expect_exit(0)?;
    Ok(())
}
