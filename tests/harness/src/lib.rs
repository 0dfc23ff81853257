//! A guest under Faultvisor, for a test.
