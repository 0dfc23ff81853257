//! The effect of a panic on the program.

use std::panic;
use std::process;

/// Makes a panic of any thread end the program by SIGABRT, once it has been reported on standard error: the machine
/// needs all of its threads.
///
/// This does not depend on the profile, so that this workspace's libraries can be built to catch panics.
pub fn end_the_program() {
    let tell = panic::take_hook();
    panic::set_hook(Box::new(move |what| {
        tell(what);
        process::abort();
    }));
}

#[cfg(test)]
mod tests {
    use std::env;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;
    use std::thread;

    use super::*;

    const IS_THE_PROGRAM: &str = "FAULTVISOR_TEST_PANICS";

    #[test]
    fn a_panic_of_any_thread_ends_the_program_with_its_message() {
        if env::var_os(IS_THE_PROGRAM).is_some() {
            end_the_program();
            // No thread joins it.
            let _ = thread::spawn(|| panic!("a mistake, on purpose")).join();
            return;
        }
        let mut program = Command::new(env::current_exe().unwrap());
        program.args(["--exact", "--nocapture"]);
        program.arg("panics::tests::a_panic_of_any_thread_ends_the_program_with_its_message");
        let output = program.env(IS_THE_PROGRAM, "1").output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.signal(), Some(6), "{errors}");
        assert!(errors.contains("a mistake, on purpose"), "{errors}");
    }
}
