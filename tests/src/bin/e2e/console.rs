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
    // Lengths from below the UART's FIFO to almost a terminal's longest line, with the driver's chunk sizes and their
    // neighbours.
    for length in [1, 63, 64, 65, 255, 256, 257, 319, 320, 321, 4000] {
        let word: String = ('a'..='z').cycle().take(length).collect();
        check_eq!(guest.run(&format!("echo {word}"))?, word);
    }
    client.quit()?;
    guest.expect_exit(0)?;
    Ok(())
}
