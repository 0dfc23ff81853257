//! What is said of rules that can be.

mod feasibility;
